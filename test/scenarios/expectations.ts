/** What a story says must be so now. */
import { expect } from 'vitest';
import type { UserId } from '../../src/core/ids.ts';
import type { Change } from '../../src/reconciliation/reconciliation.ts';
import { expandKeys, expandLines } from './crowds.ts';
import type { Then, UserExpectation } from './schema.ts';
import { findUserId, findWired, outOfDomain, type World } from './world.ts';

export async function expectThen(world: World, then: Then): Promise<void> {
  await expectRun(world, then);
  for (const [name, expected] of expandKeys(then.users ?? {})) await expectUser(world, name, expected);
  await expectSums(world, then);
  await expectConnection(world, then);
  if (then.cases !== undefined) expect(await casesOf(world), 'open cases').toEqual(expandLines(then.cases).toSorted());
  const messages = await newMessages(world);
  if (then.notices !== undefined) expect(messages, 'what was announced').toEqual(then.notices.toSorted());
  for (const [name, texts] of Object.entries(then.explain ?? {})) await expectExplanation(world, name, texts);
}

// ------------------------------------------------------------------ runs

async function expectRun(world: World, then: Then): Promise<void> {
  const run = world.lastRun;
  if (then.run !== undefined) {
    expect({ status: run?.status, error: then.error === undefined ? run?.error : null }, 'the last run').toEqual({
      status: then.run,
      error: then.run === 'failed' && then.error === undefined ? run?.error : null,
    });
  }
  if (then.error !== undefined) expect(run?.error?.['code'], 'the error of the last run').toBe(then.error);
  if (then.guards !== undefined) expect(guardsOf(run?.guard ?? null), 'guards').toEqual(then.guards.toSorted());
  if ([then.plan, then.held, then.stale, then.reasons].every((wanted) => wanted === undefined)) return;
  const rows = run === null ? [] : await world.engine.changes(run.id);
  const lines = (state: string | null) =>
    rows
      .filter((row) => state === null || row.state === state)
      .map(lineOf)
      .toSorted();
  if (then.plan !== undefined) expect(lines(null), 'rows of the last run').toEqual(expandLines(then.plan).toSorted());
  if (then.held !== undefined) expect(lines('held'), 'rows that are held').toEqual(expandLines(then.held).toSorted());
  if (then.stale !== undefined) expect(lines('stale'), 'rows gone stale').toEqual(expandLines(then.stale).toSorted());
  for (const [line, reason] of Object.entries(then.reasons ?? {})) {
    const row = rows.find((one) => lineOf(one) === line);
    expect(row?.reason, `the reason of "${line}", of ${lines(null).join('; ')}`).toContain(reason);
  }
}

/** `grant user to ann`, `update ann department`, `suspend ann`. */
export function lineOf(row: Change): string {
  const who = row.anchor ?? row.subject;
  if (row.op === 'grant') return `grant ${row.role} to ${who}`;
  if (row.op === 'revoke') return `revoke ${row.role} from ${who}`;
  if (row.op === 'update') return ['update', who, ...Object.keys(row.after ?? {})].join(' ');
  return `${row.op} ${who}`;
}

function guardsOf(guard: Readonly<Record<string, unknown>> | null): string[] {
  const named = (list: unknown, key: string) =>
    Array.isArray(list) ? list.map((one: Record<string, unknown>) => String(one[key])) : [];
  return [...named(guard?.['breaches'], 'guard'), ...named(guard?.['implausible'], 'check')].toSorted();
}

// ------------------------------------------------------------------ users

type Row = {
  readonly status: string;
  readonly suspendedBy: string | null;
  readonly username: string | null;
  readonly email: string | null;
  readonly name: string | null;
  readonly department: string | null;
  readonly employeeId: string | null;
  readonly title: string | null;
  readonly home: string | null;
  readonly provenance: Readonly<Record<string, string>>;
};

async function expectUser(world: World, name: string, expected: UserExpectation): Promise<void> {
  const userId = await findUserId(world, name);
  if (expected === 'none') {
    expect(userId, `${name}: no user`).toBeNull();
    return;
  }
  if (userId === null) throw new Error(`${name} is nobody in the portal.`);
  const { roles, grants, link, is, isNew, source, ...fields } = expected;
  expectSameUser(world, name, userId, isNew === true);
  if (is !== undefined) expect(userId, `${name} is the user ${is}`).toBe(await findUserId(world, is));
  const row = await selectRow(world, userId);
  const { provenance, ...plain } = row;
  const seen: Record<string, unknown> = {
    ...plain,
    username: outOfDomain(world, row.username),
    email: outOfDomain(world, row.email),
    suspendedBy: sourceInWords(world, row.suspendedBy),
  };
  for (const [field, value] of Object.entries(fields)) expect(seen[field], `${name}: ${field}`).toBe(value);
  for (const [field, from] of Object.entries(source ?? {})) {
    expect(sourceInWords(world, provenance[field] ?? null), `${name}: where ${field} comes from`).toBe(from);
  }
  const given = await selectGrants(world, userId);
  if (grants !== undefined)
    expect(given.map((one) => `${one.role} by ${one.by}`).toSorted(), `${name}: grants`).toEqual(grants.toSorted());
  if (roles !== undefined)
    expect([...new Set(given.map((one) => one.role))].toSorted(), `${name}: roles`).toEqual(roles.toSorted());
  if (link !== undefined) expect(await linkOf(world, name), `${name}: link`).toBe(link);
}

/** A name stands for one user from the first look on, unless the story says that somebody new came. */
function expectSameUser(world: World, name: string, userId: UserId, isNew: boolean): void {
  const before = world.known.get(name);
  if (before !== undefined) {
    if (isNew) expect(userId, `${name} is a new user`).not.toBe(before);
    else expect(userId, `${name} is the same user as before`).toBe(before);
  }
  world.known.set(name, userId);
}

function sourceInWords(world: World, source: string | null): string | null {
  if (source === null) return null;
  if (source === 'manual') return 'hand';
  return world.wired.find((one) => source === `connection:${one.connectionId}`)?.name ?? source;
}

async function selectRow(world: World, userId: UserId): Promise<Row> {
  const [row] = await world.db.tenant(
    world.tenantId,
    ({ sql, tenantId }) => sql<Row[]>`
      select u.status, u.suspended_by as "suspendedBy", u.username, u.email, u.display_name as name, u.department,
        u.employee_id as "employeeId", u.job_title as title, o.slug as home, u.provenance
      from users u left join organizations o on o.tenant_id = u.tenant_id and o.id = u.quota_home_id
      where u.tenant_id = ${tenantId} and u.id = ${userId}`,
  );
  if (row === undefined) throw new Error('The user is gone.');
  return row;
}

async function selectGrants(world: World, userId: UserId): Promise<{ role: string; by: string }[]> {
  const rows = await world.db.tenant(
    world.tenantId,
    ({ sql, tenantId }) => sql<{ role: string; organizationId: string; by: string }[]>`
      select g.role, g.organization_id as "organizationId",
        case when g.source = 'manual' then 'hand' when r.id is null then g.source
          else coalesce(r.group_name, r.group_anchor, nullif(r.predicate, 'true'), 'everyone') end as by
      from grants g left join role_mappings r on r.tenant_id = g.tenant_id and 'rule:' || r.id = g.source
      where g.tenant_id = ${tenantId} and g.user_id = ${userId}`,
  );
  const paths = new Map([...world.organizations].map(([path, id]) => [id as string, path]));
  return rows.map(({ role, organizationId, by }) => {
    const path = paths.get(organizationId) ?? '';
    return { role: path === '' ? role : `${role}@${path}`, by };
  });
}

async function linkOf(world: World, name: string): Promise<string> {
  const [anchor = name, connection = 'Directory'] = name.split('/').toReversed();
  const connectionId = world.wired.find((one) => one.name === connection)?.connectionId ?? null;
  const [row] = await world.db.tenant(
    world.tenantId,
    ({ sql, tenantId }) => sql<{ state: string }[]>`
      select state from links where tenant_id = ${tenantId} and connection_id = ${connectionId} and anchor = ${anchor}`,
  );
  return row?.state ?? 'none';
}

// ------------------------------------------------------------------ the portal as a whole

async function expectSums(world: World, then: Then): Promise<void> {
  if (then.numberOfUsers === undefined && then.statuses === undefined && then.superAdmin === undefined) return;
  const [rows, holder] = await world.db.tenant(world.tenantId, ({ sql, tenantId }) =>
    Promise.all([
      sql<
        { status: string; count: number }[]
      >`select status, count(*)::int as count from users where tenant_id = ${tenantId} group by 1`,
      sql<
        { userId: string }[]
      >`select user_id as "userId" from super_admins where tenant_id = ${tenantId} and organization_id = ${tenantId}`,
    ]),
  );
  const sum = rows.reduce((total, row) => total + row.count, 0);
  if (then.numberOfUsers !== undefined) expect(sum, 'number of users').toBe(then.numberOfUsers);
  if (then.statuses !== undefined) {
    expect(Object.fromEntries(rows.map((row) => [row.status, row.count])), 'users by status').toEqual(then.statuses);
  }
  if (then.superAdmin === undefined) return;
  const wanted = then.superAdmin === null ? null : await findUserId(world, then.superAdmin);
  expect(holder[0]?.userId ?? null, 'the Super Admin').toBe(wanted);
}

async function expectConnection(world: World, then: Then): Promise<void> {
  const { reconciliation } = world.engine;
  const { connectionId } = findWired(world, null);
  if (then.connection !== undefined) {
    const { status } = await reconciliation.findConnection(world.tenantId, connectionId);
    expect(status, 'the connection').toBe(then.connection);
  }
  if (then.likelyCause !== undefined) {
    expect(JSON.stringify(world.lastRun?.guard), 'the guard names the likely cause').toContain(then.likelyCause);
  }
  if (then.unmappedGroups === undefined) return;
  const groups = await reconciliation.listUnmappedGroups(world.tenantId, { connectionIds: [connectionId], limit: 100 });
  expect(groups.map((group) => group.name).toSorted(), 'groups that no role mapping names').toEqual(
    then.unmappedGroups,
  );
}

async function casesOf(world: World): Promise<string[]> {
  const cases = await world.engine.reconciliation.listCases(world.tenantId, 'open');
  const paths = new Map(
    [...world.organizations].map(([path, id]) => [id as string, path === '' ? 'organization' : path]),
  );
  return cases.map((one) => `${one.kind} ${paths.get(one.anchor ?? '') ?? one.anchor ?? one.subject}`).toSorted();
}

/** Types of what was announced since the last look. */
async function newMessages(world: World): Promise<string[]> {
  const rows = await world.db.tenant(
    world.tenantId,
    ({ sql, tenantId }) => sql<{ id: string; type: string }[]>`
      select id::text, type from outbox_messages where tenant_id = ${tenantId} and id > ${world.lastMessage} order by outbox_messages.id`,
  );
  world.lastMessage = Number(rows.at(-1)?.id ?? world.lastMessage);
  return rows.map((row) => row.type).toSorted();
}

async function expectExplanation(world: World, name: string, texts: readonly string[]): Promise<void> {
  const userId = await findUserId(world, name);
  if (userId === null) throw new Error(`${name} is nobody in the portal.`);
  const explanation = JSON.stringify(await world.engine.reconciliation.explainUser(world.tenantId, userId));
  for (const text of texts) expect(explanation, `explain ${name}`).toContain(text);
}
