/** The connection document: what is taken, what is refused, and when a secret has to be entered again. */
import { inspect } from 'node:util';
import { expect, test } from 'vitest';
import { testCaPem } from '../../../test/simulators/entra/entra.ts';
import { createVirtualClock } from '../../../test/simulators/entra/harness.ts';
import { userAttributes } from '../../core/targets.ts';
import { compileMapper } from '../../core/mapping.ts';
import { entraConnector } from './entra.ts';
import { entraSecretsSchema } from './credentials.ts';
import { entraClouds, entraSettingsSchema, hostsOf } from './settings.ts';
import { selectProperties } from './selection.ts';

const minimal = { tenantId: '8F9E2C1A-0000-4000-8000-000000000000', clientId: '5b1d7c3e-0000-4000-8000-000000000000' };
const connector = entraConnector({ clock: createVirtualClock(), random: () => 0.5 });

test('two ids are enough; parsing what was parsed changes nothing', () => {
  const settings = entraSettingsSchema.parse(minimal);
  expect(settings).toEqual({
    tenantId: '8f9e2c1a-0000-4000-8000-000000000000',
    clientId: minimal.clientId,
    cloud: 'global',
    properties: [],
  });
  expect(entraSettingsSchema.parse(settings)).toEqual(settings);
});

test.each([
  ['a tenant that is not one', { tenantId: 'common' }],
  ['a client id that is no GUID', { clientId: 'portal' }],
  ['plain http', { graphUrl: 'http://graph.microsoft.com' }],
  ['an address with a path', { authority: 'https://login.microsoftonline.com/common' }],
  ['an address with a user', { authority: 'https://admin@login.microsoftonline.com' }],
  ['a certificate that is none', { caPem: '-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----' }],
  ['an empty certificate', { caPem: '' }],
  ['a property with query characters', { properties: ['mail&$top=1'] }],
  ['a key nobody knows', { timeout: 5 }],
])('%s is refused', (_what, wrong) => {
  expect(entraSettingsSchema.safeParse({ ...minimal, ...wrong }).success).toBe(false);
});

test('every cloud has its own pair of hosts, all https', () => {
  const pairs = entraClouds.map((cloud) => hostsOf(entraSettingsSchema.parse({ ...minimal, cloud })));
  expect(new Set(pairs.map((pair) => pair.graphUrl)).size).toBe(entraClouds.length);
  for (const { authority, graphUrl } of pairs) expect([authority, graphUrl].join()).toMatch(/^https:.*,https:/);
  expect(entraSettingsSchema.safeParse({ ...minimal, caPem: testCaPem }).success).toBe(true);
});

test('a secret is taken with and without its kind, and can not be printed', () => {
  for (const document of [{ clientSecret: 'canary' }, { kind: 'client_secret', clientSecret: 'canary' }]) {
    const secrets = entraSecretsSchema.parse(document);
    expect(secrets.kind === 'client_secret' && secrets.clientSecret.reveal()).toBe('canary');
    expect(inspect(secrets) + JSON.stringify(secrets)).not.toContain('canary');
  }
  expect(entraSecretsSchema.safeParse({ clientSecret: '' }).success).toBe(false);
  expect(entraSecretsSchema.safeParse({ clientSecret: 'a', certificate: 'b' }).success).toBe(false);
});

test('the target changes with cloud, tenant, application, addresses and authorities, not with properties', () => {
  const targetOf = (change: object): string => connector.target(entraSettingsSchema.parse({ ...minimal, ...change }));
  const changes = [
    {},
    { cloud: 'china' },
    { tenantId: 'contoso.example' },
    { clientId: minimal.tenantId },
    { graphUrl: 'https://graph.example' },
    { authority: 'https://login.example' },
    { caPem: testCaPem },
  ];
  expect(new Set(changes.map(targetOf)).size).toBe(changes.length);
  expect(targetOf({ properties: ['companyName'] })).toBe(targetOf({}));
});

test('the default mappings compile, cover every attribute of a user, and ask only for what is read', () => {
  const settings = entraSettingsSchema.parse(minimal);
  const mappings = connector.defaultMappings(settings).map((mapping) => ({
    ...mapping,
    strength: 'authoritative' as const,
    onNull: 'clear' as const,
  }));
  expect(mappings.map((mapping) => mapping.target).toSorted()).toEqual([...userAttributes].toSorted());
  const mapper = compileMapper({ mappings, scope: undefined, predicates: [] });
  const { user } = selectProperties(settings, []);
  for (const attribute of mapper.attributes) expect(user).toContain(attribute);
  const mapped = mapper.map({ userPrincipalName: 'ann@contoso.example', businessPhones: ['+1 555 0100'] });
  expect(mapped).toMatchObject({ problem: null, mapped: { username: 'ann@contoso.example', phone: '+1 555 0100' } });
  expect(mapper.map({ businessPhones: [] }).problem).toBeNull();
});

test('extension attributes are asked for by the property that holds them, in any order the same', () => {
  const settings = entraSettingsSchema.parse({ ...minimal, properties: ['extensionAttribute3', 'companyName'] });
  const selection = selectProperties(settings, ['extensionAttribute15']);
  expect(selection.user).toContain('onPremisesExtensionAttributes');
  expect(selection.user).not.toContain('extensionAttribute3');
  const plain = entraSettingsSchema.parse(minimal);
  const other = selectProperties(plain, ['companyName', 'extensionAttribute1']);
  expect(other.hash).toBe(selection.hash);
  expect(selectProperties(plain, []).hash).not.toBe(selection.hash);
});
