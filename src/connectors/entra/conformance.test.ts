/** The shared suite of pull connectors, on the Graph simulator. */
import { createServer } from 'node:net';
import type { AddressInfo } from 'node:net';
import { startEntraSimulator } from '../../../test/simulators/entra/entra.ts';
import type { EntraSimulator } from '../../../test/simulators/entra/entra.ts';
import type { Fault, FaultType } from '../../../test/simulators/entra/faults.ts';
import { connectionSettings } from '../../../test/simulators/entra/connection.ts';
import type { ErrorCode } from '../../core/errors.ts';
import { Secret } from '../../platform/secrets.ts';
import { describeConnectorConformance } from '../contract/conformance.ts';
import type { BrokenRead, DirectoryHandle } from '../contract/conformance.ts';
import { entraConnector } from './entra.ts';
import type { EntraSecrets, EntraSettings } from './entra.ts';

const wrongSecret = 'canary-wrong-client-secret';

function handleOf(simulator: EntraSimulator): DirectoryHandle {
  const { tenant, random } = simulator;
  const principal = (): string => `u${random.integer(1e9)}@contoso.example`;
  const create = (name: string, email?: string): string =>
    tenant.createUser({
      displayName: name,
      userPrincipalName: principal(),
      ...(email === undefined ? {} : { mail: email }),
    });
  return {
    addUser: async ({ name, email }) => create(name, email),
    addUsers: async (prefix, count) => Array.from({ length: count }, (_, index) => create(`${prefix}${index}`)),
    renameUser: async (anchor, name) => tenant.patchUser(anchor, { displayName: name, userPrincipalName: principal() }),
    setEmail: async (anchor, email) => tenant.patchUser(anchor, { mail: email }),
    disableUser: async (anchor) => tenant.patchUser(anchor, { accountEnabled: false }),
    deleteUser: async (anchor) => tenant.softDelete(anchor),
    addGroup: async (name) => tenant.createGroup({ displayName: name }),
    deleteGroup: async (anchor) => tenant.deleteGroup(anchor),
    addMembers: async (group, members) => {
      for (const member of members) tenant.addMember(group, member);
    },
    removeMembers: async (group, members) => {
      for (const member of members) tenant.removeMember(group, member);
    },
  };
}

async function closedPort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise<void>((resolve) => server.close(() => resolve()));
  return port;
}

function brokenRead(
  simulator: EntraSimulator,
  name: string,
  code: ErrorCode,
  fault: Omit<Fault, 'route'>,
): BrokenRead<EntraSettings, EntraSecrets> {
  return {
    name,
    code,
    prepare: async () => {
      simulator.fault({ route: 'groups/delta', ...fault });
      return { restore: async () => simulator.clearFaults() };
    },
  };
}

describeConnectorConformance('entra on the Graph simulator', async () => {
  const simulator = await startEntraSimulator({ behavior: { userPageSize: 50, edgesPerPage: 400, emptyPageEvery: 3 } });
  simulator.tenant.createUser({ displayName: 'Present from the start', userPrincipalName: 'first@contoso.example' });
  const clock = { now: () => new Date(), sleep: async () => undefined };
  const connector = entraConnector({ clock, random: () => 0.5 });
  const secretOf = (text: string): EntraSecrets => ({ kind: 'client_secret', clientSecret: new Secret(text) });
  const settings: EntraSettings = connectionSettings(simulator);
  const nowhere = `https://127.0.0.1:${await closedPort()}`;
  const lasting = (name: string, code: ErrorCode, type: FaultType): BrokenRead<EntraSettings, EntraSecrets> =>
    brokenRead(simulator, name, code, { type, times: Infinity });
  return {
    connector,
    settings,
    secrets: secretOf(simulator.app.clientSecret),
    directory: handleOf(simulator),
    emailAttribute: 'mail',
    wrongSecrets: secretOf(wrongSecret),
    unreachableSettings: { ...settings, authority: nowhere, graphUrl: nowhere },
    canaries: [simulator.app.clientSecret, wrongSecret],
    unknownAnchor: '00000000-dead-4000-8000-000000000000',
    brokenReads: [
      lasting('every answer is cut in the middle', 'directory_unreachable', 'truncated'),
      lasting('every answer is a server error', 'directory_unreachable', 'server_error'),
      lasting('a proxy answers HTML', 'directory_protocol', 'html'),
      lasting('an answer is an empty object', 'directory_protocol', 'empty_object'),
      lasting('throttled without end', 'directory_throttled', 'throttle'),
      lasting('the list ends without a link', 'directory_protocol', 'neither_link'),
      lasting('a page comes again and again', 'directory_protocol', 'repeat_link'),
      lasting('the service resets the round', 'directory_history_lost', 'gone'),
    ],
    stop: async () => simulator.stop(),
  };
});
