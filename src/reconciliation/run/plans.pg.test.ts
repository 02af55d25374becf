/** Hot statements about a few subjects among 20,000: under row-level security each must find them by an index. */
import { beforeAll, describe, expect, test } from 'vitest';
import { createEngine, type Engine } from '../../../test/fakes/engine.ts';
import { createTenant, useDatabase } from '../../../test/setup/database.ts';
import { explainWork, type Plan } from '../../../test/setup/explain.ts';
import { newId, type ConnectionId, type RunId } from '../../core/ids.ts';
import type { TenantTx } from '../../db/db.ts';
import { createPushes } from '../push/push.ts';
import { settleLinks, settlePushed } from '../apply/links.ts';
import { mergeStage } from '../mirror/mirror.ts';
import { createStage, dropOwnStage, stageTablesOf } from '../mirror/stage.ts';
import { addDue, markLeaving } from '../plan/leavers.ts';
import { completeDesired, desiredOfAnchors, selectAffected } from '../plan/selection.ts';
import { loadSubjects } from '../plan/subjects.ts';
import { SecretBox } from '../../platform/secrets.ts';

const database = useDatabase();
const total = 20_000;
const unlinked = 10;
const runId = '00000000-0000-7000-8000-00000000000b' as RunId;
/** Grow with the people of a tenant; the others (connections, role mappings, domains, organizations) stay small. */
const large = [
  'mirror_objects',
  'mirror_edges',
  'links',
  'users',
  'grants',
  'memberships',
  'changes',
  'exclusions',
  'cases',
];

let engine: Engine;
let scimId: ConnectionId;

/** 20,000 pushed users, each in one of 5,000 groups, all linked and granted, and 5,000 who are gone. */
beforeAll(async () => {
  engine = await createEngine(database.db);
  const { tenantId, tenant, reconciliation } = engine;
  const connection = await reconciliation.createConnection('test', tenantId, {
    name: 'Okta',
    kind: 'scim',
    organization: tenant.slug,
    roles: [{ group: { id: 'g1' }, role: 'user' }],
  });
  scimId = connection.id;
  await database.db.tenant(tenantId, async ({ sql }) => {
    await sql`insert into users (tenant_id, id, display_name, display_name_key, email_key, username_key, employee_id_key, last_run_id)
      select ${tenantId}::uuid, ('00000000-0000-7000-8000-' || lpad(to_hex(n), 12, '0'))::uuid, 'x', 'x', 'mail' || n || '@x.test',
        'user' || n || '@x.test', 'e' || n, ${runId}::uuid from generate_series(1, ${total}::int) n`;
    await sql`insert into mirror_objects (tenant_id, connection_id, kind, anchor, user_name_key, email_key, source, mapped, content_hash, is_pushed)
      select ${tenantId}::uuid, ${scimId}::uuid, 'user', 'u' || n, 'user' || n, 'mail' || n || '@x.test', '{}', '{}', '', true
      from generate_series(1, ${total}::int) n`;
    await sql`insert into mirror_objects (tenant_id, connection_id, kind, anchor, user_name_key, external_id, source, mapped, content_hash, is_pushed, deleted_at)
      select ${tenantId}::uuid, ${scimId}::uuid, 'user', 'gone' || n, 'gone' || n, 'x' || n, '{}', '{}', '', true, now()
      from generate_series(1, 5_000) n`;
    await sql`insert into mirror_objects (tenant_id, connection_id, kind, anchor, source, content_hash, is_pushed)
      select ${tenantId}::uuid, ${scimId}::uuid, 'group', 'g' || n, '{}', '', true from generate_series(1, 5_000) n`;
    await sql`insert into mirror_edges (tenant_id, connection_id, group_anchor, member_anchor)
      select ${tenantId}::uuid, ${scimId}::uuid, 'g' || (n % 5000 + 1), 'u' || n from generate_series(1, ${total}::int) n`;
    await sql`insert into links (tenant_id, connection_id, anchor, user_id, state, settled_version)
      select ${tenantId}::uuid, ${scimId}::uuid, 'u' || n, ('00000000-0000-7000-8000-' || lpad(to_hex(n), 12, '0'))::uuid, 'linked', 1
      from generate_series(1, ${total - unlinked}::int) n`;
    await sql`insert into grants (tenant_id, organization_id, user_id, role, source)
      select ${tenantId}::uuid, ${tenantId}::uuid, ('00000000-0000-7000-8000-' || lpad(to_hex(n), 12, '0'))::uuid, 'user', 'manual'
      from generate_series(1, ${total}::int) n`;
  });
  await database.db.tenant(
    tenantId,
    ({ sql }) => sql`
      insert into exclusions (tenant_id, id, organization_id, user_id, role, reason, created_by)
      select ${tenantId}::uuid, gen_random_uuid(), ${tenantId}::uuid, id, 'user', 'x', 'test' from users where tenant_id = ${tenantId} limit 5000`,
  );
  await database.db.tenant(tenantId, async ({ sql }) => {
    await sql`insert into runs (tenant_id, id, connection_id, connection_version, kind, mode, status, requested_by)
      values (${tenantId}, ${runId}, ${scimId}, 1, 'push', 'auto', 'succeeded', 'push')`;
    await sql`insert into changes (tenant_id, run_id, connection_id, seq, class, op, kind, anchor, user_id, subject, reason, cause, state, applied_at)
      select ${tenantId}::uuid, ${runId}::uuid, ${scimId}::uuid, n, 'update', 'update', 'mover', 'u' || n,
        ('00000000-0000-7000-8000-' || lpad(to_hex(n), 12, '0'))::uuid, 'x', 'x', 'x', 'applied', now() from generate_series(1, ${total}::int) n`;
  });
  await addOtherTenants();
  await database.db.stage.sql`analyze`;
});

/** Fifty with forty people each: for the planner an average connection is small, and the large one looks like it. */
async function addOtherTenants(): Promise<void> {
  for (let number = 0; number < 50; number += 1) {
    const { tenantId } = await createTenant(database.db);
    const connectionId = newId();
    await database.db.tenant(tenantId, async ({ sql }) => {
      await sql`insert into connections (tenant_id, id, organization_id, kind, name, name_key, settings, policy, status, created_by)
        values (${tenantId}, ${connectionId}, ${tenantId}, 'scim', 'Okta', 'okta', '{}', '{}', 'active', 'system')`;
      await sql`insert into users (tenant_id, id, display_name, display_name_key, username_key, last_run_id)
        select ${tenantId}::uuid, gen_random_uuid(), 'x', 'x', 'user' || n, ${runId}::uuid from generate_series(1, 40) n`;
      await sql`insert into mirror_objects (tenant_id, connection_id, kind, anchor, source, content_hash, is_pushed)
        select ${tenantId}::uuid, ${connectionId}::uuid, k.kind, k.kind || n, '{}', '', true
        from generate_series(1, 40) n cross join unnest(array['user', 'group']) k(kind)`;
      await sql`insert into mirror_edges (tenant_id, connection_id, group_anchor, member_anchor)
        select ${tenantId}::uuid, ${connectionId}::uuid, 'group' || n, 'user' || n from generate_series(1, 40) n`;
      await sql`insert into links (tenant_id, connection_id, anchor, user_id, state, settled_version)
        select ${tenantId}::uuid, ${connectionId}::uuid, 'user' || row_number() over (), id, 'linked', 1
        from users where tenant_id = ${tenantId}`;
    });
  }
}

async function plansOf(work: (tx: TenantTx) => Promise<unknown>): Promise<readonly Plan[]> {
  const plans = await explainWork(database.url, engine.tenantId, work);
  expect(plans.length).toBeGreaterThan(0);
  return plans;
}

/** Pushes keep their plans for any tenant and connection. */
async function keptPlansOf(work: (tx: TenantTx) => Promise<unknown>): Promise<readonly Plan[]> {
  const plans = await explainWork(database.url, engine.tenantId, work, { isKept: true });
  expect(plans.length).toBeGreaterThan(0);
  return plans;
}

/** Indexes of the few rows that wait for something; all of them are few. */
const partial = ['links_leaving', 'users_edited'];

/** Found by an index, but by nothing that tells one object from another: that reads all there are, too. */
function isBroad(node: string): boolean {
  const [, name, condition] = /^(?:Bitmap )?Index (?:Only )?Scan(?: on \w+)? using (\w+) (.*)$/.exec(node) ?? [];
  if (name === undefined || condition === undefined || partial.includes(name)) return false;
  if (!large.some((table) => name.startsWith(table))) return false;
  return condition.replaceAll(/\((tenant_id|connection_id|kind) = [^()]*\)/g, '').replaceAll(/ AND |[() ]/g, '') === '';
}

/** Statements that read a large table whole, with the plan that shows it. */
function wholeReads(plans: readonly Plan[]): unknown[] {
  return plans
    .filter((plan) => plan.wholeReads.some((table) => large.includes(table)) || plan.nodes.some(isBroad))
    .map((plan) => ({ statement: plan.statement.slice(0, 300), nodes: plan.nodes }));
}

const pushes = () =>
  createPushes({
    db: database.db,
    connectors: new Map(),
    secretBox: new SecretBox(Buffer.alloc(32, 1)),
    nextSlot: () => new Date(0).toISOString(),
    now: () => new Date(),
  });
const context = () => ({
  tenantId: engine.tenantId,
  connectionId: scimId,
  requestId: '00000000-0000-7000-8000-00000000000a',
});
const pushed = (anchor: string) => ({
  anchor,
  userName: `${anchor}@x.test`,
  externalId: null,
  displayName: anchor,
  isActive: true,
  attributes: { userName: `${anchor}@x.test`, displayName: anchor },
  resource: {},
});

describe('among 20,000 users, no large table is read whole', () => {
  test.each([
    ['linked', 'u77'],
    ['not linked yet', `u${total}`],
  ])('to load one subject that is %s', async (_what, anchor) => {
    const plans = await keptPlansOf((tx) =>
      loadSubjects(tx, {
        connectionId: scimId,
        anchors: [anchor],
        wanted: { desired: [], rules: new Map() },
        few: 'new',
        correlation: ['username', 'email', 'employee_id'],
        provenDomains: ['x.test'],
      }),
    );
    expect(wholeReads(plans)).toEqual([]);
  });

  test.each([[['u77']], [Array.from({ length: 16 }, (_, index) => `u${index}`)]])(
    'to know which roles the objects %j should give',
    async (anchors) => {
      expect(wholeReads(await keptPlansOf((tx) => desiredOfAnchors(tx, scimId, anchors)))).toEqual([]);
    },
  );

  test('to settle objects that came together', async () => {
    const anchors = Array.from({ length: 16 }, (_, index) => `u${index}`);
    expect(wholeReads(await keptPlansOf((tx) => settlePushed(tx, scimId, anchors)))).toEqual([]);
  });

  test.each<[string, (tx: TenantTx) => Promise<unknown>]>([
    ['create a user', (tx) => pushes().writeUser(tx, context(), pushed('new'), 'new')],
    ['change a user', (tx) => pushes().writeUser(tx, context(), pushed('u77'), { version: 1 })],
    ['delete a user', (tx) => pushes().remove(tx, context(), 'user', 'u78')],
    ['add a member to a mapped group', (tx) => pushes().changeMembers(tx, context(), 'g1', { add: ['u79'] })],
    ['take a member from a group', (tx) => pushes().changeMembers(tx, context(), 'g2', { remove: ['u1'] })],
  ])('by a push to %s', async (_what, work) => {
    expect(wholeReads(await keptPlansOf(work))).toEqual([]);
  });
});

describe('a run that finds a few of 20,000 changed', () => {
  const since = '2020-01-01T00:00:00Z';
  const unwritten = { isWhole: false, version: 1, exclusions: '', at: since, groupsSince: '2999-01-01T00:00:00Z' };

  test('asks what groups give for those it decides, and settles them, by indexes', async () => {
    const anchors = ['u77', 'u78'];
    const plans = await plansOf(async (tx) => {
      await tx.sql`update mirror_objects set version = 2 where tenant_id = ${tx.tenantId} and connection_id = ${scimId} and kind = 'user'
        and anchor = any(${anchors})`;
      expect(await selectAffected(tx, scimId, ['user'], unwritten)).toBe(anchors.length + unlinked);
      await addDue(tx, scimId, { graceDays: 0, deleteAfterDays: null, reviewRehireAfterDays: null });
      await completeDesired(tx, scimId);
      await markLeaving(tx, scimId, 0, null);
      await settleLinks((work) => work(tx), { runId, connectionId: scimId }, anchors);
    });
    expect(wholeReads(plans)).toEqual([]);
  });

  test('compares the members of all groups as sets, not each member with all others', async () => {
    await createStage(database.db, { id: runId, epoch: 1 });
    const stage = stageTablesOf({ id: runId, epoch: 1 });
    const { sql } = database.db.stage;
    await sql`insert into ${sql(stage.edges)} (seq, group_anchor, member_anchor, op)
      select n, 'g' || (n % 5000 + 1), 'u' || n, '+' from generate_series(1, ${total}::int) n`;
    await sql`insert into ${sql(stage.group_sets)} (group_anchor, seq, is_set) select 'g' || n, 0, n % 2 = 0 from generate_series(1, 5000) n`;
    const counts = { objects: 0, edges: total, group_sets: 5000, gone: 0, absent: 0, swept: 0 };
    const plans = await plansOf((tx) => mergeStage(tx, scimId, stage, counts));
    expect(plans.filter((plan) => plan.perRow.length > 0)).toEqual([]);
    await dropOwnStage(database.db, { id: runId, epoch: 1 });
  });
});
