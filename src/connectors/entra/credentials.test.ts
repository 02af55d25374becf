/** Every way to sign in, against a sign-in service that verifies what it is shown. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { inspect } from 'node:util';
import { afterAll, afterEach, beforeAll, describe, expect, test, vi } from 'vitest';
import type { Harness } from '../../../test/simulators/entra/harness.ts';
import { failureOf, harnessTenantId, startHarness } from '../../../test/simulators/entra/harness.ts';
import type { IdentityEndpoint } from '../../../test/simulators/entra/workload.ts';
import { createWorkloadPlatform, startIdentityEndpoint } from '../../../test/simulators/entra/workload.ts';
import { isRollcallError } from '../../core/errors.ts';
import type { EntraSecrets } from './credentials.ts';
import { entraSecretsSchema } from './credentials.ts';

const pem = (name: string): string =>
  readFileSync(new URL(`../../../test/simulators/entra/certificates/${name}.pem`, import.meta.url), 'utf8');
const certificateSecrets = (name: string, key = `${name}-key`, more: Record<string, string> = {}): EntraSecrets =>
  entraSecretsSchema.parse({ certificate: pem(name), privateKey: pem(key), ...more });

const folder = mkdtempSync(join(tmpdir(), 'rollcall-entra-token-'));
const tokenFile = join(folder, 'token');
const platform = createWorkloadPlatform();
const subject = 'system:serviceaccount:rollcall:worker';
const audience = 'api://AzureADTokenExchange';
const seconds = (): number => Math.floor(Date.now() / 1_000);

let harness: Harness;
let endpoint: IdentityEndpoint;

beforeAll(async () => {
  harness = await startHarness({
    seed: 41,
    startsAt: Date.now(),
    config: ({ tenantId, app, url }) => ({
      federatedTokenFile: tokenFile,
      managedIdentity: true,
      lendTo: [{ tenant: harnessTenantId, tenantId, clientId: app.clientId, authority: url, graphUrl: url }],
    }),
  });
  harness.simulator.tenant.createUser({ displayName: 'One' });
  harness.simulator.app.certificates = [pem('client')];
  harness.simulator.app.federatedCredentials = [
    { issuer: platform.issuer, subject, audience, publicKey: platform.publicKey },
  ];
  endpoint = await startIdentityEndpoint(harness.simulator);
  vi.stubEnv('IDENTITY_ENDPOINT', endpoint.url);
  vi.stubEnv('IDENTITY_HEADER', endpoint.header);
});
afterEach(() => {
  harness.simulator.clearRequests();
  harness.simulator.clearFaults();
});
afterAll(async () => {
  vi.unstubAllEnvs();
  rmSync(folder, { recursive: true });
  await endpoint.stop();
  await harness.stop();
});

const readWith = async (secrets: EntraSecrets) => harness.read(null, { secrets });
const codeOf = (error: unknown): unknown => (isRollcallError(error) ? error.code : error);

describe('a certificate', () => {
  test('signs in by an assertion that the service verifies; the secret key is never sent', async () => {
    expect((await readWith(certificateSecrets('client'))).at(-1)?.type).toBe('complete');
    const [request] = harness.simulator.requests;
    const form = new URLSearchParams(request?.body);
    expect(form.get('client_secret')).toBeNull();
    const [header = ''] = (form.get('client_assertion') ?? '').split('.');
    expect(JSON.parse(Buffer.from(header, 'base64url').toString())).toMatchObject({ alg: 'PS256' });
    expect(request?.body).not.toContain('PRIVATE');
  });

  test('with an encrypted key opens it with the passphrase', async () => {
    const secrets = certificateSecrets('client', 'client-key-encrypted', { passphrase: 'open-sesame' });
    expect((await readWith(secrets)).at(-1)?.type).toBe('complete');
  });

  test('that is not the registered one is refused with its number, and no key stands in the error', async () => {
    const error = await failureOf(readWith(certificateSecrets('other-client')));
    expect(codeOf(error)).toBe('directory_auth');
    expect(String(error)).toContain('certificate');
    expect(isRollcallError(error) && error.raw).toMatch(/^AADSTS700027/);
    expect(inspect(error, { depth: 20, showHidden: true })).not.toContain('PRIVATE KEY');
  });

  test.each([
    ['a key of another certificate', 'client', 'other-client-key', {}, /does not belong to the certificate/],
    ['a key that is encrypted, without its passphrase', 'client', 'client-key-encrypted', {}, /passphrase/],
    ['a wrong passphrase', 'client', 'client-key-encrypted', { passphrase: 'canary-phrase' }, /passphrase is wrong/],
    ['an elliptic key', 'elliptic', 'elliptic-key', {}, /RSA/],
    ['a key in the place of the certificate', 'client-key', 'client-key', {}, /must be a certificate/],
    ['a certificate in the place of the key', 'client', 'client', {}, /must be a private key/],
  ])('%s is a fault of the document, at its place and without the secret', (_what, name, key, more, words) => {
    const parsed = entraSecretsSchema.safeParse({ certificate: pem(name), privateKey: pem(key), ...more });
    const [issue] = parsed.error?.issues ?? [];
    expect(issue?.message).toMatch(words);
    expect(issue?.path[0]).toMatch(/^(certificate|privateKey)$/);
    expect(inspect(parsed.error, { depth: 20 })).not.toMatch(/PRIVATE KEY|canary-phrase/);
  });
});

describe('the token file of a workload', () => {
  const writeToken = (claims: Record<string, unknown> = {}): void =>
    writeFileSync(tokenFile, `${platform.sign({ sub: subject, aud: audience, exp: seconds() + 3_600, ...claims })}\n`);
  const secrets: EntraSecrets = { kind: 'workload_identity' };

  test('signs in, and is read again for each sign-in', async () => {
    writeToken();
    expect((await readWith(secrets)).at(-1)?.type).toBe('complete');
    writeToken({ sub: 'system:serviceaccount:other:worker' });
    const error = await failureOf(readWith(secrets));
    expect(isRollcallError(error) && error.raw).toMatch(/^AADSTS70021/);
    expect(String(error)).toContain('federated credential');
  });

  test('that is stale, forged or missing is told apart', async () => {
    writeToken({ exp: seconds() - 3_600 });
    expect(String(await failureOf(readWith(secrets)))).toContain('outside the time');
    writeFileSync(tokenFile, createWorkloadPlatform().sign({ sub: subject, aud: audience, exp: seconds() + 3_600 }));
    expect(isRollcallError(await failureOf(readWith(secrets)), 'directory_auth')).toBe(true);
    rmSync(tokenFile);
    const missing = await failureOf(readWith(secrets));
    expect(missing).toMatchObject({ code: 'directory_auth', raw: 'ENOENT' });
    expect(String(missing)).not.toContain(folder);
    writeFileSync(tokenFile, '');
    expect(String(await failureOf(readWith(secrets)))).toContain('holds no token');
  });

  test.each([
    ['another tenant of ours', { tenantId: '0198f0c0-0000-7000-8000-000000000002' }],
    ['another application', { settings: { clientId: '11111111-1111-4111-8111-111111111111' } }],
    ['another directory', { settings: { tenantId: '11111111-1111-4111-8111-111111111111' } }],
    ['another sign-in address', { settings: { authority: 'https://login.attacker.test' } }],
    ['another Graph address', { settings: { graphUrl: 'https://graph.attacker.test' } }],
  ])('is not lent to %s: nothing is sent', async (_what, options) => {
    writeToken();
    for (const lent of [secrets, { kind: 'managed_identity', assigned: 'system' } as const]) {
      const error = await failureOf(harness.read(null, { ...options, secrets: lent }));
      expect(error).toMatchObject({ code: 'directory_auth', raw: lent.kind });
      expect(String(error)).toContain('does not lend');
    }
    expect(harness.simulator.requests).toEqual([]);
  });
});

describe('the managed identity of the host', () => {
  const system: EntraSecrets = { kind: 'managed_identity', assigned: 'system' };
  const user: EntraSecrets = { kind: 'managed_identity', assigned: 'user' };

  test('signs in without the sign-in service; the token is kept for the next read', async () => {
    endpoint.failWith(503, 500);
    expect((await readWith(system)).at(-1)?.type).toBe('complete');
    expect((await readWith(system)).at(-1)?.type).toBe('complete');
    expect(harness.simulator.requests.some((request) => request.route === 'token')).toBe(false);
    // two failures that heal by waiting, one token, none for the second read
    expect(endpoint.asked).toHaveLength(3);
    expect(endpoint.asked[0]).not.toContain('client_id');
  });

  test('that was given by name asks for it by its client id', async () => {
    expect((await readWith(user)).at(-1)?.type).toBe('complete');
    expect(endpoint.asked.at(-1)).toContain(`client_id=${harness.simulator.app.clientId}`);
  });

  test('works for a later session after the first one was aborted', async () => {
    const first = new AbortController();
    first.abort(new Error('stopped by the test'));
    await failureOf(harness.read(null, { secrets: system, signal: first.signal }));
    harness.simulator.fault({ route: 'users/delta', type: 'unauthorized' });
    const asked = endpoint.asked.length;
    expect((await readWith(system)).at(-1)?.type).toBe('complete');
    expect(endpoint.asked.length).toBeGreaterThan(asked);
  });

  test('that the host does not have is said so', async () => {
    harness.simulator.fault({ route: 'users/delta', type: 'unauthorized' });
    endpoint.failWith(400);
    const error = await failureOf(readWith(system));
    expect(codeOf(error)).toBe('directory_auth');
    expect(String(error)).toContain('managed identity');
  });
});

describe('a document', () => {
  test('may leave out the kind where the rest says it', () => {
    expect(entraSecretsSchema.parse({ clientSecret: 'x' }).kind).toBe('client_secret');
    expect(certificateSecrets('client').kind).toBe('certificate');
    expect(entraSecretsSchema.parse({ kind: 'managed_identity' })).toEqual({
      kind: 'managed_identity',
      assigned: 'system',
    });
    expect(entraSecretsSchema.safeParse({}).success).toBe(false);
    expect(entraSecretsSchema.safeParse({ clientSecret: 'x', endsAt: 'soon' }).success).toBe(false);
  });
});
