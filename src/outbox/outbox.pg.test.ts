import { Webhook } from 'standardwebhooks';
import { beforeAll, beforeEach, describe, expect, it, vi } from 'vitest';
import { createTenant, useDatabase, type TestTenant } from '../../test/setup/database.ts';
import { SecretBox } from '../platform/secrets.ts';
import { systemClock } from '../platform/clock.ts';
import { createOutbox, enqueue, type Outbox, type WebhookRequest } from './outbox.ts';
import { retryDelaySeconds } from './relay.ts';

const database = useDatabase();
const refused = (code: string) => expect.objectContaining({ code });
const secretBox = new SecretBox(Buffer.alloc(32, 3));

let tenant: TestTenant;
let sent: WebhookRequest[];
let answer: (request: WebhookRequest) => Promise<{ status: number }>;
let outbox: Outbox;

const newRelay = () =>
  createOutbox({
    db: database.db,
    secretBox,
    clock: systemClock,
    logger: { warn: () => undefined },
    send: async (request) => {
      sent.push(request);
      return answer(request);
    },
  });

beforeAll(() => {
  outbox = newRelay();
});

beforeEach(async () => {
  tenant = await createTenant(database.db);
  sent = [];
  answer = async () => ({ status: 204 });
  await database.db.engine(({ sql }) => sql`delete from outbox_messages`);
});

const byUrl = ([left]: readonly unknown[], [right]: readonly unknown[]) => String(left).localeCompare(String(right));
const by = () => ({ actor: 'operator:test', tenantId: tenant.tenantId });
const put = (type: string, payload: Record<string, unknown> = {}) =>
  database.db.tenant(tenant.tenantId, (tx) => enqueue(tx, type, payload));
const deliver = (relay = outbox) => relay.deliverDue({ signal: new AbortController().signal });
const messages = () =>
  database.db.engine(
    ({ sql }) => sql<{ attempts: number; isDelivered: boolean; lastError: string | null; waits: number }[]>`
      select attempts, delivered_at is not null as "isDelivered", last_error as "lastError",
        extract(epoch from available_at - now())::float8 as waits
      from outbox_messages order by id`,
  );
const makeDue = () => database.db.engine(({ sql }) => sql`update outbox_messages set available_at = now()`);

describe('a message', () => {
  it('does not exist after a rollback, and is not sent before the commit', async () => {
    await outbox.webhooks.create(by(), { url: 'https://hook.example/' });
    const rolledBack = database.db.tenant(tenant.tenantId, async (tx) => {
      await enqueue(tx, 'user.suspended', {});
      throw new Error('no');
    });
    await expect(rolledBack).rejects.toThrow('no');
    await database.db.tenant(tenant.tenantId, async (tx) => {
      await enqueue(tx, 'user.suspended', {});
      expect(await deliver()).toEqual({ delivered: 0, failed: 0 });
    });
    expect(await deliver()).toEqual({ delivered: 1, failed: 0 });
    expect(sent).toHaveLength(1);
  });

  it('is signed by Standard Webhooks with the secret that creation showed', async () => {
    const { secret } = await outbox.webhooks.create(by(), { url: 'https://hook.example/x' });
    await put('grant.added', { role: 'user' });
    await deliver();
    const [request] = sent;
    if (request === undefined) throw new Error('nothing was sent');
    const body = new Webhook(secret).verify(request.body, { ...request.headers });
    expect(body).toMatchObject({ type: 'grant.added', data: { role: 'user' } });
    expect(request.url).toBe('https://hook.example/x');
    const other = new Webhook(`whsec_${Buffer.alloc(32, 1).toString('base64')}`);
    expect(() => other.verify(request.body, { ...request.headers })).toThrow('No matching signature');
  });

  it('reaches only the webhooks of its tenant that are enabled and want its type', async () => {
    const other = await createTenant(database.db);
    await outbox.webhooks.create({ ...by(), tenantId: other.tenantId }, { url: 'https://other.example/' });
    await outbox.webhooks.create(by(), { url: 'https://all.example/' });
    await outbox.webhooks.create(by(), { url: 'https://picky.example/', eventTypes: ['run.applied'] });
    const off = await outbox.webhooks.create(by(), { url: 'https://off.example/' });
    await outbox.webhooks.setEnabled(by(), off.id, false);
    await put('user.created', { of: 'ours' });
    // in the same batch, so that the relay knows the webhooks of both
    await database.db.tenant(other.tenantId, (tx) => enqueue(tx, 'user.created', { of: 'theirs' }));
    await deliver();
    const dataOf = (body: string) => (JSON.parse(body) as { data: unknown }).data;
    expect(sent.map((request) => [request.url, dataOf(request.body)]).toSorted(byUrl)).toEqual([
      ['https://all.example/', { of: 'ours' }],
      ['https://other.example/', { of: 'theirs' }],
    ]);
  });

  it('that nobody wants is done at once', async () => {
    await put('user.created');
    expect(await deliver()).toEqual({ delivered: 1, failed: 0 });
    expect(sent).toEqual([]);
  });
});

describe('a failed delivery', () => {
  it.each([
    ['HTTP 500', async () => ({ status: 500 })],
    ['HTTP 302', async () => ({ status: 302 })],
    [
      'connect ECONNREFUSED',
      async () => {
        throw new Error('connect ECONNREFUSED');
      },
    ],
  ])(
    'after %s is kept with its error, waits longer each time, and is sent again under the same id',
    async (why, how) => {
      await outbox.webhooks.create(by(), { url: 'https://hook.example/' });
      await put('user.created');
      answer = how;
      expect(await deliver()).toEqual({ delivered: 0, failed: 1 });
      expect(await messages()).toMatchObject([
        { attempts: 1, isDelivered: false, lastError: expect.stringContaining(why) },
      ]);
      const [first] = await messages();
      expect(first?.waits).toBeGreaterThan(3);
      expect(await deliver()).toEqual({ delivered: 0, failed: 0 });
      await makeDue();
      await deliver();
      expect((await messages())[0]?.waits).toBeGreaterThan(8);
      answer = async () => ({ status: 200 });
      await makeDue();
      expect(await deliver()).toEqual({ delivered: 1, failed: 0 });
      expect(await messages()).toMatchObject([{ isDelivered: true, lastError: null }]);
      expect(new Set(sent.map((request) => request.headers['webhook-id'])).size).toBe(1);
      expect(sent).toHaveLength(3);
    },
  );

  it('of one webhook is not repeated to the one that took it', async () => {
    await outbox.webhooks.create(by(), { url: 'https://good.example/' });
    await outbox.webhooks.create(by(), { url: 'https://bad.example/' });
    await put('user.created');
    answer = async ({ url }) => ({ status: url.includes('bad') ? 503 : 200 });
    await deliver();
    answer = async () => ({ status: 200 });
    await makeDue();
    await deliver();
    expect(sent.filter((request) => request.url.includes('good'))).toHaveLength(1);
    expect(sent.filter((request) => request.url.includes('bad'))).toHaveLength(2);
  });

  it('waits at most an hour between tries, however often it failed', () => {
    expect(retryDelaySeconds(1, 0.5)).toBe(5);
    expect(retryDelaySeconds(4, 0.5)).toBe(40);
    expect(retryDelaySeconds(5000, 1)).toBeLessThanOrEqual(3600 * 1.1);
  });
});

describe('relays', () => {
  it('side by side deliver each message once', async () => {
    await outbox.webhooks.create(by(), { url: 'https://hook.example/' });
    await database.db.tenant(tenant.tenantId, async (tx) => {
      for (let at = 0; at < 100; at += 1) await enqueue(tx, 'user.created', { at });
    });
    const counts = await Promise.all([deliver(newRelay()), deliver(newRelay()), deliver()]);
    expect(counts.reduce((sum, count) => sum + count.delivered, 0)).toBe(100);
    expect(new Set(sent.map((request) => request.headers['webhook-id'])).size).toBe(100);
    expect(sent).toHaveLength(100);
  });

  it('that stop give back what they had not sent, uncounted and due at once', async () => {
    await outbox.webhooks.create(by(), { url: 'https://hook.example/' });
    await put('user.created');
    const stop = new AbortController();
    answer = (request) =>
      new Promise((_resolve, reject) => {
        request.signal.addEventListener('abort', () => reject(new Error('stopped')), { once: true });
        stop.abort();
      });
    await outbox.deliverDue({ signal: stop.signal });
    expect(await messages()).toMatchObject([{ attempts: 0, isDelivered: false, lastError: null }]);
    answer = async () => ({ status: 200 });
    expect(await deliver()).toEqual({ delivered: 1, failed: 0 });
  });

  it('that were too slow do not overwrite the record of the one that took over', async () => {
    await outbox.webhooks.create(by(), { url: 'https://hook.example/' });
    await put('user.created');
    answer = async () => {
      answer = async () => ({ status: 200 });
      await makeDue();
      expect(await deliver()).toEqual({ delivered: 1, failed: 0 });
      return { status: 500 };
    };
    await deliver();
    expect(await messages()).toMatchObject([{ isDelivered: true, lastError: null }]);
  });

  it('that were too slow leave the claim of the one that is still sending alone', async () => {
    await outbox.webhooks.create(by(), { url: 'https://hook.example/' });
    await put('user.created');
    let finish: (answer: { status: number }) => void = () => undefined;
    let second: Promise<unknown> | undefined;
    answer = async () => {
      answer = () =>
        new Promise((resolve) => {
          finish = resolve;
        });
      await makeDue();
      second = deliver(newRelay());
      await vi.waitFor(() => expect(sent).toHaveLength(2));
      return { status: 500 };
    };
    await deliver();
    expect(await messages()).toMatchObject([{ attempts: 2, lastError: null }]);
    expect((await messages())[0]?.waits).toBeGreaterThan(60);
    finish({ status: 200 });
    expect(await second).toEqual({ delivered: 1, failed: 0 });
  });

  it('delete what was delivered more than 7 days ago, and nothing that is still to be sent', async () => {
    await put('old');
    await put('young');
    await deliver();
    await put('waiting');
    await database.db.engine(async ({ sql }) => {
      await sql`update outbox_messages set delivered_at = now() - interval '8 days' where type = 'old'`;
      await sql`update outbox_messages set created_at = now() - interval '80 days' where type = 'waiting'`;
    });
    expect(await outbox.purgeDelivered()).toBe(1);
    expect(await messages()).toMatchObject([{ isDelivered: true }, { isDelivered: false }]);
  });
});

describe('a webhook', () => {
  it('shows its secret once, rests sealed, and is unknown to another tenant', async () => {
    const made = await outbox.webhooks.create(by(), { url: 'https://hook.example/' });
    expect(JSON.stringify(await outbox.webhooks.list(tenant.tenantId, { limit: 10 }))).not.toContain('whsec_');
    const rows = await database.db.tenant(tenant.tenantId, ({ sql }) => sql`select w::text as row from webhooks w`);
    expect(JSON.stringify(rows)).not.toContain(made.secret.slice(6));
    const other = await createTenant(database.db);
    expect((await outbox.webhooks.list(other.tenantId, { limit: 10 })).items).toEqual([]);
    const stranger = { actor: 'operator:test', tenantId: other.tenantId };
    await expect(outbox.webhooks.remove(stranger, made.id)).rejects.toEqual(refused('not_found'));
    await outbox.webhooks.remove(by(), made.id);
    await expect(outbox.webhooks.remove(by(), made.id)).rejects.toEqual(refused('not_found'));
    await expect(outbox.webhooks.remove(by(), 'nonsense')).rejects.toEqual(refused('not_found'));
  });

  it.each(['http://hook.example/', 'ftp://x', 'nonsense', 'https://user:pw@hook.example/', 'https://'])(
    'can not be %s',
    async (url) => {
      await expect(outbox.webhooks.create(by(), { url })).rejects.toEqual(refused('invalid_input'));
    },
  );
});
