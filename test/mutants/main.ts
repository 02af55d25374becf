/**
 * npm run mutants [-- TEXT]: breaks one line at a time, in a copy of the tree, and asks the test that guards the line.
 * A break that the named test does not notice is a guarantee that nobody guards. TEXT picks by name or file.
 * First all named tests run once without a break; then two lanes, each with a copy and a cache of its own, share one
 * Postgres. What was begun is ended and removed in any case, Ctrl-C included.
 */
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { z } from 'zod';
import { startTestServer } from '../setup/server.ts';
import { countOccurrences, readMutants, type Mutant } from './mutants.ts';

const root = join(import.meta.dirname, '..', '..');
const copied = [
  'src',
  'test',
  'drizzle',
  'config',
  'patches',
  'docs',
  'package.json',
  'tsconfig.json',
  'vitest.config.ts',
  'README.md',
];
const laneCount = 2;
const brokenTimeoutMs = 240_000;
const wholeTimeoutMs = 1_200_000;

type Verdict = 'passed' | 'failed' | 'not there' | 'not loaded';
type Lane = { readonly copy: string; readonly databaseUrl: string; readonly signal: AbortSignal };
type Outcome = { readonly mutant: Mutant; readonly fault: string | null; readonly seconds: number };

const reportSchema = z.object({
  testResults: z.array(
    z.object({
      name: z.string(),
      message: z.string().optional(),
      assertionResults: z.array(
        z.object({ ancestorTitles: z.array(z.string()), title: z.string(), status: z.string() }),
      ),
    }),
  ),
});
type Results = z.output<typeof reportSchema>['testResults'];

async function main(filter: string): Promise<number> {
  const mutants = readMutants().filter(({ breaks, file, test }) =>
    [breaks, file, test].some((text) => text.includes(filter)),
  );
  if (mutants.length === 0) throw new Error(`No mutant has "${filter}" in its name or files.`);
  const stop = new AbortController();
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => stop.abort());
  const folder = mkdtempSync(join(tmpdir(), 'rollcall-mutants-'));
  try {
    const server = await startTestServer();
    try {
      const lanes = Array.from({ length: Math.min(laneCount, mutants.length) }, (_, at): Lane => {
        return { copy: copyTree(join(folder, String(at))), databaseUrl: server.url, signal: stop.signal };
      });
      const outcomes = await tryAll(lanes, mutants);
      if (stop.signal.aborted) return 130;
      const survived = outcomes.filter(({ fault }) => fault !== null).length;
      console.log(`mutants: ${outcomes.length - survived} noticed of ${outcomes.length}`);
      return survived === 0 ? 0 : 1;
    } finally {
      await server.stop();
    }
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

async function tryAll(lanes: readonly Lane[], mutants: readonly Mutant[]): Promise<Outcome[]> {
  const [first] = lanes;
  if (first === undefined) return [];
  const whole = await runTests(first, mutants, wholeTimeoutMs);
  const waiting = [...mutants];
  const outcomes: Outcome[] = [];
  const work = async (lane: Lane): Promise<void> => {
    for (let mutant = waiting.shift(); mutant !== undefined && !lane.signal.aborted; mutant = waiting.shift()) {
      const startedAt = performance.now();
      const fault = await tryMutant(lane, mutant, verdictOf(whole, mutant));
      if (lane.signal.aborted) return;
      const outcome = { mutant, fault, seconds: (performance.now() - startedAt) / 1000 };
      outcomes.push(outcome);
      print(outcome);
    }
  };
  await Promise.all(lanes.map(work));
  return outcomes;
}

function print({ mutant, fault, seconds }: Outcome): void {
  const verdict = fault === null ? 'noticed' : `NOT NOTICED: ${fault}`;
  console.log(`${seconds.toFixed(1).padStart(6)} s  ${mutant.breaks} (${mutant.file}): ${verdict}`);
}

/** Packages are linked one by one, so that the folder itself, where vite and vitest keep their caches, is the copy's own. */
function copyTree(copy: string): string {
  for (const name of copied) cpSync(join(root, name), join(copy, name), { recursive: true });
  mkdirSync(join(copy, 'node_modules'));
  for (const name of readdirSync(join(root, 'node_modules'))) {
    if (name.startsWith('.') && name !== '.bin') continue;
    symlinkSync(join(root, 'node_modules', name), join(copy, 'node_modules', name));
  }
  return copy;
}

/** Null: the named test passes without the break and fails with it. */
async function tryMutant(lane: Lane, mutant: Mutant, whole: Verdict): Promise<string | null> {
  if (whole !== 'passed') return `without the break the test "${mutant.red}" is ${whole}`;
  const path = join(lane.copy, mutant.file);
  if (!existsSync(path)) return `there is no ${mutant.file}`;
  const text = readFileSync(path, 'utf8');
  const count = countOccurrences(text, mutant.replace);
  if (count !== 1) return `its line stands ${count} times in ${mutant.file}`;
  const broken = text.replace(mutant.replace, () => mutant.with);
  writeFileSync(path, broken);
  try {
    const verdict = verdictOf(await runTests(lane, [mutant], brokenTimeoutMs), mutant);
    return verdict === 'failed' ? null : `with the break the test "${mutant.red}" is ${verdict}`;
  } finally {
    writeFileSync(path, text);
  }
}

async function runTests(lane: Lane, mutants: readonly Mutant[], timeoutMs: number): Promise<Results> {
  const reportFile = join(lane.copy, 'report.json');
  rmSync(reportFile, { force: true });
  const files = [...new Set(mutants.map(({ test }) => test))];
  const pattern = mutants.map(({ red }) => red.replaceAll(/[.*+?^${}()|[\]\\]/g, String.raw`\$&`)).join('|');
  const vitest = join(lane.copy, 'node_modules/vitest/vitest.mjs');
  const child = spawn(
    process.execPath,
    [vitest, 'run', ...files, '-t', pattern, '--reporter=json', `--outputFile=${reportFile}`],
    {
      cwd: lane.copy,
      stdio: 'ignore',
      env: { ...process.env, TEST_DATABASE_URL: lane.databaseUrl },
      // a process group of its own: Ctrl-C reaches it through us, and its workers end with it
      detached: true,
    },
  );
  await endWithin(child, timeoutMs, lane.signal);
  return existsSync(reportFile) ? reportSchema.parse(JSON.parse(readFileSync(reportFile, 'utf8'))).testResults : [];
}

async function endWithin(child: ChildProcess, timeoutMs: number, signal: AbortSignal): Promise<void> {
  const ended = once(child, 'exit');
  const kill = (): void => {
    if (child.pid !== undefined && child.exitCode === null && child.signalCode === null)
      process.kill(-child.pid, 'SIGKILL');
  };
  const timer = setTimeout(kill, timeoutMs);
  signal.addEventListener('abort', kill, { once: true });
  if (signal.aborted) kill();
  try {
    await ended;
  } finally {
    clearTimeout(timer);
    signal.removeEventListener('abort', kill);
  }
}

/** What became of the tests of this name: one that failed is enough; a file that does not load is no failed test. */
function verdictOf(results: Results, mutant: Mutant): Verdict {
  const ofFile = results.filter(({ name }) => name.endsWith(mutant.test));
  const named = ofFile
    .flatMap(({ assertionResults }) => assertionResults)
    .filter(({ status }) => status !== 'pending' && status !== 'skipped')
    .filter(({ ancestorTitles, title }) => [...ancestorTitles, title].join(' > ').includes(mutant.red));
  if (named.some(({ status }) => status === 'failed')) return 'failed';
  if (named.length > 0) return 'passed';
  return ofFile.every(({ message }) => message === undefined || message === '') && ofFile.length > 0
    ? 'not there'
    : 'not loaded';
}

process.exitCode = await main(process.argv[2] ?? '');
