/**
 * outbox/: messages that leave exactly when the transaction that wrote them commits.
 *
 * `enqueue` writes a row in the caller's transaction; the relay sends what has committed to the tenant's enabled
 * webhooks, signed by Standard Webhooks (https://github.com/standard-webhooks/standard-webhooks). Delivery is at
 * least once with a stable `webhook-id`: a relay that dies between the receiver's answer and its own record sends
 * again, and the receiver tells by the id. A message is tried until it is taken or its webhook is disabled or removed.
 */
import type { TenantTx } from '../db/db.ts';
import { createRelay, type Relay, type RelayDeps } from './relay.ts';
import { insertMessage, insertMessages, insertMessagesIfWanted } from './store.ts';
import { createWebhooks, type Webhooks } from './webhooks.ts';

export type { WebhookRequest, WebhookSend } from './send.ts';
export { createHttpsSend } from './send.ts';
export type { WebhookView, NewWebhook } from './webhooks.ts';

/** Writes one message in the caller's transaction: gone with a rollback, sent after a commit. No secrets in `payload`. */
export async function enqueue(tx: TenantTx, type: string, payload: Readonly<Record<string, unknown>>): Promise<void> {
  await insertMessage(tx, type, payload);
}

/** Several, in one statement, but nothing is written unless a webhook of the tenant wants this type now: for what happens often. */
export async function enqueueIfWanted(
  tx: TenantTx,
  type: string,
  payloads: readonly Readonly<Record<string, unknown>>[],
): Promise<void> {
  await insertMessagesIfWanted(tx, type, payloads);
}

/** The same for many messages of one type, in one statement. */
export async function enqueueEach(
  tx: TenantTx,
  type: string,
  payloads: readonly Readonly<Record<string, unknown>>[],
): Promise<void> {
  if (payloads.length > 0) await insertMessages(tx, type, payloads);
}

export type Outbox = Relay & { readonly webhooks: Webhooks };

export function createOutbox(deps: RelayDeps): Outbox {
  return { ...createRelay(deps), webhooks: createWebhooks(deps) };
}
