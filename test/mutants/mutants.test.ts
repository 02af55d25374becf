import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { countOccurrences, readMutants } from './mutants.ts';

const root = join(import.meta.dirname, '..', '..');
const mutants = readMutants();

describe('the list of mutants', () => {
  test('has at least 48, each with a name of its own', () => {
    expect(mutants.length).toBeGreaterThanOrEqual(48);
    expect(new Set(mutants.map(({ breaks }) => breaks)).size).toBe(mutants.length);
  });

  test('follows the code: what it replaces stands exactly once, and its tests are there', () => {
    const outdated = mutants.filter(({ file, replace, test: testFile }) => {
      const paths = [join(root, file), join(root, testFile)];
      return (
        !paths.every((path) => existsSync(path)) ||
        countOccurrences(readFileSync(join(root, file), 'utf8'), replace) !== 1
      );
    });
    expect(
      outdated.map(({ breaks, file }) => `${breaks} (${file})`),
      'correct test/mutants/mutants.yaml, then run: npm run mutants -- NAME',
    ).toEqual([]);
  });
});
