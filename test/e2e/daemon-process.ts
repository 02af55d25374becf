/** The daemon as a child process: on free ports, in a data folder of its own, with its log lines read as they come. */
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { chmod, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';

const root = join(import.meta.dirname, '..', '..');

export type LogLine = Readonly<Record<string, unknown>> & { readonly msg?: string };

export type Daemon = {
  readonly process: ChildProcess;
  readonly lines: LogLine[];
  readonly stderr: () => string;
  /** Resolves with the first line, past or to come, that carries this message; rejects when the process ends first. */
  line(message: string): Promise<LogLine>;
  /** Exit code; null when a signal ended it. */
  readonly exit: Promise<number | null>;
};

/** A folder the embedded server's account can enter: mkdtemp makes 0700. */
export async function makeFolder(prefix = 'rollcall-e2e-'): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), prefix));
  await chmod(folder, 0o755);
  return folder;
}

export async function removeFolder(folder: string): Promise<void> {
  await rm(folder, { recursive: true, force: true });
}

export async function writeConfig(folder: string, text: string): Promise<string> {
  const file = join(folder, 'rollcall.yaml');
  await writeFile(file, text);
  return file;
}

export type RunOptions = {
  /** Path inside the package; the daemon unless given. */
  readonly program?: string;
  readonly args: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
  /** Takes what is written as it comes, for a daemon that runs long; then only its first lines are kept. */
  readonly onOutput?: (text: string) => void;
  /** `npm start` instead of `node src/main.ts serve`. */
  readonly isNpmStart?: boolean;
  /** A process group of its own: a terminal's Ctrl-C reaches only the parent, which then stops the daemon in order. */
  readonly isDetached?: boolean;
};

const keptLines = 200;
const keptCharacters = 20_000;

export function startRollcall({
  program = 'src/main.ts',
  args,
  env = {},
  onOutput,
  isNpmStart = false,
  isDetached = false,
}: RunOptions): Daemon {
  const { DATABASE_URL: _url, ROLLCALL_MASTER_KEY: _key, ROLLCALL_CONFIG: _config, ...inherited } = process.env;
  const flags = ['--disable-proto=delete', '--max-semi-space-size=32', '--heap-growing-percent=150'];
  const command = isNpmStart ? ['npm', 'start', '--'] : [process.execPath, ...flags, join(root, program)];
  const child = spawn(command[0] ?? '', [...command.slice(1), ...args], {
    cwd: root,
    env: { ...inherited, ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
    detached: isDetached,
  });
  const lines: LogLine[] = [];
  const waiting = new Set<() => void>();
  let stderr = '';
  let hasExited = false;
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    onOutput?.(text);
    if (onOutput === undefined || stderr.length < keptCharacters) stderr += text;
  });
  createInterface({ input: child.stdout }).on('line', (text) => {
    onOutput?.(`${text}\n`);
    if (onOutput !== undefined && lines.length >= keptLines) return;
    lines.push(parseLine(text));
    for (const wake of waiting) wake();
  });
  const exit = once(child, 'close').then(([code]) => {
    hasExited = true;
    for (const wake of waiting) wake();
    return code as number | null;
  });
  return { process: child, lines, stderr: () => stderr, line: (message) => findLine(message), exit };

  async function findLine(message: string): Promise<LogLine> {
    for (;;) {
      const found = lines.find((line) => line.msg === message);
      if (found !== undefined) return found;
      if (hasExited) throw new Error(`ended without "${message}":\n${stderr}\n${JSON.stringify(lines, null, 1)}`);
      const { promise, resolve } = Promise.withResolvers<void>();
      waiting.add(resolve);
      await promise;
      waiting.delete(resolve);
    }
  }
}

function parseLine(text: string): LogLine {
  try {
    return JSON.parse(text) as LogLine;
  } catch {
    return { msg: text };
  }
}

/** Runs a command to its end. */
export async function runRollcall(
  options: RunOptions,
): Promise<{ readonly code: number | null; readonly stdout: string; readonly stderr: string }> {
  const daemon = startRollcall(options);
  const code = await daemon.exit;
  return {
    code,
    stdout: daemon.lines.map((line) => line.msg ?? JSON.stringify(line)).join('\n'),
    stderr: daemon.stderr(),
  };
}
