/** outbox/relay: takes what has committed, sends it, records the answer. */
import { Webhook } from 'standardwebhooks';
import { describeError } from '../core/errors.ts';
import type { Db } from '../db/db.ts';
import type { Clock } from '../platform/clock.ts';
import type { Logger } from '../platform/logger.ts';
import type { SecretBox } from '../platform/secrets.ts';
import type { WebhookSend } from './send.ts';
import {
  claimMessages,
  deleteDelivered,
  markDelivered,
  markFailed,
  releaseClaim,
  selectTargets,
  type DueMessage,
  type Target,
} from './store.ts';

const batchSize = 32;
const sendsAtOnce = 8;
const sendTimeoutMs = 10_000;
/** Longer than a whole batch can take (32 messages, 8 at once, 10 s each), so that a live relay's claim never lapses. */
const leaseSeconds = 120;
const maxPasses = 1000;
const retentionDays = 7;

export type RelayDeps = {
  readonly db: Db;
  readonly secretBox: SecretBox;
  readonly clock: Clock;
  readonly logger: Pick<Logger, 'warn'>;
  readonly send: WebhookSend;
};

export type DeliveryCounts = { readonly delivered: number; readonly failed: number };

export type Relay = {
  /** Sends every due message; returns when none is due or the signal aborts (what was in flight is given back). */
  deliverDue(options: { readonly signal: AbortSignal }): Promise<DeliveryCounts>;
  /** Deletes messages delivered more than 7 days ago; answers how many. */
  purgeDelivered(): Promise<number>;
};

/** 5 s, 10 s, 20 s ... at most an hour, spread by up to a fifth so that retries of an outage do not come as one wave. */
export function retryDelaySeconds(attempts: number, random: number): number {
  const base = Math.min(3600, 5 * 2 ** Math.min(attempts - 1, 20));
  return base * (0.9 + random * 0.2);
}

export function createRelay(deps: RelayDeps): Relay {
  return {
    deliverDue: (options) => deliverDue(deps, options.signal),
    purgeDelivered: () => purgeDelivered(deps.db),
  };
}

async function deliverDue(deps: RelayDeps, signal: AbortSignal): Promise<DeliveryCounts> {
  let delivered = 0;
  let failed = 0;
  for (let pass = 0; pass < maxPasses && !signal.aborted; pass += 1) {
    const { messages, targets } = await claimBatch(deps.db);
    if (messages.length === 0) break;
    const queue = [...messages];
    const work = async () => {
      for (let message = queue.shift(); message !== undefined; message = queue.shift()) {
        const isDone = await deliver(deps, message, targets, signal);
        if (isDone) delivered += 1;
        else failed += 1;
      }
    };
    await Promise.all(Array.from({ length: sendsAtOnce }, work));
  }
  return { delivered, failed };
}

async function claimBatch(db: Db): Promise<{ messages: DueMessage[]; targets: Target[] }> {
  return db.engine(async (tx) => {
    const messages = await claimMessages(tx, batchSize, leaseSeconds);
    const tenantIds = [...new Set(messages.map((message) => message.tenantId))];
    return { messages, targets: tenantIds.length === 0 ? [] : await selectTargets(tx, tenantIds) };
  });
}

/** True once every webhook that wants the message has taken it. */
async function deliver(
  deps: RelayDeps,
  message: DueMessage,
  targets: readonly Target[],
  signal: AbortSignal,
): Promise<boolean> {
  const open = targets.filter((target) => isWanted(message, target));
  const outcomes = signal.aborted ? [] : await Promise.all(open.map((target) => sendTo(deps, message, target, signal)));
  const taken = open.filter((_, index) => outcomes[index]?.error === null).map((target) => target.id);
  const deliveredTo = [...message.deliveredTo, ...taken];
  if (taken.length === open.length) {
    await deps.db.engine((tx) => markDelivered(tx, message, deliveredTo));
    return true;
  }
  if (signal.aborted) {
    await deps.db.engine((tx) => releaseClaim(tx, message, deliveredTo));
    return false;
  }
  const error = outcomes
    .flatMap((outcome) => outcome.error ?? [])
    .join('; ')
    .slice(0, 1000);
  const retryInSeconds = retryDelaySeconds(message.attempts, Math.random());
  await deps.db.engine((tx) => markFailed(tx, message, { deliveredTo, error, retryInSeconds }));
  deps.logger.warn(
    { id: message.id, type: message.type, attempts: message.attempts, error },
    'webhook delivery failed',
  );
  return false;
}

function isWanted(message: DueMessage, target: Target): boolean {
  return (
    target.tenantId === message.tenantId &&
    !message.deliveredTo.includes(target.id) &&
    (target.eventTypes.length === 0 || target.eventTypes.includes(message.type))
  );
}

/** A failed send is a value: it is recorded on the message and tried again, and must not stop the other webhooks. */
async function sendTo(
  deps: RelayDeps,
  message: DueMessage,
  target: Target,
  signal: AbortSignal,
): Promise<{ readonly error: string | null }> {
  try {
    const secret = deps.secretBox.open(target.secret, webhookSecretPlace(target.tenantId, target.id));
    const messageId = `msg_${message.id}`;
    const at = deps.clock.now();
    const body = JSON.stringify({ type: message.type, timestamp: message.createdAt, data: message.payload });
    const answer = await deps.send({
      url: target.url,
      headers: {
        'content-type': 'application/json',
        'user-agent': 'Rollcall',
        'webhook-id': messageId,
        'webhook-timestamp': String(Math.floor(at.getTime() / 1000)),
        'webhook-signature': new Webhook(secret).sign(messageId, at, body),
      },
      body,
      signal: AbortSignal.any([signal, AbortSignal.timeout(sendTimeoutMs)]),
    });
    const isTaken = answer.status >= 200 && answer.status < 300;
    return { error: isTaken ? null : `webhook ${target.id}: HTTP ${answer.status}` };
  } catch (error) {
    return { error: `webhook ${target.id}: ${describeError(error)}` };
  }
}

export function webhookSecretPlace(tenantId: string, webhookId: string) {
  return { tenantId, table: 'webhooks', rowId: webhookId, column: 'secret' };
}

async function purgeDelivered(db: Db): Promise<number> {
  let total = 0;
  for (let pass = 0; pass < maxPasses; pass += 1) {
    const count = await db.engine((tx) => deleteDelivered(tx, retentionDays, 5000));
    total += count;
    if (count < 5000) break;
  }
  return total;
}
