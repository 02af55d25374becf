/** outbox/store: the SQL of messages. Claims are leases: no transaction stays open while HTTP is spoken. */
import { and, eq, inArray } from 'drizzle-orm';
import { toIso } from '../core/instant.ts';
import type { EngineTx, TenantTx } from '../db/db.ts';
import { webhooks } from '../db/schema/outbox.ts';

export type DueMessage = {
  readonly id: string;
  readonly tenantId: string;
  readonly type: string;
  readonly payload: Readonly<Record<string, unknown>>;
  readonly createdAt: string;
  /** Raised by each claim; what was sent is recorded only while it still stands (a fence against a late relay). */
  readonly attempts: number;
  readonly deliveredTo: readonly string[];
};

export type Target = {
  readonly tenantId: string;
  readonly id: string;
  readonly url: string;
  readonly secret: unknown;
  readonly eventTypes: readonly string[];
};

export async function insertMessage(
  tx: TenantTx,
  type: string,
  payload: Readonly<Record<string, unknown>>,
): Promise<void> {
  await tx.sql`
    insert into outbox_messages (tenant_id, type, payload)
    values (${tx.tenantId}, ${type}, ${JSON.stringify(payload)}::jsonb)`;
}

/** Only when a webhook of the tenant wants this type: nobody has to carry away what nobody asked for. */
export async function insertMessagesIfWanted(
  tx: TenantTx,
  type: string,
  payloads: readonly Readonly<Record<string, unknown>>[],
): Promise<void> {
  await tx.sql`
    insert into outbox_messages (tenant_id, type, payload)
    select ${tx.tenantId}::uuid, ${type}::text, payload from jsonb_array_elements(${JSON.stringify(payloads)}::jsonb) as p(payload)
    where exists (
      select 1 from webhooks w
      where w.tenant_id = ${tx.tenantId} and w.is_enabled and (w.event_types = '[]'::jsonb or w.event_types ? ${type}::text))`;
}

/** Takes up to `limit` due messages for `leaseSeconds`; two relays never take the same one. */
/** One statement for any number of messages of one type. */
export async function insertMessages(
  tx: TenantTx,
  type: string,
  payloads: readonly Readonly<Record<string, unknown>>[],
): Promise<void> {
  await tx.sql`
    insert into outbox_messages (tenant_id, type, payload)
    select ${tx.tenantId}::uuid, ${type}::text, payload from jsonb_array_elements(${JSON.stringify(payloads)}::jsonb) as p(payload)`;
}

export async function claimMessages(tx: EngineTx, limit: number, leaseSeconds: number): Promise<DueMessage[]> {
  const rows = await tx.sql<DueMessage[]>`
    update outbox_messages m
    set attempts = m.attempts + 1, available_at = now() + make_interval(secs => ${leaseSeconds})
    from (
      select id from outbox_messages
      where delivered_at is null and available_at <= now()
      order by available_at, id limit ${limit}
      for update skip locked
    ) due
    where m.id = due.id
    returning m.id::text as id, m.tenant_id as "tenantId", m.type, m.payload, m.created_at::text as "createdAt",
      m.attempts, m.delivered_to as "deliveredTo"`;
  return rows.map((row) => ({ ...row, createdAt: toIso(row.createdAt) }));
}

export async function selectTargets(tx: EngineTx, tenantIds: readonly string[]): Promise<Target[]> {
  return tx.query
    .select({
      tenantId: webhooks.tenantId,
      id: webhooks.id,
      url: webhooks.url,
      secret: webhooks.secret,
      eventTypes: webhooks.eventTypes,
    })
    .from(webhooks)
    .where(and(inArray(webhooks.tenantId, [...tenantIds]), eq(webhooks.isEnabled, true)));
}

export async function markDelivered(tx: EngineTx, message: DueMessage, deliveredTo: readonly string[]): Promise<void> {
  await tx.sql`
    update outbox_messages
    set delivered_at = now(), last_error = null, delivered_to = ${JSON.stringify(deliveredTo)}::jsonb
    where id = ${message.id} and attempts = ${message.attempts} and delivered_at is null`;
}

export async function markFailed(
  tx: EngineTx,
  message: DueMessage,
  outcome: { readonly deliveredTo: readonly string[]; readonly error: string; readonly retryInSeconds: number },
): Promise<void> {
  await tx.sql`
    update outbox_messages
    set last_error = ${outcome.error}, delivered_to = ${JSON.stringify(outcome.deliveredTo)}::jsonb,
      available_at = now() + make_interval(secs => ${outcome.retryInSeconds})
    where id = ${message.id} and attempts = ${message.attempts} and delivered_at is null`;
}

/** Gives a claim back untried (shutting down): due at once for the next relay, and not counted as an attempt. */
export async function releaseClaim(tx: EngineTx, message: DueMessage, deliveredTo: readonly string[]): Promise<void> {
  await tx.sql`
    update outbox_messages
    set attempts = attempts - 1, available_at = now(), delivered_to = ${JSON.stringify(deliveredTo)}::jsonb
    where id = ${message.id} and attempts = ${message.attempts} and delivered_at is null`;
}

/** Deletes one batch of messages delivered longer ago than this; answers how many. */
export async function deleteDelivered(tx: EngineTx, olderThanDays: number, limit: number): Promise<number> {
  const result = await tx.sql`
    delete from outbox_messages where id in (
      select id from outbox_messages
      where delivered_at < now() - make_interval(days => ${olderThanDays})
      order by id limit ${limit}
    )`;
  return result.count;
}
