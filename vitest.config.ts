import { defineConfig, type TestProjectInlineConfiguration } from 'vitest/config';

/** What a test needs stands in its file's suffix; `unit` is what needs nothing. */
const needs = ['pg', 'ldap', 'ad', 'e2e'] as const;

const shared = {
  // the flag of production: no library of ours may rely on __proto__ (docs/decisions)
  execArgv: ['--disable-proto=delete'],
};

function project(name: (typeof needs)[number], timeoutMs: number): TestProjectInlineConfiguration {
  return {
    test: {
      ...shared,
      name,
      include: [`src/**/*.${name}.test.ts`, `test/**/*.${name}.test.ts`],
      globalSetup: ['./test/setup/server.ts'],
      testTimeout: timeoutMs,
      hookTimeout: 60_000,
    },
  };
}

export default defineConfig({
  test: {
    maxWorkers: 2,
    projects: [
      {
        test: {
          ...shared,
          name: 'unit',
          // reading the whole tree takes its time beside the suites of servers
          testTimeout: 20_000,
          include: ['src/**/*.test.ts', 'test/**/*.test.ts'],
          exclude: needs.map((name) => `**/*.${name}.test.ts`),
        },
      },
      project('pg', 30_000),
      project('ldap', 60_000),
      project('ad', 120_000),
      {
        test: {
          ...shared,
          name: 'e2e',
          include: ['test/e2e/**/*.e2e.test.ts'],
          globalSetup: ['./test/setup/server.ts'],
          testTimeout: 120_000,
          hookTimeout: 120_000,
          // each file starts several daemons: one at a time, and beside nothing else
          fileParallelism: false,
          sequence: { groupOrder: 1 },
        },
      },
    ],
  },
});
