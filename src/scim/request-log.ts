/**
 * The request log of each connection: what the identity provider sent, what it was answered and why. Entries wait in
 * memory and are written in batches of one statement, so that no request waits for its own entry; what is not written
 * when the process is killed is lost, the change rows are not.
 *
 * Bounded: so many answers of success a second and connection, so many errors, so many entries waiting. What exceeds
 * that is counted, and the count is an entry.
 */
import type { ConnectionId, TenantId } from '../core/ids.ts';
import type { Db } from '../db/db.ts';
import type { Clock } from '../platform/clock.ts';
import type { Logger } from '../platform/logger.ts';
import type { JsonObject } from './json.ts';
import { createAdmission, type LoggedCaller } from './request-admission.ts';

export type RequestEntry = {
  readonly id: string;
  readonly tenantId: TenantId;
  readonly connectionId: ConnectionId;
  /** ISO 8601. */
  readonly at: string;
  readonly tokenId: string | null;
  readonly method: string;
  readonly path: string;
  readonly status: number;
  readonly scimType: string | null;
  readonly reason: string | null;
  readonly durationMs: number;
  readonly clientAddress: string | null;
  readonly userAgent: string | null;
  /** Redacted already. */
  readonly body: JsonObject | null;
  readonly bodyBytes: number;
};

export type RequestLog = {
  /** Whether an entry with this status would be taken now; asked first, so that nothing is redacted for nothing. */
  admits(caller: LoggedCaller, status: number): boolean;
  add(entry: RequestEntry): void;
  /** Writes what waits; for tests and for closing. */
  flush(): Promise<void>;
  close(): Promise<void>;
};

export type RequestLogOptions = {
  readonly db: Db;
  readonly clock: Pick<Clock, 'now'>;
  readonly log: Pick<Logger, 'warn'>;
  readonly everyMs?: number;
};

const maxWaiting = 20_000;
const batchSize = 1_000;

export function createRequestLog({ db, clock, log, everyMs = 1_000 }: RequestLogOptions): RequestLog {
  const waiting: RequestEntry[] = [];
  const admission = createAdmission(clock);
  let lost = 0;
  let flushing: Promise<void> | null = null;

  const writeAll = async (): Promise<void> => {
    waiting.push(...admission.takeSummaries());
    while (waiting.length > 0) {
      const batch = waiting.slice(0, batchSize);
      await insertEntries(db, batch);
      waiting.splice(0, batch.length);
    }
    if (lost > 0)
      log.warn({ count: lost }, 'entries of the SCIM request log were lost: the database was away too long');
    lost = 0;
  };
  const flush = async (): Promise<void> => {
    // one at a time: who comes meanwhile waits for this one and then writes the rest
    while (flushing !== null) await flushing;
    flushing = writeAll().finally(() => {
      flushing = null;
    });
    await flushing;
  };
  const timer = setInterval(() => {
    if (flushing !== null || (waiting.length === 0 && !admission.hasSummaries())) return;
    flush().catch((error: unknown) => {
      log.warn({ err: error, count: waiting.length }, 'the SCIM request log could not be written; it is tried again');
    });
  }, everyMs);
  timer.unref();

  return {
    admits: (caller, status) => admission.admits(caller, status),
    add(entry) {
      if (waiting.length < maxWaiting) waiting.push(entry);
      else lost += 1;
    },
    flush,
    close: async () => {
      clearInterval(timer);
      try {
        await flush();
      } catch (error) {
        log.warn({ err: error, count: waiting.length }, 'the end of the SCIM request log was not written');
      }
    },
  };
}

/** One statement, whoever the tenants are: the engine's, which may write this table and read nothing of it back. */
async function insertEntries(db: Db, entries: readonly RequestEntry[]): Promise<void> {
  await db.engine(
    ({ sql }) => sql`
      insert into scim_requests (tenant_id, id, connection_id, at, token_id, method, path, status, scim_type, reason, duration_ms,
        client_address, user_agent, body, body_bytes)
      select e."tenantId", e.id, e."connectionId", e.at, e."tokenId", e.method, e.path, e.status, e."scimType", e.reason,
        e."durationMs", e."clientAddress", e."userAgent", e.body, e."bodyBytes"
      from jsonb_to_recordset(${JSON.stringify(entries)}::jsonb) as e("tenantId" uuid, id uuid, "connectionId" uuid,
        at timestamptz, "tokenId" text, method text, path text, status int, "scimType" text, reason text, "durationMs" int,
        "clientAddress" text, "userAgent" text, body jsonb, "bodyBytes" int)
      on conflict do nothing`,
  );
}

/** One batch of what is older; answers how many. */
export async function deleteOldRequests(db: Db, olderThanDays: number, limit = 5_000): Promise<number> {
  const result = await db.engine(
    ({ sql }) => sql`
      delete from scim_requests where (tenant_id, id) in (
        select tenant_id, id from scim_requests where at < now() - make_interval(days => ${olderThanDays}) order by at
        limit ${limit})`,
  );
  return result.count;
}
