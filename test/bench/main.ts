/**
 * `npm run bench -- NAME [options]`: prints one JSON line per figure on stdout, progress on stderr. A bench never fails
 * for being slow; it fails when the work it measures went wrong, because a rate of failed work is no rate.
 */
import { parseArgs } from 'node:util';
import '../../src/first.ts';
import type { BenchOptions } from './report.ts';

const benches: Readonly<
  Record<string, { readonly what: string; readonly load: () => Promise<{ run(options: BenchOptions): Promise<void> }> }>
> = {
  sync: {
    what: 'LDAP to memberships: first run, unchanged run, run with 1.5 % churn',
    load: () => import('./sync.ts'),
  },
  reconcile: {
    what: 'the engine alone, at 10,000, 100,000 and --users people: first load, unchanged, 1 % changed, memberships',
    load: () => import('./reconcile.ts'),
  },
  directories: {
    what: 'reading LDAP (slapd, Samba) up to the events, beside ldapsearch; idle increments',
    load: () => import('./directories.ts'),
  },
  scim: { what: 'requests a second and percentiles over HTTP, 16 connections', load: () => import('./scim.ts') },
};

const usage = [
  'npm run bench -- NAME [--users N] [--groups G] [--requests R] [--connections C] [--alone]',
  ...Object.entries(benches).map(([name, { what }]) => `  ${name}: ${what}`),
].join('\n');

async function main(args: readonly string[]): Promise<number> {
  const { values, positionals } = parseArgs({
    args: [...args],
    allowPositionals: true,
    options: {
      users: { type: 'string', default: '100000' },
      groups: { type: 'string', default: '2000' },
      requests: { type: 'string', default: '5000' },
      connections: { type: 'string', default: '16' },
      alone: { type: 'boolean', default: false },
    },
  });
  const bench = benches[positionals[0] ?? ''];
  if (bench === undefined) {
    process.stderr.write(`${usage}\n`);
    return 2;
  }
  const options: BenchOptions = {
    users: readCount('users', values.users),
    groups: readCount('groups', values.groups, 0),
    requests: readCount('requests', values.requests),
    connections: readCount('connections', values.connections),
    isAlone: values.alone,
  };
  const loaded = await bench.load();
  await loaded.run(options);
  return 0;
}

function readCount(name: string, text: string, least = 1): number {
  const count = Number(text);
  if (!Number.isSafeInteger(count) || count < least) throw new Error(`--${name} must be a whole number from ${least}.`);
  return count;
}

try {
  process.exitCode = await main(process.argv.slice(2));
} catch (error) {
  process.stderr.write(`${error instanceof Error ? (error.stack ?? error.message) : String(error)}\n`);
  process.exitCode = 1;
}
