/** When a credential ends is known from where it can be known, and never guessed. */
import { readFileSync } from 'node:fs';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import type { Harness } from '../../../test/simulators/entra/harness.ts';
import { failureOf, startHarness } from '../../../test/simulators/entra/harness.ts';
import { Secret } from '../../platform/secrets.ts';
import { daysUntil, endOf } from './credential-ends.ts';
import type { EntraSecrets } from './credentials.ts';

let harness: Harness;
const ends = new Date('2026-09-01T00:00:00Z');

beforeAll(async () => {
  harness = await startHarness({ seed: 61 });
});
beforeEach(() => {
  Object.assign(harness.simulator.app, {
    permissions: ['User.Read.All', 'GroupMember.Read.All', 'Application.Read.All'],
    secretExpiresAt: ends,
    isInTenant: true,
  });
});
afterAll(async () => harness.stop());

const entered = (): EntraSecrets => ({
  kind: 'client_secret',
  clientSecret: new Secret(harness.simulator.app.clientSecret),
  endsAt: '2026-08-15',
});

test('of a secret the app registration tells, to those who may read it', async () => {
  expect(await harness.credentialEnds({ secrets: entered() })).toEqual([
    { credential: 'client_secret', endsAt: ends.toISOString(), source: 'directory' },
  ]);
});

test.each([
  ['without the permission', { permissions: ['User.Read.All'] }],
  ['with the registration in another tenant', { isInTenant: false }],
])('%s what the admin entered counts, and else nobody knows', async (_what, change) => {
  Object.assign(harness.simulator.app, change);
  expect(await harness.credentialEnds({ secrets: entered() })).toEqual([
    { credential: 'client_secret', endsAt: '2026-08-15T00:00:00.000Z', source: 'entered' },
  ]);
  expect(await harness.credentialEnds()).toEqual([{ credential: 'client_secret', endsAt: null, source: 'unknown' }]);
});

test('a service that does not answer is a failure, not an unknown end', async () => {
  harness.simulator.fault({ route: 'applications', type: 'server_error', times: Infinity });
  expect(await failureOf(harness.credentialEnds())).toMatchObject({ code: 'directory_unreachable' });
  harness.simulator.clearFaults();
});

test('a certificate says it itself, without a question', async () => {
  const pem = (name: string): string =>
    readFileSync(new URL(`../../../test/simulators/entra/certificates/${name}.pem`, import.meta.url), 'utf8');
  harness.simulator.clearRequests();
  const secrets: EntraSecrets = {
    kind: 'certificate',
    certificate: pem('client'),
    privateKey: new Secret(pem('client-key')),
  };
  const [end] = await harness.credentialEnds({ secrets });
  expect(end).toMatchObject({ credential: 'certificate', source: 'certificate' });
  expect(end?.endsAt).toMatch(/^2126-/);
  expect(harness.simulator.requests).toEqual([]);
});

test('identities of the host have no end', async () => {
  expect(await harness.credentialEnds({ secrets: { kind: 'workload_identity' } })).toEqual([]);
});

describe('of several secrets', () => {
  const now = new Date('2026-03-02T08:00:00Z');
  const secret = 'Q1a~long';
  const at = (hint: string | null, day: string) => ({ hint, endDateTime: `${day}T00:00:00Z` });

  test.each([
    ['the one that begins like ours', [at('Q1a', '2026-09-01'), at('Zz9', '2026-04-01')], '2026-09-01'],
    ['of two that begin like ours the first to end', [at('Q1a', '2026-09-01'), at('Q1a', '2026-05-01')], '2026-05-01'],
    ['not one that has ended already', [at('Q1a', '2026-03-01'), at('Q1a', '2026-09-01')], '2026-09-01'],
    ['one without a hint, when none begins like ours', [at(null, '2026-07-01'), at('Zz9', '2026-04-01')], '2026-07-01'],
    ['none, when all are others', [at('Zz9', '2026-04-01')], null],
    ['none, when the list is no list', 'nothing', null],
  ])('counts %s', (_what, credentials, day) => {
    expect(endOf(credentials, secret, now)).toBe(day === null ? null : `${day}T00:00:00.000Z`);
  });

  test('days are whole ones, and negative once it has ended', () => {
    expect(daysUntil('2026-03-09T09:00:00Z', now)).toBe(7);
    expect(daysUntil('2026-03-01T08:00:00Z', now)).toBe(-1);
  });
});
