/** Each rule of the SCIM service has tests that carry its number, so that whoever changes one finds what holds it. */
import { globSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';

const rules: Readonly<Record<number, string>> = {
  1: 'the resource is the mirror object of the connection',
  2: 'writes: one transaction, row lock, versions',
  3: 'members are rows',
  4: 'unknown member ids',
  5: 'filters',
  6: 'paging',
  7: 'tolerance of PATCH',
  8: 'tolerance of POST',
  9: 'inactive users',
  10: 'roles',
  11: 'errors and rates',
  12: 'tokens',
  13: 'search, bulk, sort, projection, extensions, discovery',
  14: 'the request log',
  15: 'events',
  16: 'effects',
  17: 'answers in kind',
};

it.each(Object.entries(rules))('rule %s (%s) has a test named after it', (number) => {
  const root = join(import.meta.dirname, '..', '..');
  const files = globSync(['src/**/*.test.ts', 'test/**/*.test.ts'], { cwd: root });
  expect(files.length).toBeGreaterThan(50);
  const name = new RegExp(`(?:describe|it)(?:\\.each[^)]*\\))?\\(\\s*'rule ${number}: `);
  const holders = files.filter((file) => name.test(readFileSync(join(root, file), 'utf8')));
  expect(holders).not.toEqual([]);
});
