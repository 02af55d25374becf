/**
 * A credential that is about to end is told of 60, 30 and 7 days before, once each, through the outbox: a connection
 * whose secret ended stops from one run to the next. Each connection is asked once a day, and anew after a change.
 */
import { z } from 'zod';
import type { CredentialEnd } from '../../connectors/contract/contract.ts';
import { describeError } from '../../core/errors.ts';
import type { ConnectionId, TenantId } from '../../core/ids.ts';
import type { TenantTx } from '../../db/db.ts';
import { enqueue } from '../../outbox/outbox.ts';
import type { Logger } from '../../platform/logger.ts';
import { mustFind, openSecrets, type ConnectionsDeps } from './connections.ts';
import type { ConnectionRow } from './connections-store.ts';

export type CredentialRemindersDeps = Pick<ConnectionsDeps, 'db' | 'connectors' | 'secretBox' | 'now'> & {
  readonly log: Logger;
};

export const reminderDays = [60, 30, 7] as const;
const dayMs = 86_400_000;
/** Each asks a directory: so many at most in one round, one after the other. */
const mostPerRound = 50;
const longestMs = 60_000;

type Place = { readonly tenantId: TenantId; readonly id: ConnectionId };

/** What the connection keeps of it. */
const kept = z.object({
  endsAt: z.string().nullable(),
  source: z.string(),
  version: z.int(),
  remindedDays: z.int().nullable(),
});
type Kept = z.output<typeof kept>;

/** Answers how many were told of. Safe to call at any time and from any number of processes. */
export async function remindOfCredentials(deps: CredentialRemindersDeps, signal: AbortSignal): Promise<number> {
  let count = 0;
  for (const place of await claimDue(deps)) {
    signal.throwIfAborted();
    const row = await deps.db.tenant(place.tenantId, (tx) => mustFind(tx, place.id));
    const end = await askFor(deps, row, signal);
    if (end === null) continue;
    const isTold = await deps.db.tenant(place.tenantId, (tx) => keepAndTell(tx, row, end, deps.now()));
    if (isTold) count += 1;
  }
  return count;
}

/** Marked as asked at once: another process takes others, and a directory that does not answer has time until tomorrow. */
async function claimDue({ db, connectors, now }: CredentialRemindersDeps): Promise<readonly Place[]> {
  const kinds = [...connectors].filter(([, one]) => one.credentialEnds !== undefined).map(([kind]) => kind);
  const at = now();
  return db.engine(
    ({ sql }) => sql<Place[]>`
      update connections c set credential_checked_at = ${at.toISOString()}
      where c.id in (
        select id from connections
        where kind = any(${kinds}) and status in ('active', 'quarantined')
          and (credential_checked_at is null or credential_checked_at <= ${new Date(at.getTime() - dayMs).toISOString()}
            or (credential is not null and (credential->>'version')::int <> version))
        order by credential_checked_at nulls first limit ${mostPerRound} for update skip locked)
      returning c.tenant_id as "tenantId", c.id`,
  );
}

/** The first to end; null when there is none, or the directory did not say. */
async function askFor(
  deps: CredentialRemindersDeps,
  row: ConnectionRow,
  signal: AbortSignal,
): Promise<CredentialEnd | null> {
  const connector = [...deps.connectors.values()].find((one) => one.kind === row.kind);
  if (connector?.credentialEnds === undefined) return null;
  try {
    const ends = await connector.credentialEnds({
      settings: connector.settingsSchema.parse(row.settings),
      secrets: openSecrets(deps, connector, row),
      attributes: [],
      tenantId: row.tenantId,
      signal: AbortSignal.any([signal, AbortSignal.timeout(longestMs)]),
    });
    const [first] = ends.toSorted((a, b) => timeOf(a) - timeOf(b));
    return first ?? null;
  } catch (error) {
    signal.throwIfAborted();
    // a run meets the same fault and tells of it; the reminder is only late
    deps.log.warn({ connectionId: row.id, reason: describeError(error) }, 'when the credential ends is not known');
    return null;
  }
}

const timeOf = ({ endsAt }: CredentialEnd): number => (endsAt === null ? Number.POSITIVE_INFINITY : Date.parse(endsAt));

/** The reminder that is due with so many days left; null while none is. */
export function reminderAt(daysLeft: number): number | null {
  return reminderDays.findLast((days) => daysLeft <= days) ?? null;
}

async function keepAndTell(tx: TenantTx, row: ConnectionRow, end: CredentialEnd, now: Date): Promise<boolean> {
  const before = await lockKept(tx, row.id);
  const { credential, endsAt, source } = end;
  const due = endsAt === null ? null : reminderAt((Date.parse(endsAt) - now.getTime()) / dayMs);
  const reminded = before !== null && before.endsAt === endsAt ? before.remindedDays : null;
  const isDue = due !== null && (reminded === null || reminded > due);
  const keep: Kept & { readonly credential: string } = {
    credential,
    endsAt,
    source,
    version: row.version,
    remindedDays: isDue ? due : reminded,
  };
  await tx.sql`
    update connections set credential = ${JSON.stringify(keep)}::jsonb
    where tenant_id = ${tx.tenantId} and id = ${row.id}`;
  if (isDue) {
    const facts = { connectionId: row.id, connection: row.name, credential, endsAt, source, withinDays: due };
    await enqueue(tx, 'connection.credential_ending', facts);
  }
  return isDue;
}

async function lockKept(tx: TenantTx, id: string): Promise<Kept | null> {
  const [found] = await tx.sql<{ credential: unknown }[]>`
    select credential from connections where tenant_id = ${tx.tenantId} and id = ${id} for update`;
  const parsed = kept.safeParse(found?.credential);
  return parsed.success ? parsed.data : null;
}
