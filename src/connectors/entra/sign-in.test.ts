/** Tokens: one request for many, never a secret in sight, and a sentence for every refusal. */
import { inspect } from 'node:util';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import type { Harness } from '../../../test/simulators/entra/harness.ts';
import { failureOf, startHarness } from '../../../test/simulators/entra/harness.ts';
import { RollcallError, describeError, isRollcallError } from '../../core/errors.ts';
import { aadstsMeaning, aadstsMeanings } from './aadsts.ts';
import { openGraphSession, runEndurance } from './graph-session.ts';
import type { GraphSession } from './graph-session.ts';
import { lendsNothing } from './host-identity.ts';
import type { HttpReply, HttpRequest } from './https-exchange.ts';
import { entraClouds, entraSettingsSchema, hostsOf } from './settings.ts';
import { createTokenSource } from './token-source.ts';

let harness: Harness;
beforeAll(async () => {
  harness = await startHarness({ seed: 21 });
  harness.simulator.tenant.createUser({ displayName: 'One' });
});
afterEach(() => {
  harness.simulator.refuseTokens(null);
  harness.simulator.clearFaults();
  harness.simulator.clearRequests();
});
afterAll(async () => harness.stop());

async function withSession<T>(work: (session: GraphSession) => Promise<T>): Promise<T> {
  const { clock, settings, secrets } = harness;
  const request = { settings, secrets, signal: AbortSignal.timeout(10_000) };
  const session = openGraphSession({ clock, random: () => 0.5 }, request, runEndurance);
  try {
    return await work(session);
  } finally {
    session.close();
  }
}

const tokenRequests = () => harness.simulator.requests.filter((request) => request.route === 'token');

/** Every AADSTS number of Microsoft's table that an app-only sign-in can meet, with what the admin should think of. */
const expectedWords: Readonly<Record<number, RegExp>> = {
  7000215: /secret is wrong.*ID was pasted instead of its Value/,
  7000222: /expired/,
  700016: /no application with that client id/,
  90002: /no such tenant/,
  90038: /national cloud/,
  900382: /national cloud/,
  900432: /national cloud/,
  65001: /admin consent/,
  90094: /admin consent/,
  650056: /Microsoft Graph/,
  650057: /Microsoft Graph/,
  500011: /Microsoft Graph/,
  7000112: /disabled/,
  70001: /disabled/,
  7000218: /no credential/,
  700025: /public client/,
  700027: /certificate/,
  700030: /certificate/,
  50012: /certificate/,
  70021: /federated credential/,
  700024: /outside the time/,
  53003: /Conditional Access/,
  530032: /Conditional Access/,
  530035: /Conditional Access/,
  53000: /managed or compliant device/,
  53001: /managed or compliant device/,
  53002: /managed or compliant device/,
  530003: /managed or compliant device/,
  70011: /scope/,
  1002012: /scope/,
  28002: /scope/,
  90055: /too many/,
  50196: /too many/,
  50033: /temporary/,
  90006: /temporary/,
  90012: /temporary/,
  90024: /temporary/,
  90033: /temporary/,
  90090: /temporary/,
};

describe('refusals', () => {
  test('the table has every number, and no other', () => {
    expect([...aadstsMeanings.keys()].toSorted((a, b) => a - b)).toEqual(
      Object.keys(expectedWords)
        .map(Number)
        .toSorted((a, b) => a - b),
    );
  });

  test.each(Object.entries(expectedWords))(
    'AADSTS%s is said in plain words, with its number',
    async (number, words) => {
      harness.simulator.refuseTokens(Number(number));
      const error = await failureOf(harness.read());
      expect(isRollcallError(error), String(error)).toBe(true);
      if (!isRollcallError(error)) return;
      expect(error.message).toMatch(words);
      expect(error.raw).toMatch(new RegExp(`^AADSTS${number}:`));
      expect(error.code).toBe(aadstsMeaning(Number(number)).code);
      expect(error.remedy).toBeTruthy();
    },
  );

  test('a number nobody knows is still a refusal with its number', async () => {
    harness.simulator.refuseTokens(999_999);
    const error = await failureOf(harness.read());
    expect(isRollcallError(error, 'directory_auth') && describeError(error)).toContain('AADSTS999999');
    expect(aadstsMeaning(700_213).message).toContain('federated');
  });

  test('an expired secret, an unknown tenant and an unknown application are told apart', async () => {
    const { app } = harness.simulator;
    app.secretExpiresAt = new Date(harness.clock.now().getTime() - 1);
    expect(String(await failureOf(harness.read()))).toContain('client secret has expired');
    app.secretExpiresAt = null;
    const other = '11111111-1111-4111-8111-111111111111';
    expect(String(await failureOf(harness.read(null, { settings: { tenantId: other } })))).toContain('no such tenant');
    expect(String(await failureOf(harness.read(null, { settings: { clientId: other } })))).toContain('client id');
  });

  test('the secret stands in no error, at any depth', async () => {
    const secret = 'canary-of-the-client-secret';
    const error = await failureOf(harness.read(null, { secret }));
    expect(isRollcallError(error, 'directory_auth')).toBe(true);
    expect(inspect(error, { depth: 20, showHidden: true })).not.toContain(secret);
    expect(inspect(await harness.test({ secret }), { depth: 20 })).not.toContain(secret);
  });
});

describe('token requests', () => {
  test('many callers at once make one request', async () => {
    await withSession(async (session) => {
      const tokens = await Promise.all(Array.from({ length: 8 }, async () => session.tokens.get(false)));
      expect(new Set(tokens).size).toBe(1);
    });
    expect(tokenRequests()).toHaveLength(1);
  });

  test('a whole read of users and groups makes one request, and asks nobody else', async () => {
    await harness.read();
    expect(tokenRequests()).toHaveLength(1);
    expect(new Set(harness.simulator.requests.map((request) => request.route))).toEqual(
      new Set(['token', 'users/delta', 'groups/delta', 'users/$count']),
    );
  });

  test('a token that Graph refuses is renewed once, past the cache; refused again, the read ends', async () => {
    harness.simulator.fault({ route: 'users/delta', type: 'unauthorized' });
    await harness.read();
    expect(tokenRequests()).toHaveLength(2);
    harness.simulator.fault({ route: 'users/delta', type: 'unauthorized', times: 2 });
    const error = await failureOf(harness.read());
    expect(isRollcallError(error, 'directory_auth'), String(error)).toBe(true);
  });

  test.each(['server_error', 'bad_gateway_html', 'html', 'truncated', 'reset', 'throttle', 'malformed'] as const)(
    '%s at the token endpoint heals by asking again',
    async (type) => {
      harness.simulator.fault({ route: 'token', type, times: 2 });
      expect((await harness.read()).at(-1)?.type).toBe('complete');
    },
  );

  test('throttled for longer than our patience: put off, with the time', async () => {
    harness.simulator.fault({ route: 'token', type: 'throttle', times: Infinity, retryAfter: '900' });
    const error = await failureOf(harness.read());
    expect(error).toBeInstanceOf(RollcallError);
    expect(isRollcallError(error, 'directory_throttled') && error.retryAfterSeconds).toBe(900);
  });

  test.each(entraClouds)('in the cloud %s only its own sign-in host is asked, once', async (cloud) => {
    const { tenantId, clientId } = harness.settings;
    const settings = entraSettingsSchema.parse({ tenantId, clientId, cloud });
    const { authority, graphUrl } = hostsOf(settings);
    const sent: HttpRequest[] = [];
    const send = async (request: HttpRequest): Promise<HttpReply> => {
      sent.push(request);
      const text = JSON.stringify({ token_type: 'Bearer', expires_in: 3_599, access_token: 'opaque' });
      return { status: 200, headers: { 'content-type': 'application/json' }, text };
    };
    const { signal } = new AbortController();
    const tokens = createTokenSource({
      settings,
      secrets: harness.secrets,
      config: lendsNothing,
      tenantId: undefined,
      channel: { send, close: () => undefined },
      patience: { during: async (_what, attempt) => attempt() },
      now: () => harness.clock.now(),
      signal,
    });
    expect(await tokens.get(false)).toBe('opaque');
    expect(sent.map((request) => request.url.split('?')[0])).toEqual([`${authority}/${tenantId}/oauth2/v2.0/token`]);
    expect(new URLSearchParams(sent[0]?.body).get('scope')).toContain(`${graphUrl}/.default`);
  });
});
