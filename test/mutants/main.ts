/**
 * npm run mutants [-- TEXT]: breaks one line at a time, in a copy of the tree, and asks the test that guards the line.
 * A break that the named test does not notice is a guarantee that nobody guards. TEXT picks mutants by name.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { cpSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync, existsSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parse } from 'yaml';
import { z } from 'zod';

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
const lanes = 2;
const testTimeoutMs = 180_000;

const mutantSchema = z.strictObject({
  /** What is switched off. */
  breaks: z.string().min(1),
  file: z.string().min(1),
  /** Stands in the file exactly once. */
  replace: z.string().min(1),
  with: z.string(),
  test: z.string().min(1),
  /** Part of the full name of the test that must turn red. */
  red: z.string().min(1),
});
type Mutant = z.output<typeof mutantSchema>;

type Outcome = { readonly mutant: Mutant; readonly fault: string | null; readonly seconds: number };

const reportSchema = z.object({
  testResults: z.array(
    z.object({
      message: z.string().optional(),
      assertionResults: z.array(z.object({ fullName: z.string(), status: z.string() })),
    }),
  ),
});

async function main(filter: string): Promise<number> {
  const all = z.array(mutantSchema).parse(parse(readFileSync(join(import.meta.dirname, 'mutants.yaml'), 'utf8')));
  const names = new Set(all.map(({ breaks }) => breaks));
  if (names.size !== all.length) throw new Error('Two mutants have the same name.');
  const mutants = all.filter(({ breaks }) => breaks.includes(filter));
  const waiting = [...mutants];
  const outcomes: Outcome[] = [];
  const work = async (): Promise<void> => {
    const copy = copyTree();
    try {
      for (let mutant = waiting.shift(); mutant !== undefined; mutant = waiting.shift()) {
        const startedAt = performance.now();
        const fault = await tryMutant(copy, mutant);
        const outcome = { mutant, fault, seconds: (performance.now() - startedAt) / 1000 };
        outcomes.push(outcome);
        print(outcome);
      }
    } finally {
      rmSync(copy, { recursive: true, force: true });
    }
  };
  await Promise.all(Array.from({ length: Math.min(lanes, mutants.length) }, work));
  const survived = outcomes.filter(({ fault }) => fault !== null);
  console.log(`${outcomes.length - survived.length} mutants noticed, ${survived.length} not`);
  return survived.length === 0 && outcomes.length > 0 ? 0 : 1;
}

function print({ mutant, fault, seconds }: Outcome): void {
  const verdict = fault === null ? 'noticed' : `NOT NOTICED: ${fault}`;
  console.log(`${seconds.toFixed(1).padStart(6)} s  ${mutant.breaks} (${mutant.file}): ${verdict}`);
}

function copyTree(): string {
  const copy = mkdtempSync(join(tmpdir(), 'rollcall-mutants-'));
  for (const name of copied) cpSync(join(root, name), join(copy, name), { recursive: true });
  symlinkSync(join(root, 'node_modules'), join(copy, 'node_modules'));
  return copy;
}

/** Null: the named test passes without the break and fails with it. */
async function tryMutant(copy: string, mutant: Mutant): Promise<string | null> {
  const path = join(copy, mutant.file);
  if (!existsSync(path)) return `there is no ${mutant.file}`;
  const text = readFileSync(path, 'utf8');
  const count = text.split(mutant.replace).length - 1;
  if (count !== 1) return `its line stands ${count} times in ${mutant.file}`;
  const whole = await askTest(copy, mutant);
  if (whole !== 'passed') return `without the break the test "${mutant.red}" is ${whole}`;
  writeFileSync(
    path,
    text.replace(mutant.replace, () => mutant.with),
  );
  try {
    const broken = await askTest(copy, mutant);
    return broken === 'failed' ? null : `with the break the test "${mutant.red}" is ${broken}`;
  } finally {
    writeFileSync(path, text);
  }
}

/** What became of the tests of this name: one that failed is enough; a file that does not load is no failed test. */
async function askTest(copy: string, mutant: Mutant): Promise<'passed' | 'failed' | 'not there' | 'not loaded'> {
  const reportFile = join(copy, 'report.json');
  rmSync(reportFile, { force: true });
  const pattern = mutant.red.replaceAll(/[.*+?^${}()|[\]\\]/g, String.raw`\$&`);
  const child = spawn(
    process.execPath,
    [
      join(copy, 'node_modules/vitest/vitest.mjs'),
      'run',
      mutant.test,
      '-t',
      pattern,
      '--reporter=json',
      `--outputFile=${reportFile}`,
    ],
    { cwd: copy, stdio: 'ignore', timeout: testTimeoutMs },
  );
  await once(child, 'exit');
  if (!existsSync(reportFile)) return 'not loaded';
  const { testResults } = reportSchema.parse(JSON.parse(readFileSync(reportFile, 'utf8')));
  const named = testResults
    .flatMap(({ assertionResults }) => assertionResults)
    .filter(({ fullName, status }) => fullName.includes(mutant.red) && status !== 'pending' && status !== 'skipped');
  if (named.some(({ status }) => status === 'failed')) return 'failed';
  if (named.length > 0) return 'passed';
  return testResults.some(({ message }) => message !== undefined && message !== '') ? 'not loaded' : 'not there';
}

process.exitCode = await main(process.argv[2] ?? '');
