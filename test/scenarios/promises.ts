/**
 * What holds in every scenario without being said in it: rows say what was done, nothing was done that no row says, no
 * role lies above its ceiling, a membership exists exactly while a grant does, a further run finds nothing to do, and
 * explain names object, rule, run and input for every row.
 */
import { expect } from 'vitest';
import type { RunId, UserId } from '../../src/core/ids.ts';
import { grantableRoles, roleRank, type GrantableRole } from '../../src/core/roles.ts';
import { changeClasses, type ChangeOp } from '../../src/core/vocabulary.ts';
import type { Change } from '../../src/reconciliation/reconciliation.ts';
import { readPortal, withoutNulls, type PortalState, type UserState } from './portal-rows.ts';
import type { World } from './world.ts';

export function isOpen(row: Change): boolean {
  return row.state === 'planned' || row.state === 'held';
}

/** What a person sees of a row and what is done for it. */
export function contentOf(row: Change): Record<string, unknown> {
  const { seq, op, subject, userId, organizationId, role, grantSource, after } = row;
  return { seq, op, subject, userId, organizationId, role, grantSource, after };
}

/** The portal as it would stand if exactly these rows were done: an apply of its own, written from the words alone. */
export function predict(before: PortalState, rows: readonly Change[]): PortalState {
  const users = new Map(before.users);
  const grants = new Set(before.grants);
  const ordered = rows.toSorted(
    (a, b) => changeClasses.indexOf(a.class) - changeClasses.indexOf(b.class) || a.seq - b.seq,
  );
  for (const row of ordered) {
    const grant = `${row.userId} ${row.organizationId} ${row.role} ${row.grantSource}`;
    if (row.op === 'grant') grants.add(grant);
    if (row.op === 'revoke') grants.delete(grant);
    const user = row.userId === null ? undefined : nextUser(users.get(row.userId), row);
    if (user !== undefined) users.set(user.id, user);
  }
  return { users, grants };
}

const statusAfter: Partial<Record<ChangeOp, string>> = {
  reactivate: 'active',
  suspend: 'suspended',
  remove: 'removed',
};

function nextUser(user: UserState | undefined, row: Change): UserState | undefined {
  if (row.op === 'create') {
    return { id: row.userId ?? '', status: 'active', home: null, values: withoutNulls(row.after ?? {}) };
  }
  if (user === undefined) return undefined;
  if (row.op === 'quota_home') return { ...user, home: homeOf(row) };
  if (row.op === 'update' || row.op === 'key') {
    return { ...user, values: withoutNulls({ ...user.values, ...row.after }) };
  }
  const values = row.op === 'remove' ? withoutNulls({ ...user.values, username: null }) : user.values;
  return { ...user, status: statusAfter[row.op] ?? user.status, values };
}

function homeOf(row: Change): string | null {
  const home = row.after?.['quotaHome'];
  return typeof home === 'string' ? home : null;
}

export function expectEffects(before: PortalState, applied: readonly Change[], after: PortalState): void {
  const predicted = predict(before, applied);
  const plain = (state: PortalState) => ({
    users: [...state.users.values()].toSorted((a, b) => (a.id < b.id ? -1 : 1)),
    grants: [...state.grants].toSorted(),
  });
  expect(plain(after), 'users and grants change as the applied rows say, and in nothing else').toEqual(
    plain(predicted),
  );
}

/** No step gives a role above what its connection may give; what was given before a ceiling sank is taken by a run. */
export function expectGivenWithinCeiling(world: World, applied: readonly Change[]): void {
  for (const row of applied.filter((one) => one.op === 'grant' && one.grantSource?.startsWith('rule:') === true)) {
    const wired = world.wired.find((one) => one.connectionId === row.connectionId);
    const ceiling = grantableRoles.find((role) => role === wired?.document['ceiling']) ?? 'user';
    expect(roleRank(row.role ?? 'user'), `${row.role} for ${row.subject}`).toBeLessThanOrEqual(roleRank(ceiling));
  }
}

/** One pushed request: its rows say what it did. */
export async function checkPush<T>(world: World, requestId: string, push: () => Promise<T>): Promise<T> {
  const before = await readPortal(world.db, world.tenantId);
  const result = await push();
  const rows = await rowsOfRequest(world, requestId);
  const applied = rows.filter((row) => row.state === 'applied');
  expectEffects(before, applied, await readPortal(world.db, world.tenantId));
  expectGivenWithinCeiling(world, applied);
  return result;
}

async function rowsOfRequest(world: World, requestId: string): Promise<readonly Change[]> {
  const found = await world.db.tenant(
    world.tenantId,
    ({ sql, tenantId }) => sql<{ runId: RunId; seq: number }[]>`
      select run_id as "runId", seq from changes where tenant_id = ${tenantId} and request_id = ${requestId} order by seq`,
  );
  const [first] = found;
  if (first === undefined) return [];
  const seqs = new Set(found.map((row) => row.seq));
  return (await world.engine.changes(first.runId)).filter((row) => seqs.has(row.seq));
}

// ------------------------------------------------------------------ at the end of each story

export async function expectWithinCeilings(world: World): Promise<void> {
  const rows = await world.db.tenant(
    world.tenantId,
    ({ sql, tenantId }) => sql<{ role: GrantableRole; ceiling: GrantableRole }[]>`
      select g.role, n.ceiling from grants g
      join role_mappings r on r.tenant_id = g.tenant_id and 'rule:' || r.id = g.source
      join connections n on n.tenant_id = r.tenant_id and n.id = r.connection_id
      where g.tenant_id = ${tenantId}`,
  );
  const above = rows.filter((row) => roleRank(row.role) > roleRank(row.ceiling));
  expect(above, `no role above its ceiling (of ${grantableRoles.join(', ')})`).toEqual([]);
}

export async function expectMembershipsOfGrants(world: World): Promise<void> {
  const odd = await world.db.tenant(
    world.tenantId,
    ({ sql, tenantId }) => sql`
      select m.user_id, g.user_id as granted from (select organization_id, user_id from memberships where tenant_id = ${tenantId}) m
      full join (select distinct organization_id, user_id from grants where tenant_id = ${tenantId}) g using (organization_id, user_id)
      where m.user_id is null or g.user_id is null`,
  );
  expect([...odd], 'a membership exists exactly while a grant does').toEqual([]);
}

/** Above so many users one row of each sort is looked at: the others differ in their names only. */
const manyUsers = 25;

export async function expectExplained(world: World): Promise<void> {
  const rows = await selectAllRows(world);
  const users = new Set(rows.flatMap((row) => (row.userId === null ? [] : [row.userId])));
  const chosen = users.size <= manyUsers ? rows : oneOfEachSort(rows);
  for (const [userId, own] of Map.groupBy(chosen, (row) => row.userId)) {
    for (const row of own) expectNamed(row);
    if (userId !== null) await expectUserExplained(world, userId, own);
  }
}

type RowWithInput = Change & { readonly ruleVersion: number | null; readonly hasInput: boolean };

function oneOfEachSort(rows: readonly RowWithInput[]): RowWithInput[] {
  return [...new Map(rows.map((row) => [`${row.op} ${row.cause} ${row.state}`, row])).values()];
}

async function selectAllRows(world: World): Promise<RowWithInput[]> {
  const inputs = await world.db.tenant(
    world.tenantId,
    ({ sql, tenantId }) => sql<{ runId: RunId; seq: number; ruleVersion: number | null; hasInput: boolean }[]>`
      select c.run_id as "runId", c.seq, v.version as "ruleVersion", m.anchor is not null as "hasInput" from changes c
      join runs r on r.tenant_id = c.tenant_id and r.id = c.run_id
      left join connection_versions v on v.tenant_id = r.tenant_id and v.connection_id = r.connection_id and v.version = r.connection_version
      left join mirror_objects m on m.tenant_id = c.tenant_id and m.connection_id = c.connection_id and m.kind = 'user' and m.anchor = c.anchor
      where c.tenant_id = ${tenantId}`,
  );
  const known = new Map(inputs.map((row) => [`${row.runId} ${row.seq}`, row]));
  const runIds = [...new Set(inputs.map((row) => row.runId))];
  const rows = await Promise.all(runIds.map((runId) => world.engine.changes(runId)));
  return rows.flat().map((row) => {
    const found = known.get(`${row.runId} ${row.seq}`);
    return { ...row, ruleVersion: found?.ruleVersion ?? null, hasInput: found?.hasInput ?? false };
  });
}

function expectNamed(row: RowWithInput): void {
  const what = `${row.op} ${row.subject}`;
  expect(row.reason, `${what}: says why`).not.toBe('');
  expect(row.anchor, `${what}: names the object of the directory`).not.toBeNull();
  expect(row.ruleVersion, `${what}: names the version of the rules`).not.toBeNull();
  expect(row.hasInput, `${what}: what the directory said is kept`).toBe(true);
}

async function expectUserExplained(world: World, userId: UserId, rows: readonly Change[]): Promise<void> {
  if (!(await isThere(world, userId))) {
    // a plan that nobody applied speaks of users who were never made
    for (const row of rows) expect(row.state, `${row.op} ${row.subject}`).not.toBe('applied');
    return;
  }
  const explanation = await world.engine.reconciliation.explainUser(world.tenantId, userId);
  const history = new Set(explanation.history.map((row) => `${row.runId} ${row.seq}`));
  const given = new Map(explanation.grants.map((grant) => [`${grant.role} ${grant.source}`, grant]));
  for (const row of rows) {
    const what = `explain ${row.subject}: ${row.op}`;
    if (explanation.history.length < 50)
      expect(history.has(`${row.runId} ${row.seq}`), `${what} is in the history`).toBe(true);
    if (row.op !== 'grant' || row.state !== 'applied') continue;
    const grant = given.get(`${row.role} ${row.grantSource}`);
    if (grant === undefined) continue;
    expect(grant.because, `${what} says which rule gave it`).toMatch(/: (group .+|everyone|.+)$/);
    expect(grant.runId, `${what} names the run`).not.toBeNull();
  }
  for (const link of explanation.links) {
    expect(link.connectionVersion, `explain ${link.anchor} names the version of the rules`).toBeGreaterThan(0);
  }
}

async function isThere(world: World, userId: UserId): Promise<boolean> {
  const rows = await world.db.tenant(
    world.tenantId,
    ({ sql, tenantId }) => sql`select 1 from users where tenant_id = ${tenantId} and id = ${userId}`,
  );
  return rows.length > 0;
}
