import { beforeAll, describe, expect, it } from 'vitest';
import { createTenant, useDatabase, type TestTenant } from '../../test/setup/database.ts';
import { createAudit, recordEvent } from './audit.ts';

const database = useDatabase();
let tenant: TestTenant;

beforeAll(async () => {
  tenant = await createTenant(database.db);
});

const record = (action: string, days?: number) =>
  database.db.tenant(tenant.tenantId, (tx) => recordEvent(tx, { actor: 'system', action, target: 'x:1' }, days));

describe('an audit event', () => {
  it('lives and dies with the transaction of the deed', async () => {
    const rolledBack = database.db.tenant(tenant.tenantId, async (tx) => {
      await recordEvent(tx, { actor: 'system', action: 'never.happened', target: 'x:1' });
      throw new Error('no');
    });
    await expect(rolledBack).rejects.toThrow('no');
    await record('did.happen');
    const { items } = await createAudit(database).list(tenant.tenantId, { limit: 10 });
    expect(items.map((event) => event.action)).toEqual(['did.happen']);
  });

  it('carries its own expiry, fixed when it is recorded: 30 days unless told', async () => {
    await record('a.default');
    await record('a.year', 365);
    const rows = await database.db.tenant(
      tenant.tenantId,
      ({ sql }) => sql<{ days: number }[]>`
        select extract(day from expires_at - at)::int as days from audit_events where action like 'a.%' order by seq`,
    );
    expect(rows.map((row) => row.days)).toEqual([30, 365]);
  });

  it('can not be changed or deleted, and is unknown to another tenant', async () => {
    for (const statement of ['update audit_events set actor = $1', 'delete from audit_events where actor = $1']) {
      const attempt = database.db.tenant(tenant.tenantId, ({ sql }) => sql.unsafe(statement, ['x']));
      await expect(attempt).rejects.toMatchObject({ code: '42501' });
    }
    const other = await createTenant(database.db);
    expect((await createAudit(database).list(other.tenantId, { limit: 10 })).items).toEqual([]);
  });

  it('is listed newest first in pages, and followed oldest first', async () => {
    const audit = createAudit(database);
    for (const at of [1, 2, 3]) await record(`page.${at}`);
    const first = await audit.list(tenant.tenantId, { limit: 2 });
    const second = await audit.list(tenant.tenantId, { limit: 1, cursor: first.nextCursor ?? undefined });
    expect([...first.items, ...second.items].map((event) => event.action)).toEqual(['page.3', 'page.2', 'page.1']);
    const oldest = second.items[0]?.seq ?? 0;
    const after = await audit.after(tenant.tenantId, oldest, 10);
    expect(after.map((event) => event.action)).toEqual(['page.2', 'page.3']);
  });
});
