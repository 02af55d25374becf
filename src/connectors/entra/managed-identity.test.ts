/**
 * The metadata service of an Azure virtual machine. In a file of its own, because MSAL keeps the first endpoint it finds for
 * the life of the process (managed-identity.ts); on a real machine it stands at 169.254.169.254, here at the address that
 * MSAL reads from AZURE_POD_IDENTITY_AUTHORITY_HOST.
 */
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import type { Harness } from '../../../test/simulators/entra/harness.ts';
import { failureOf, harnessTenantId, startHarness } from '../../../test/simulators/entra/harness.ts';
import type { IdentityEndpoint } from '../../../test/simulators/entra/workload.ts';
import { startIdentityEndpoint } from '../../../test/simulators/entra/workload.ts';
import { isHostEndpoint } from './managed-identity.ts';

let harness: Harness;
let endpoint: IdentityEndpoint;

beforeAll(async () => {
  harness = await startHarness({
    seed: 43,
    startsAt: Date.now(),
    config: ({ tenantId, app, url }) => ({
      managedIdentity: true,
      lendTo: [{ tenant: harnessTenantId, tenantId, clientId: app.clientId, authority: url, graphUrl: url }],
    }),
  });
  harness.simulator.tenant.createUser({ displayName: 'One' });
  endpoint = await startIdentityEndpoint(harness.simulator);
  vi.stubEnv('IDENTITY_ENDPOINT', undefined);
  vi.stubEnv('IDENTITY_HEADER', undefined);
  vi.stubEnv('MSI_ENDPOINT', undefined);
  vi.stubEnv('AZURE_POD_IDENTITY_AUTHORITY_HOST', endpoint.metadataUrl);
});
afterAll(async () => {
  vi.unstubAllEnvs();
  await endpoint.stop();
  await harness.stop();
});

describe('the managed identity of a virtual machine', () => {
  test('signs in at the metadata service; 410 and 429 heal by waiting', async () => {
    endpoint.failWith(410, 429);
    const events = await harness.read(null, { secrets: { kind: 'managed_identity', assigned: 'system' } });
    expect(events.at(-1)?.type).toBe('complete');
    expect(endpoint.asked).toHaveLength(3);
    expect(endpoint.asked[0]).toContain('api-version=2018-02-01');
    expect(endpoint.asked[0]).not.toContain('client_id');
  });

  test('that was given by name asks for it by its client id', async () => {
    const events = await harness.read(null, { secrets: { kind: 'managed_identity', assigned: 'user' } });
    expect(events.at(-1)?.type).toBe('complete');
    expect(endpoint.asked.at(-1)).toContain(`client_id=${harness.simulator.app.clientId}`);
  });

  test('that the machine does not have is said so', async () => {
    harness.simulator.fault({ route: 'users/delta', type: 'unauthorized' });
    endpoint.failWith(400);
    const error = await failureOf(harness.read(null, { secrets: { kind: 'managed_identity', assigned: 'system' } }));
    expect(error).toMatchObject({ code: 'directory_auth' });
  });
});

describe('a token of this machine is asked for', () => {
  test.each([
    'http://169.254.169.254/metadata/identity/oauth2/token?resource=x',
    'http://127.0.0.1:41234/msi/token',
    'http://localhost:42356/msi/token',
    'http://169.254.129.2:8081/msi/token',
  ])('at %s', (address) => {
    expect(isHostEndpoint(address)).toBe(true);
  });

  test.each([
    'http://10.0.0.4/metadata/identity/oauth2/token',
    'https://identity.example.org/msi/token',
    'http://169.254.169.254.example.org/metadata',
    'http://127.example.org/msi/token',
    'file:///etc/passwd',
    'nonsense',
  ])('never at %s', (address) => {
    expect(isHostEndpoint(address)).toBe(false);
  });
});
