/** Hot reads under row-level security, where only leakproof operators use an index (design.md section 5). */
import { beforeAll, describe, expect, it } from 'vitest';
import { principalOf } from '../../test/setup/people.ts';
import { createTenant, useDatabase, type TestTenant } from '../../test/setup/database.ts';
import type { TenantTx } from '../db/db.ts';
import { encodeCursor } from '../platform/page.ts';
import type { Principal } from '../platform/route.ts';
import { selectIdsByName, selectUsers, type UserFilter } from './store.ts';

const database = useDatabase();
const total = 20_000;
const idOf = (n: number) => `00000000-0000-7000-8000-${n.toString(16).padStart(12, '0')}`;
const nameOf = (n: number) => `name ${String((n * 7919) % total).padStart(5, '0')}`;

let tenant: TestTenant;
let admin: Principal;

beforeAll(async () => {
  tenant = await createTenant(database.db);
  admin = principalOf(tenant.tenantId, 'admin');
  await database.db.tenant(tenant.tenantId, async ({ sql }) => {
    await sql`insert into users (tenant_id, id, display_name, display_name_key, email_key, username_key)
      select ${tenant.tenantId}::uuid, ('00000000-0000-7000-8000-' || lpad(to_hex(n), 12, '0'))::uuid, 'x',
        case when n % 100 = 0 then null else 'name ' || lpad((n * 7919 % ${total}::int)::text, 5, '0') end,
        'mail' || n || '@x.example', 'user' || n || '@x.example'
      from generate_series(1, ${total}::int) n`;
  });
  await database.db.stage.sql`analyze users`;
});

async function counters(tx: TenantTx) {
  const [row] = await tx.sql<{ scans: number; rows: number }[]>`
    select seq_scan::int as scans, idx_tup_fetch::int as rows from pg_stat_xact_user_tables where relname = 'users'`;
  return row ?? { scans: 0, rows: 0 };
}

/** What reading cost in table `users`: the difference, because a session's counters outlive its transactions a while. */
async function costOf(read: (tx: TenantTx) => Promise<readonly unknown[]>) {
  return database.db.tenant(tenant.tenantId, async (tx) => {
    const before = await counters(tx);
    const found = (await read(tx)).length;
    const after = await counters(tx);
    return { found, fullScans: after.scans - before.scans, rowsRead: after.rows - before.rows };
  });
}

const listing = (filter: UserFilter & { readonly cursor?: string }) => async (tx: TenantTx) =>
  (await selectUsers(tx, admin, { limit: 50, ...filter })).items;

describe('among 20,000 users, without reading them all, one finds', () => {
  it.each([
    ['the first page', listing({}), 50],
    ['a far page', listing({ cursor: encodeCursor([idOf(19_000)]) }), 50],
    ['the first page by name', listing({ sort: 'displayName' }), 50],
    ['a far page by name', listing({ sort: 'displayName', cursor: encodeCursor([nameOf(1), idOf(1)]) }), 50],
    ['those without a name', listing({ sort: 'displayName', cursor: encodeCursor([null, idOf(19_000)]) }), 10],
    ['a beginning of an address', listing({ search: 'MAIL1999' }), 11],
    ['a beginning of a name', listing({ search: 'name 1999' }), 10],
    ['a username', (tx: TenantTx) => selectIdsByName(tx, admin, 'user77@x.example'), 1],
  ] as const)('%s', async (_what, read, found) => {
    const cost = await costOf(read);
    expect(cost).toMatchObject({ found, fullScans: 0 });
    expect(cost.rowsRead).toBeLessThan(300);
  });
});
