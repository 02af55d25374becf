import { expect, it } from 'vitest';
import { createTenant, useDatabase } from '../../test/setup/database.ts';
import { rowsOf } from './rows.ts';

const database = useDatabase();

it('hands over every text as it is, null apart from the word for it, and JSON as JSON', async () => {
  const { tenantId } = await createTenant(database.db);
  const texts = ['', 'null', 'NULL', '"', '\\', '\\"', '{}', '{a,b}', ',', "'", '\n\t\r', ' x ', 'ü 漢 😀', '$1', null];
  const rows = await database.db.tenant(
    tenantId,
    ({ sql }) => sql<{ seq: number; text: string | null; json: string | null; size: string }[]>`
      select r.seq, r.text, r.json #>> '{value,0}' as json, r.size from ${rowsOf(sql, {
        seq: ['int', texts.map((_text, index) => index)],
        text: ['text', texts],
        json: ['jsonb', texts.map((text) => (text === null ? null : JSON.stringify({ value: [text] })))],
        size: ['bigint', texts.map(() => Number.MAX_SAFE_INTEGER)],
      })} order by r.seq`,
  );
  expect(rows.map(({ seq }) => seq)).toEqual(texts.map((_text, index) => index));
  expect(rows.map(({ text }) => text)).toEqual(texts);
  expect(rows.map(({ json }) => json)).toEqual(texts);
  expect(rows[0]?.size).toBe(String(Number.MAX_SAFE_INTEGER));
});
