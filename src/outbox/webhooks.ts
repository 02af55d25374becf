/** outbox/webhooks: where a tenant wants its messages. The signing secret is shown once and rests in an envelope. */
import { and, asc, eq, gt } from 'drizzle-orm';
import { randomBytes } from 'node:crypto';
import { z } from 'zod';
import { recordEvent } from '../audit/audit.ts';
import { RollcallError } from '../core/errors.ts';
import { newId, type TenantId } from '../core/ids.ts';
import { toIso } from '../core/instant.ts';
import { notFound, requireId } from '../core/require-id.ts';
import type { Db } from '../db/db.ts';
import { webhooks } from '../db/schema/outbox.ts';
import { cutPage, decodeCursor, type Page, type PageRequest } from '../platform/page.ts';
import type { SecretBox } from '../platform/secrets.ts';
import { webhookSecretPlace } from './relay.ts';

export type WebhookView = {
  readonly id: string;
  readonly url: string;
  readonly eventTypes: string[];
  readonly isEnabled: boolean;
  readonly createdBy: string;
  readonly createdAt: string;
};

export type NewWebhook = { readonly url: string; readonly eventTypes?: readonly string[] | undefined };

type By = { readonly actor: string; readonly tenantId: TenantId };

export type Webhooks = {
  /** The secret (`whsec_...`) is in this answer and nowhere else. */
  create(by: By, input: NewWebhook): Promise<WebhookView & { readonly secret: string }>;
  list(tenantId: TenantId, page: PageRequest): Promise<Page<WebhookView>>;
  setEnabled(by: By, webhookId: string, isEnabled: boolean): Promise<WebhookView>;
  remove(by: By, webhookId: string): Promise<void>;
};

export function createWebhooks({ db, secretBox }: { readonly db: Db; readonly secretBox: SecretBox }): Webhooks {
  return {
    create: (by, input) => createWebhook(db, secretBox, by, input),
    list: (tenantId, page) => listWebhooks(db, tenantId, page),
    setEnabled: (by, webhookId, isEnabled) => setEnabled(db, by, webhookId, isEnabled),
    remove: (by, webhookId) => removeWebhook(db, by, webhookId),
  };
}

function checkUrl(text: string): string {
  const url = URL.canParse(text) ? new URL(text) : null;
  if (url?.protocol === 'https:' && url.username === '' && url.password === '') return url.href;
  throw new RollcallError('invalid_input', 'A webhook address must be an https URL without a user name or password.', {
    remedy: 'Write it as https://host/path. The receiver knows us by the signature.',
    details: { path: 'url' },
  });
}

async function createWebhook(db: Db, secretBox: SecretBox, by: By, input: NewWebhook) {
  const url = checkUrl(input.url);
  const id = newId();
  // 24 to 64 random bytes behind the prefix: Standard Webhooks, "Signature scheme"
  const secret = `whsec_${randomBytes(32).toString('base64')}`;
  return db.tenant(by.tenantId, async (tx) => {
    const [row] = await tx.query
      .insert(webhooks)
      .values({
        tenantId: by.tenantId,
        id,
        url,
        secret: secretBox.seal(secret, webhookSecretPlace(by.tenantId, id)),
        eventTypes: [...(input.eventTypes ?? [])],
        createdBy: by.actor,
      })
      .returning();
    if (row === undefined) throw new RollcallError('internal', 'The webhook was not stored.');
    await recordEvent(tx, { actor: by.actor, action: 'webhook.created', target: `webhook:${id}`, details: { url } });
    return { ...toView(row), secret };
  });
}

async function listWebhooks(db: Db, tenantId: TenantId, page: PageRequest): Promise<Page<WebhookView>> {
  const after = decodeCursor(page.cursor, z.tuple([z.uuid()]));
  const rows = await db.tenant(tenantId, async (tx) =>
    tx.query
      .select()
      .from(webhooks)
      .where(and(eq(webhooks.tenantId, tenantId), after === null ? undefined : gt(webhooks.id, after[0])))
      .orderBy(asc(webhooks.id))
      .limit(page.limit + 1),
  );
  return cutPage(rows, page.limit, (row) => [row.id], toView);
}

async function setEnabled(db: Db, by: By, webhookId: string, isEnabled: boolean): Promise<WebhookView> {
  const id = requireId(webhookId, 'webhook');
  return db.tenant(by.tenantId, async (tx) => {
    const [row] = await tx.query
      .update(webhooks)
      .set({ isEnabled })
      .where(and(eq(webhooks.tenantId, by.tenantId), eq(webhooks.id, id)))
      .returning();
    if (row === undefined) throw notFound('webhook');
    const action = isEnabled ? 'webhook.enabled' : 'webhook.disabled';
    await recordEvent(tx, { actor: by.actor, action, target: `webhook:${id}` });
    return toView(row);
  });
}

async function removeWebhook(db: Db, by: By, webhookId: string): Promise<void> {
  const id = requireId(webhookId, 'webhook');
  await db.tenant(by.tenantId, async (tx) => {
    const removed = await tx.query
      .delete(webhooks)
      .where(and(eq(webhooks.tenantId, by.tenantId), eq(webhooks.id, id)))
      .returning({ url: webhooks.url });
    const [row] = removed;
    if (row === undefined) throw notFound('webhook');
    await recordEvent(tx, { actor: by.actor, action: 'webhook.removed', target: `webhook:${id}`, details: row });
  });
}

function toView(row: typeof webhooks.$inferSelect): WebhookView {
  return {
    id: row.id,
    url: row.url,
    eventTypes: row.eventTypes,
    isEnabled: row.isEnabled,
    createdBy: row.createdBy,
    createdAt: toIso(row.createdAt),
  };
}
