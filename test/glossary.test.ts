/** One word per thing: the synonyms that docs/glossary.md rules out name nothing in src/. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { isTest, parseSource, readSources, type SourceFile } from './architecture/source.ts';

const root = join(import.meta.dirname, '..');
const glossary = readFileSync(join(root, 'docs/glossary.md'), 'utf8');

/** Word -> what to say instead. */
function readForbidden(markdown: string): Map<string, string> {
  const forbidden = new Map<string, string>();
  const rows = markdown.slice(markdown.indexOf('|---'));
  for (const match of rows.matchAll(/^\| ([^|]+) \| [^|]+ \| ([a-z, ]+) \|$/gm)) {
    for (const word of (match[2] ?? '').split(',')) {
      if (word.trim() !== '') forbidden.set(word.trim(), (match[1] ?? '').trim());
    }
  }
  return forbidden;
}

/** British spellings of words that turn up in names; stems, so that every form is caught. */
const british: ReadonlyMap<string, string> = new Map(
  ['author', 'initial', 'normal', 'optim', 'organ', 'serial', 'synchron', 'util', 'visual']
    .map((stem): [string, string] => [`${stem}is`, `${stem}iz`])
    .concat([
      ['behaviour', 'behavior'],
      ['cancelled', 'canceled'],
      ['catalogue', 'catalog'],
      ['colour', 'color'],
      ['favour', 'favor'],
    ]),
);

function wordsOf(identifier: string): string[] {
  return identifier
    .replace(/([a-z0-9])([A-Z])/g, '$1 $2')
    .replace(/[_$]+/g, ' ')
    .toLowerCase()
    .split(' ');
}

function findSynonyms(file: SourceFile, forbidden: ReadonlyMap<string, string>): string[] {
  const faults = new Set<string>();
  for (const [identifier] of file.bare.matchAll(/[A-Za-z_$][\w$]*/g)) {
    for (const word of wordsOf(identifier)) {
      const better = forbidden.get(word) ?? forbidden.get(word.replace(/s$/, '')) ?? spelling(word);
      if (better === undefined) continue;
      faults.add(`${file.path}: "${identifier}": we say "${better}", not "${word}" (docs/glossary.md).`);
    }
  }
  return [...faults];
}

function spelling(word: string): string | undefined {
  for (const [stem, american] of british)
    if (word.startsWith(stem) && !/is(?:m|ms|t|ts|tic)$/.test(word)) return american;
  return undefined;
}

const forbidden = readForbidden(glossary);

describe('the glossary', () => {
  it('explains the words of the house and rules some out', () => {
    const words = [...glossary.matchAll(/^\| ([^|]+) \| [^|]+ \| [^|]*\|$/gm)].map((match) => match[1]?.trim());
    const needed = ['tenant', 'user', 'grant', 'anchor', 'mirror', 'link', 'cursor', 'run', 'plan', 'guard', 'case'];
    expect(words).toEqual(expect.arrayContaining(needed));
    expect(words.length).toBeGreaterThan(35);
    expect(forbidden.size).toBeGreaterThan(10);
  });

  it('has each word once', () => {
    const words = [...glossary.matchAll(/^\| ([^|]+) \| [^|]+ \| [^|]*\|$/gm)].map((match) => match[1]?.trim());
    expect(words).toEqual([...new Set(words)]);
  });

  it('is what src/ speaks', () => {
    const files = readSources(root, ['src']).filter((file) => !isTest(file));
    expect(files.length).toBeGreaterThan(25);
    expect(files.flatMap((file) => findSynonyms(file, forbidden))).toEqual([]);
  });

  it.each([
    ['const personId = 1;', 1],
    ['const shadows = [];', 1],
    ['type OrganisationTree = {};', 1],
    ['function synchroniseAll() {}', 1],
    ["const objectClass = 'person';", 0],
    ['// a person decides', 0],
    ['const personal = 1; const optimistic = 2; const organism = 3;', 0],
  ])('is spoken or not in %j', (text, faults) => {
    expect(findSynonyms(parseSource('src/users/users.ts', text), forbidden)).toHaveLength(faults);
  });
});
