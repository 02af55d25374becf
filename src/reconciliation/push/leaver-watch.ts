/**
 * Leavers by push act at once, because each is an explicit word about one person; no guard stands before them. So
 * somebody looks at the sum: when what one connection's pushes took within an hour exceeds the limits that a run would
 * be held for, a critical alert says so and names the undo (scim.md rule 16). Once an hour per connection.
 */
import { recordEvent } from '../../audit/audit.ts';
import { evaluateGuards } from '../../core/guard.ts';
import type { ConnectionId, RunId, TenantId, UserId } from '../../core/ids.ts';
import { toIsoOrNull } from '../../core/instant.ts';
import { policySchema, type GuardLimits } from '../../core/policy.ts';
import type { Db, TenantTx } from '../../db/db.ts';
import { enqueue } from '../../outbox/outbox.ts';

const alertAction = 'connection.many_leavers';
/** The latest so many rows of a class are looked at; more leavers than that in an hour are an alert all the same. */
const mostRows = 20_000;

type Pushed = { readonly tenantId: TenantId; readonly connectionId: ConnectionId; readonly runIds: readonly RunId[] };

/** Answers how many connections were told of. Safe to call at any time and from any number of processes. */
export async function watchPushedLeavers(db: Db): Promise<number> {
  // an hour may begin on the day before
  const pushed = await db.engine(
    ({ sql }) => sql<Pushed[]>`
      select tenant_id as "tenantId", connection_id as "connectionId", array_agg(id) as "runIds" from runs
      where kind = 'push' and created_at > now() - interval '25 hours' group by 1, 2`,
  );
  let count = 0;
  for (const one of pushed) if (await db.tenant(one.tenantId, (tx) => watchConnection(tx, one))) count += 1;
  return count;
}

type Left = { readonly users: readonly UserId[]; readonly since: string | null };

async function watchConnection(tx: TenantTx, { connectionId, runIds }: Pushed): Promise<boolean> {
  const { users, since } = await findLeavers(tx, runIds);
  if (since === null) return false;
  const leavers = users.length;
  const [connection] = await tx.sql<{ name: string; policy: unknown }[]>`
    select name, policy from connections where tenant_id = ${tx.tenantId} and id = ${connectionId} for update`;
  if (connection === undefined) return false;
  const limits = policySchema.parse(connection.policy).guards;
  // what it is a share of is counted only where the number alone would be too many
  if (breachOf(leavers, 0, limits) === undefined) return false;
  const linked = await countLinked(tx, connectionId, users);
  const breach = breachOf(leavers, linked, limits);
  if (breach === undefined || (await wasTold(tx, connectionId))) return false;
  const facts = { connectionId, connection: connection.name, leavers, linked, since };
  await recordEvent(tx, { actor: 'system', action: alertAction, target: `connection:${connectionId}`, details: facts });
  await enqueue(tx, alertAction, {
    ...facts,
    severity: 'critical',
    message: `Pushes took ${leavers} of ${linked} users within an hour.`,
    undo: `rollcall runs undo --connection ${connectionId} --since ${since}`,
  });
  return true;
}

function breachOf(leavers: number, liveLinks: number, limits: GuardLimits) {
  const none = { joiners: 0, revokes: 0, privilegedGrants: 0, keyChanges: 0, emailChanges: 0, groupLosses: [] };
  const counts = { ...none, isFirstRun: false, liveLinks, liveGrants: 0, leavers };
  return evaluateGuards(counts, limits).find(({ guard }) => guard === 'leavers');
}

/** Seqs of pushes grow with time, so the latest rows of the classes that take something are read, and no others. */
async function findLeavers({ sql, tenantId }: TenantTx, runIds: readonly RunId[]): Promise<Left> {
  const [row] = await sql<Left[]>`
    select coalesce(array_agg(distinct l.user_id), '{}') as users, min(l.applied_at) as since
    from unnest(${[...runIds]}::uuid[]) as r(id)
    cross join unnest(array['link', 'revoke', 'suspend', 'remove']) as k(class)
    cross join lateral (
      select c.user_id, c.kind, c.state, c.applied_at from changes c
      where c.tenant_id = ${tenantId} and c.run_id = r.id and c.class = k.class
      order by c.seq desc limit ${mostRows}) as l
    where l.kind = 'leaver' and l.user_id is not null and l.state = 'applied' and l.applied_at > now() - interval '1 hour'`;
  return { users: row?.users ?? [], since: toIsoOrNull(row?.since ?? null) };
}

/** Who is linked, and who was before they left: a suspended user keeps the link, a deleted one does not. */
async function countLinked(
  { sql, tenantId }: TenantTx,
  connectionId: ConnectionId,
  users: readonly UserId[],
): Promise<number> {
  const [row] = await sql<{ count: number }[]>`
    select count(*)::int as count from links
    where tenant_id = ${tenantId} and connection_id = ${connectionId} 
      and (state in ('linked', 'missing', 'held') or user_id = any(${[...users]}::uuid[]))`;
  return row?.count ?? 0;
}

async function wasTold({ sql, tenantId }: TenantTx, connectionId: ConnectionId): Promise<boolean> {
  const rows = await sql`
    select 1 from audit_events
    where tenant_id = ${tenantId} and at > now() - interval '1 hour' and action = ${alertAction}
      and target = ${`connection:${connectionId}`} limit 1`;
  return rows.length > 0;
}
