/** What a process and its children cost, from /proc (Linux): CPU seconds and peak resident memory. */
import { readdirSync, readFileSync } from 'node:fs';

const ticksPerSecond = 100;

type Stat = { readonly pid: number; readonly name: string; readonly parent: number; readonly cpuSeconds: number };

function readStats(): Stat[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .flatMap((name) => {
      const stat = readStat(Number(name));
      return stat === null ? [] : [stat];
    });
}

/** proc(5): the command in parentheses may hold anything, so fields are counted from its last parenthesis. */
function readStat(pid: number): Stat | null {
  const text = readOrNull(`/proc/${pid}/stat`);
  if (text === null) return null;
  const fields = text.slice(text.lastIndexOf(')') + 2).split(' ');
  return {
    pid,
    name: text.slice(text.indexOf('(') + 1, text.lastIndexOf(')')),
    parent: Number(fields[1]),
    cpuSeconds: (Number(fields[11]) + Number(fields[12])) / ticksPerSecond,
  };
}

function readOrNull(path: string): string | null {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    // the process ended between the listing and the read
    const code = (error as NodeJS.ErrnoException).code;
    if (code === 'ENOENT' || code === 'ESRCH') return null;
    throw error;
  }
}

/** The process and everything it started, directly or not. */
export function processTree(pid: number): Stat[] {
  const stats = readStats();
  const found = new Map<number, Stat>();
  const queue = [pid];
  for (let next = queue.pop(); next !== undefined; next = queue.pop()) {
    const stat = stats.find((each) => each.pid === next);
    if (stat === undefined || found.has(next)) continue;
    found.set(next, stat);
    queue.push(...stats.filter((each) => each.parent === next).map((each) => each.pid));
  }
  return [...found.values()];
}

/** Node's own share and that of Postgres, so that one can see who works. */
export function cpuSeconds(pid: number): { readonly node: number; readonly all: number } {
  const tree = processTree(pid);
  const sum = (stats: readonly Stat[]) => stats.reduce((total, stat) => total + stat.cpuSeconds, 0);
  return { node: sum(tree.filter((stat) => !stat.name.startsWith('postgres'))), all: sum(tree) };
}

/** Peak resident memory (VmHWM) of one process, in bytes. */
export function peakMemoryBytes(pid: number): number {
  const kilobytes = /^VmHWM:\s+(\d+) kB$/m.exec(readOrNull(`/proc/${pid}/status`) ?? '')?.[1];
  if (kilobytes === undefined) throw new Error(`Process ${pid} has no VmHWM: it has ended, or this is not Linux.`);
  return Number(kilobytes) * 1024;
}
