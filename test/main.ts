/**
 * `npm test`: every suite, with what it needs. Missing directory servers are installed where we may (root on Debian or
 * Ubuntu); elsewhere the suites that need them are skipped by name, which is a failure under CI=true. Arguments go to
 * vitest. The last line is `N passed, N failed, N skipped`.
 */
import { spawnSync } from 'node:child_process';
import { existsSync, globSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { z } from 'zod';

const root = join(import.meta.dirname, '..');
const installTimeoutMs = 10 * 60_000;

type Suite = {
  /** The vitest project, and the suffix of its files. */
  readonly name: 'ldap' | 'ad';
  readonly server: string;
  readonly programs: readonly string[];
  readonly packages: readonly string[];
};

const suites: readonly Suite[] = [
  {
    name: 'ldap',
    server: 'OpenLDAP (slapd)',
    // openssl makes the certificates of the throw-away servers
    programs: ['slapd', 'slapadd', 'ldapsearch', 'openssl'],
    packages: ['slapd', 'ldap-utils', 'openssl'],
  },
  {
    name: 'ad',
    server: 'a Samba domain controller',
    programs: ['samba', 'samba-tool', 'winbindd'],
    packages: ['samba', 'samba-ad-dc', 'samba-ad-provision', 'samba-dsdb-modules', 'winbind'],
  },
];

function findProgram(name: string): boolean {
  const folders = [
    '/usr/sbin',
    '/usr/bin',
    '/usr/local/sbin',
    '/usr/local/bin',
    '/usr/local/libexec',
    '/usr/lib/openldap',
  ];
  return folders.some((folder) => existsSync(join(folder, name)));
}

function isMissing(suite: Suite): boolean {
  return !suite.programs.every(findProgram);
}

function mayInstall(): boolean {
  return process.getuid?.() === 0 && existsSync('/usr/bin/apt-get');
}

function install(packages: readonly string[]): void {
  console.error(`Installing ${packages.join(', ')} for the tests ...`);
  const options = {
    stdio: ['ignore', 2, 2] as ('ignore' | number)[],
    timeout: installTimeoutMs,
    // RUNLEVEL=1 keeps the packages from starting their own servers (invoke-rc.d)
    env: { ...process.env, DEBIAN_FRONTEND: 'noninteractive', RUNLEVEL: '1' },
  };
  spawnSync('apt-get', ['update', '-qq'], options);
  spawnSync('apt-get', ['install', '-y', '-qq', '--no-install-recommends', ...packages], options);
}

/** The suites that can not run here, after an attempt to install what they need. */
function findMissingSuites(): readonly Suite[] {
  const missing = suites.filter(isMissing);
  if (missing.length > 0 && mayInstall()) install(missing.flatMap((suite) => suite.packages));
  return suites.filter(isMissing);
}

function filesOf(suite: Suite): string[] {
  return globSync([`src/**/*.${suite.name}.test.ts`, `test/**/*.${suite.name}.test.ts`], { cwd: root });
}

const reportSchema = z.object({
  numPassedTests: z.number(),
  numFailedTests: z.number(),
  numPendingTests: z.number(),
  numTodoTests: z.number(),
  testResults: z.array(z.object({ status: z.string(), assertionResults: z.array(z.object({ status: z.string() })) })),
});

type Counts = { readonly passed: number; readonly failed: number; readonly skipped: number };

/** A file that does not load has no failed test, and vitest may fail for an unhandled error: both count as one. */
function readCounts(reportFile: string, exitCode: number): Counts {
  if (!existsSync(reportFile)) return { passed: 0, failed: exitCode === 0 ? 0 : 1, skipped: 0 };
  const report = reportSchema.parse(JSON.parse(readFileSync(reportFile, 'utf8')));
  const brokenFiles = report.testResults.filter(
    (file) => file.status === 'failed' && !file.assertionResults.some(({ status }) => status === 'failed'),
  ).length;
  const failed = report.numFailedTests + brokenFiles;
  return {
    passed: report.numPassedTests,
    failed: failed === 0 && exitCode !== 0 ? 1 : failed,
    skipped: report.numPendingTests + report.numTodoTests,
  };
}

function runVitest(missing: readonly Suite[], args: readonly string[]): { counts: Counts; exitCode: number } {
  const folder = mkdtempSync(join(tmpdir(), 'rollcall-report-'));
  try {
    const reportFile = join(folder, 'report.json');
    const without = missing.map((suite) => `--project=!${suite.name}`);
    const reporters = ['--reporter=default', '--reporter=json', `--outputFile.json=${reportFile}`];
    const vitest = join(root, 'node_modules/vitest/vitest.mjs');
    const child = spawnSync(process.execPath, [vitest, 'run', ...reporters, ...without, ...args], {
      cwd: root,
      stdio: 'inherit',
    });
    // killed by a signal: no status
    const exitCode = child.status ?? 130;
    return { counts: readCounts(reportFile, exitCode), exitCode };
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

function main(): number {
  const missing = findMissingSuites();
  const { counts, exitCode } = runVitest(missing, process.argv.slice(2));
  let skipped = counts.skipped;
  for (const suite of missing) {
    const files = filesOf(suite);
    skipped += files.length;
    console.log(`Skipped ${suite.name}: there is no ${suite.server}. Install ${suite.packages.join(' ')}.`);
    for (const file of files) console.log(`  ${file}`);
  }
  const isIncomplete = process.env['CI'] === 'true' && missing.length > 0;
  if (isIncomplete) console.log('CI=true: a suite that did not run is a failure.');
  console.log(`${counts.passed} passed, ${counts.failed} failed, ${skipped} skipped`);
  return exitCode === 0 && isIncomplete ? 1 : exitCode;
}

process.exitCode = main();
