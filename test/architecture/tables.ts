/** Which room owns which table, who writes it, and whether the vocabularies of core guard its columns. */
import { isTest, type SourceFile } from './source.ts';

export type Table = { readonly constant: string; readonly name: string; readonly owner: string };

/** Reads `export const users = pgTable('users'` from src/db/schema/<room>.ts or <room>-<part>.ts; the room is the owner. */
export function readTables(files: readonly SourceFile[]): Table[] {
  return files
    .filter((file) => file.path.startsWith('src/db/schema/') && !isTest(file))
    .flatMap((file) => {
      const owner = file.path.slice('src/db/schema/'.length).replace(/(-[a-z-]+)?\.ts$/, '');
      return [...file.code.matchAll(/export const (\w+) = pgTable(?:\.withRLS)?\(\s*'(\w+)'/g)].map((match) => ({
        constant: match[1] ?? '',
        name: match[2] ?? '',
        owner,
      }));
    });
}

/** A table name as SQL text writes it: bare, quoted, with schema, or the Drizzle table in `${}`. */
const target = String.raw`(?:only\s+)?(?:"?public"?\.)?(?:"?(\w+)"?|\$\{\s*(?:\w+\.)?(\w+)\s*\})`;

const writes: readonly RegExp[] = [
  new RegExp(String.raw`\binsert\s+into\s+${target}`, 'gi'),
  new RegExp(String.raw`\bdelete\s+from\s+${target}`, 'gi'),
  new RegExp(String.raw`\bmerge\s+into\s+${target}`, 'gi'),
  new RegExp(String.raw`\btruncate\s+(?:table\s+)?${target}`, 'gi'),
  new RegExp(String.raw`\bupdate\s+${target}(?:\s+(?:as\s+)?\w+)?\s+set\b`, 'gi'),
  new RegExp(String.raw`\bcopy\s+${target}[^;]*?\bfrom\s+stdin`, 'gi'),
  /\.(?:insert|update|delete)\(\s*()(?:\w+\.)?(\w+)\s*,?\s*\)/g,
];

export function checkTableWriters(files: readonly SourceFile[], tables: readonly Table[]): string[] {
  const byName = new Map(tables.flatMap((table) => [[table.name, table] as const]));
  const byConstant = new Map(tables.flatMap((table) => [[table.constant, table] as const]));
  const faults = new Set<string>();
  for (const file of files) {
    if (!file.path.startsWith('src/') || isTest(file)) continue;
    const room = file.path.split('/')[1] ?? '';
    for (const match of writes.flatMap((pattern) => [...file.code.matchAll(pattern)])) {
      const table = byName.get(match[1]?.toLowerCase() ?? '') ?? byConstant.get(match[2] ?? '');
      if (table === undefined || table.owner === room) continue;
      faults.add(
        `${file.path} writes ${table.name}, which belongs to ${table.owner}: call a door of src/${table.owner}/ (set-based, in your transaction) and let it write.`,
      );
    }
  }
  return [...faults];
}

/** Every vocabulary of core reaches a check constraint, or stands in `exempt` with its reason. */
export function checkVocabularies(files: readonly SourceFile[], exempt: ReadonlyMap<string, string>): string[] {
  const faults: string[] = [];
  const vocabulary = files.find((file) => file.path === 'src/core/vocabulary.ts');
  const schema = files.filter((file) => file.path.startsWith('src/db/schema/') && !isTest(file));
  const tuples = [...(vocabulary?.code ?? '').matchAll(/export const (\w+) = \[/g)].map((match) => match[1] ?? '');
  if (tuples.length === 0) faults.push('src/core/vocabulary.ts has no tuples: this rule has read nothing.');
  for (const tuple of tuples) {
    const isUsed = schema.some((file) => new RegExp(String.raw`\boneOf\([^,()]+,\s*${tuple}\)`).test(file.code));
    if (isUsed === exempt.has(tuple)) {
      faults.push(
        isUsed
          ? `${tuple} is exempt from check constraints, yet one uses it: remove the exemption.`
          : `${tuple} guards no column: add check(..., oneOf(t.column, ${tuple})) to the schema, or exempt it with a reason in test/architecture.test.ts.`,
      );
    }
  }
  for (const file of schema) {
    for (const match of file.code.matchAll(/\boneOf\(\s*t\.[^,()]+,(?!\s*\w+\s*\))/g)) {
      faults.push(`${file.path} spells a vocabulary out (${match[0]}...): put the tuple into src/core/vocabulary.ts.`);
    }
    if (/\bpgEnum\(/.test(file.code)) {
      faults.push(`${file.path} uses pgEnum, whose equality is not leakproof: use text() with check(oneOf(...)).`);
    }
  }
  return faults;
}
