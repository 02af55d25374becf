/**
 * The purge of one user at once, at the word of two operators of the host: the first asks and sees what would go, the
 * second does it. Only for whom no directory vouches any more: anybody else would be back with the next run.
 */
import { recordEvent } from '../../audit/audit.ts';
import { RollcallError } from '../../core/errors.ts';
import type { TenantId, UserId } from '../../core/ids.ts';
import type { UserStatus } from '../../core/vocabulary.ts';
import type { Db, TenantTx } from '../../db/db.ts';
import { purgeUsers } from './purge.ts';

/** A request is meant for the days in which it was made. */
const requestHours = 72;

export type ErasureRequest = {
  readonly tenantId: TenantId;
  readonly userId: UserId;
  readonly actor: string;
  readonly reason: string;
};

export type Erasure = {
  readonly userId: UserId;
  readonly name: string;
  /** False: it is asked for, and waits for a second operator. */
  readonly isDone: boolean;
  readonly requestedBy: string;
  /** What goes, or would go. */
  readonly rows: {
    readonly changes: number;
    readonly links: number;
    readonly roles: number;
    readonly exclusions: number;
  };
};

/** Throws not_found, forbidden, invalid_input, conflict, second_approver. */
export function eraseUser(db: Db, request: ErasureRequest): Promise<Erasure> {
  const { actor, reason, userId } = request;
  if (!actor.startsWith('operator:')) {
    throw new RollcallError('forbidden', 'Only operators of the host can erase a user.');
  }
  if (reason.trim() === '')
    throw new RollcallError('invalid_input', 'To erase a user takes a reason; the audit keeps it.');
  return db.tenant(request.tenantId, async (tx) => {
    const found = await lockErasable(tx, userId);
    const requestedBy = await findRequest(tx, userId, actor);
    const erasure = { userId, name: found.name, requestedBy: requestedBy ?? actor, rows: await countRows(tx, userId) };
    const isDone = requestedBy !== null;
    if (isDone) await purgeUsers(tx, [userId], ['suspended', 'removed']);
    await recordEvent(tx, {
      actor,
      action: isDone ? 'user.erased' : 'user.erasure_requested',
      target: `user:${userId}`,
      details: { reason, ...(isDone ? { requestedBy } : {}) },
    });
    return { ...erasure, isDone };
  });
}

type Found = { readonly name: string; readonly status: UserStatus; readonly obstacle: string | null };

async function lockErasable(tx: TenantTx, userId: UserId): Promise<{ readonly name: string }> {
  const [found] = await tx.sql<Found[]>`
    select coalesce(u.display_name, u.username, u.id::text) as name, u.status, case
        when exists (select 1 from super_admins s where s.tenant_id = u.tenant_id and s.user_id = u.id) then 'holds Super Admin; transfer it first'
        when u.is_protected then 'is protected'
        when u.status = 'active' then 'is active; suspend or remove them first'
        when exists (
          select 1 from links l
          where l.tenant_id = u.tenant_id and l.user_id = u.id and l.state in ('linked', 'missing', 'held'))
          then 'is in a directory still, or held by an undo, and would be back with the next run'
        when exists (
          select 1 from changes c where c.tenant_id = u.tenant_id and c.user_id = u.id and c.state in ('planned', 'held'))
          then 'is in a plan that waits; approve or discard it first'
      end as obstacle
    from users u where u.tenant_id = ${tx.tenantId} and u.id = ${userId} for update of u`;
  if (found === undefined) throw new RollcallError('not_found', `There is no user ${userId} in this tenant.`);
  if (found.obstacle === null) return found;
  throw new RollcallError('conflict', `${found.name} can not be erased: ${found.name} ${found.obstacle}.`);
}

/** The other operator who asked for it; null: nobody has. */
async function findRequest(tx: TenantTx, userId: UserId, actor: string): Promise<string | null> {
  const asked = await tx.sql<{ actor: string }[]>`
    select actor from audit_events
    where tenant_id = ${tx.tenantId} and target = ${`user:${userId}`} and action = 'user.erasure_requested'
      and at > now() - make_interval(hours => ${requestHours})
    order by at desc limit 50`;
  const other = asked.find((one) => one.actor !== actor);
  if (other !== undefined || asked.length === 0) return other?.actor ?? null;
  throw new RollcallError('second_approver', 'You have asked for this already: another operator must do it.', {
    remedy: `Let another operator of the host repeat the command within ${requestHours} hours.`,
  });
}

async function countRows(tx: TenantTx, userId: UserId): Promise<Erasure['rows']> {
  const [rows] = await tx.sql<Erasure['rows'][]>`
    select (select count(*)::int from changes c where c.tenant_id = ${tx.tenantId} and c.user_id = ${userId}) as changes,
      (select count(*)::int from links l where l.tenant_id = ${tx.tenantId} and l.user_id = ${userId}) as links,
      (select count(*)::int from grants g where g.tenant_id = ${tx.tenantId} and g.user_id = ${userId}) as roles,
      (select count(*)::int from exclusions x where x.tenant_id = ${tx.tenantId} and x.user_id = ${userId}) as exclusions`;
  if (rows === undefined) throw new Error('A select without from gives one row.');
  return rows;
}
