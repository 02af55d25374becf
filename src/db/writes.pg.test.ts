import { describe, expect, it } from 'vitest';
import type { TenantId } from '../core/ids.ts';
import { createTenant, useDatabase } from '../../test/setup/database.ts';
import { databaseErrorCode, overtaken, writeAll, type TenantTx, type Write } from './db.ts';

const database = useDatabase();

const renaming = ({ sql, tenantId }: TenantTx, more: string): Write => ({
  table: 'organizations',
  sql: sql`update organizations set name = name || ${more} where tenant_id = ${tenantId} and id = ${tenantId}`,
});
const claiming = ({ sql, tenantId }: TenantTx, name: string): Write => ({
  table: 'domains',
  sql: sql`insert into domains (tenant_id, name) values (${tenantId}, ${name})`,
});

const namesOf = (tenantId: TenantId) =>
  database.db.tenant(tenantId, async ({ sql }) => {
    const rows = await sql<{ name: string }[]>`
      select name from organizations where tenant_id = ${tenantId} and id = ${tenantId}
      union all select name from domains where tenant_id = ${tenantId} and status = 'pending'`;
    return rows.map(({ name }) => name);
  });

describe('writes that leave together', () => {
  it('are all done, and those of one table one after the other', async () => {
    const { tenantId } = await createTenant(database.db, { name: 'A' });
    await database.db.tenant(tenantId, (tx) =>
      writeAll(tx, [renaming(tx, 'c'), claiming(tx, 'written.example'), renaming(tx, 'm'), renaming(tx, 'e')]),
    );
    expect(await namesOf(tenantId)).toEqual(['Acme', 'written.example']);
  });

  it('are none where one of them does not write the rows it must', async () => {
    const { tenantId } = await createTenant(database.db, { name: 'A' });
    const writing = database.db.tenant(tenantId, (tx) =>
      writeAll(tx, [renaming(tx, 'c'), { ...claiming(tx, 'overtaken.example'), mustWrite: 2 }]),
    );
    const error = await writing.catch((cause: unknown) => cause);
    expect(databaseErrorCode(error)).toBe(overtaken);
    expect(await namesOf(tenantId)).toEqual(['A']);
  });

  it('are done where each writes the rows it must, one alone too', async () => {
    const { tenantId } = await createTenant(database.db, { name: 'A' });
    await database.db.tenant(tenantId, async (tx) => {
      await writeAll(tx, []);
      await writeAll(tx, [{ ...renaming(tx, 'c'), mustWrite: 1 }]);
      await writeAll(tx, [
        { ...renaming(tx, 'm'), mustWrite: 1 },
        { ...claiming(tx, 'both.example'), mustWrite: 1 },
      ]);
    });
    expect(await namesOf(tenantId)).toEqual(['Acm', 'both.example']);
  });
});
