/**
 * access/token-reminders: a token that is about to expire is told of 60, 30 and 7 days before, once each, through the
 * outbox: an identity provider whose token ended goes on without anybody noticing that nobody is provisioned any more.
 */
import type { ConnectionId, TenantId } from '../core/ids.ts';
import { toIso, toIsoOrNull } from '../core/instant.ts';
import type { Db, TenantTx } from '../db/db.ts';
import { enqueueEach } from '../outbox/outbox.ts';

export const reminderDays = [60, 30, 7] as const;

/** The reminder that is due with so many days left; null where none is yet. A new token begins with this one. */
export function reminderAt(daysLeft: number): number | null {
  return reminderDays.findLast((days) => daysLeft <= days) ?? null;
}

export function daysUntil(expiresAt: string, now: Date): number {
  return (Date.parse(expiresAt) - now.getTime()) / 86_400_000;
}

/** Answers how many were told of. Safe to call at any time and from any number of processes. */
export async function remindOfExpiry(db: Db): Promise<number> {
  const tenantIds = await db.engine(async ({ sql }) => {
    const rows = await sql<{ tenantId: TenantId }[]>`
      select distinct t.tenant_id as "tenantId" from tokens t, unnest(${[...reminderDays]}::int[]) as d(days)
      where t.revoked_at is null and t.key_id is null and t.expires_at > now()
        and t.expires_at <= now() + make_interval(days => d.days) and (t.reminded_days is null or t.reminded_days > d.days)`;
    return rows.map(({ tenantId }) => tenantId);
  });
  let count = 0;
  for (const tenantId of tenantIds) count += await db.tenant(tenantId, remindTenant);
  return count;
}

/** One statement marks and tells: what another process marked first is not told twice. */
async function remindTenant(tx: TenantTx): Promise<number> {
  const due = await tx.sql<
    {
      id: string;
      kind: string;
      name: string;
      connectionId: string | null;
      organizationId: string | null;
      expiresAt: string;
      days: number;
    }[]
  >`
    update tokens t set reminded_days = due.days
    from (
      select t.id, min(d.days) as days from tokens t, unnest(${[...reminderDays]}::int[]) as d(days)
      where t.tenant_id = ${tx.tenantId} and t.revoked_at is null and t.key_id is null and t.expires_at > now()
        and t.expires_at <= now() + make_interval(days => d.days)
      group by t.id
    ) as due
    where t.tenant_id = ${tx.tenantId} and t.id = due.id and (t.reminded_days is null or t.reminded_days > due.days)
    returning t.id, t.kind, t.name, t.connection_id as "connectionId", t.organization_id as "organizationId",
      t.expires_at as "expiresAt", due.days`;
  await enqueueEach(
    tx,
    'token.expiring',
    due.map(({ id, expiresAt, days, ...rest }) => ({
      tokenId: id,
      ...rest,
      expiresAt: toIso(expiresAt),
      withinDays: days,
    })),
  );
  return due.length;
}

/** Until when somebody can push over a connection. */
export type TokenStanding = {
  readonly connectionId: ConnectionId;
  /** Of the token that ends next or, where none works, ended last; null where the connection has no token. */
  readonly tokenId: string | null;
  readonly name: string | null;
  /** Null where no end is set, or there is no token. */
  readonly expiresAt: string | null;
  /** Whether any token works now. */
  readonly works: boolean;
};

/** Of each SCIM connection of the tenant. What was rotated out ends on purpose and counts only while nothing else does. */
export async function readTokenStandings({ sql, tenantId }: TenantTx): Promise<TokenStanding[]> {
  const rows = await sql<TokenStanding[]>`
    select distinct on (c.id) c.id as "connectionId", t.id as "tokenId", t.name, t.expires_at as "expiresAt",
      coalesce(t.expires_at > now(), t.id is not null) as works
    from connections c
    left join tokens t on t.tenant_id = c.tenant_id and t.connection_id = c.id and t.revoked_at is null and t.key_id is null
    where c.tenant_id = ${tenantId} and c.kind = 'scim'
    order by c.id, coalesce(t.expires_at <= now(), false), coalesce(t.reminded_days = 0, false),
      case when t.expires_at > now() then t.expires_at end nulls last, t.expires_at desc nulls last, t.id`;
  return rows.map((row) => ({ ...row, expiresAt: toIsoOrNull(row.expiresAt) }));
}
