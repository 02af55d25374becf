/** App roles as groups: who has them, by name or through a group, in full reads and in delta reads. */
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { Harness, Mirror } from '../../../test/simulators/entra/harness.ts';
import {
  applyTo,
  cursorOf,
  effective,
  emptyMirror,
  failureOf,
  startHarness,
} from '../../../test/simulators/entra/harness.ts';
import { isRollcallError } from '../../core/errors.ts';
import type { Cursor, DirectoryEvent } from '../contract/contract.ts';
import type { EntraSettings } from './entra.ts';

let harness: Harness;
let settings: Partial<EntraSettings>;
let admin = '';
let mirror: Mirror;
let cursor: Cursor | null;
const people: string[] = [];
let team = '';

const anchorOf = (role: string): string => `app-role:${role}`;

beforeEach(async () => {
  harness = await startHarness({ seed: 51 });
  const { app, tenant, enterpriseApp } = harness.simulator;
  app.permissions = ['User.Read.All', 'GroupMember.Read.All', 'Application.Read.All'];
  people.splice(0);
  for (let index = 0; index < 6; index += 1) people.push(tenant.createUser({ displayName: `P${index}` }));
  team = tenant.createGroup({ displayName: 'team' });
  admin = enterpriseApp.addRole('Portal Administrator', 'portal.admin');
  settings = { appRolesOf: enterpriseApp.appId };
  mirror = emptyMirror();
  cursor = null;
});
afterEach(async () => harness.stop());

/** Reads on from where the last read ended, and returns who has the role. */
async function readOn(): Promise<{ members: readonly string[]; events: DirectoryEvent[] }> {
  const events = await harness.read(cursor, { settings });
  applyTo(mirror, events);
  cursor = cursorOf(events);
  return { members: effective(mirror).edges[anchorOf(admin)] ?? [], events };
}

const at = (...indexes: readonly number[]): string[] => indexes.map((index) => people[index] ?? '').toSorted();

test('a role is a group with a name of its own, its value and its application', async () => {
  const { events } = await readOn();
  const role = events.find((event) => event.type === 'upsert' && event.object.anchor === anchorOf(admin));
  expect(role).toMatchObject({
    object: {
      kind: 'group',
      name: 'App role: Portal Administrator',
      locator: 'portal.admin',
      attributes: { application: 'Contoso Portal', value: 'portal.admin' },
    },
  });
});

test('has it: who is assigned by name, and who is a direct member of an assigned group; each once', async () => {
  const { tenant, enterpriseApp } = harness.simulator;
  const nested = tenant.createGroup({ displayName: 'nested' });
  for (const person of at(1, 2)) tenant.addMember(team, person);
  tenant.addMember(nested, at(3)[0] ?? '');
  tenant.addMember(team, nested);
  enterpriseApp.assign(admin, at(0)[0] ?? '', 'User');
  enterpriseApp.assign(admin, at(1)[0] ?? '', 'User');
  enterpriseApp.assign(admin, team, 'Group');
  enterpriseApp.assign(admin, '0f0f0f0f-0000-4000-8000-000000000001', 'ServicePrincipal');
  const { members, events } = await readOn();
  // Entra itself gives nothing to members of a group inside the assigned one
  expect(members).toEqual(at(0, 1, 2));
  const told = events.flatMap((event) =>
    event.type === 'members' && event.groupAnchor === anchorOf(admin) ? event.memberAnchors : [],
  );
  expect(told).toHaveLength(3);
});

describe('a delta read', () => {
  test('says nothing of roles when nothing happened to them', async () => {
    harness.simulator.enterpriseApp.assign(admin, team, 'Group');
    await readOn();
    harness.simulator.tenant.patchUser(at(5)[0] ?? '', { displayName: 'Renamed' });
    const { events } = await readOn();
    expect(events.map((event) => event.type)).toEqual(['upsert', 'complete']);
  });

  test('sees assignments come and go, and members of an assigned group too', async () => {
    const { tenant, enterpriseApp } = harness.simulator;
    const [first = '', second = '', third = ''] = people;
    await readOn();
    const byName = enterpriseApp.assign(admin, first, 'User');
    enterpriseApp.assign(admin, team, 'Group');
    expect((await readOn()).members).toEqual([first]);
    tenant.addMember(team, second);
    expect((await readOn()).members).toEqual([first, second].toSorted());
    enterpriseApp.unassign(byName);
    tenant.addMember(team, third);
    expect((await readOn()).members).toEqual([second, third].toSorted());
    tenant.removeMember(team, second);
    expect((await readOn()).members).toEqual([third]);
    tenant.deleteGroup(team);
    expect((await readOn()).members).toEqual([]);
  });

  test('sees a role go, as a tombstone; what it knows then is what a full read knows', async () => {
    const { enterpriseApp } = harness.simulator;
    const editor = enterpriseApp.addRole('Editor');
    enterpriseApp.assign(editor, people[0] ?? '', 'User');
    await readOn();
    enterpriseApp.removeRole(editor);
    const { events } = await readOn();
    expect(events).toContainEqual({
      type: 'tombstone',
      kind: 'group',
      anchor: anchorOf(editor),
      isRestorable: false,
    });
    const full = applyTo(emptyMirror(), await harness.read(null, { settings }));
    expect(effective(mirror)).toEqual(effective(full));
  });

  test('of another application than before starts over', async () => {
    await readOn();
    const events = await harness.read(cursor);
    expect(events.at(-1)?.type).toBe('reset');
  });
});

test('one user read now has its app roles among its groups, by name or through a direct group', async () => {
  const { tenant, enterpriseApp } = harness.simulator;
  const editor = enterpriseApp.addRole('Editor');
  const [first = '', second = ''] = people;
  enterpriseApp.assign(admin, first, 'User');
  enterpriseApp.assign(editor, team, 'Group');
  tenant.addMember(team, second);
  const groupsOf = async (anchor: string) => (await harness.find({ anchor }, { settings }))[0]?.groups;
  expect(await groupsOf(first)).toEqual([anchorOf(admin)]);
  expect(await groupsOf(second)).toEqual([team, anchorOf(editor)]);
  expect((await harness.find({ anchor: second }))[0]?.groups).toEqual([team]);
});

test('absent roles are proven by the application itself; ones no longer asked for are out of scope', async () => {
  const gone = anchorOf('11111111-1111-4111-8111-111111111111');
  const groups = [anchorOf(admin), gone, team];
  expect(await harness.prove('group', groups, { settings })).toEqual(
    new Map([
      [anchorOf(admin), 'present'],
      [gone, 'deleted'],
      [team, 'present'],
    ]),
  );
  expect((await harness.prove('group', groups)).get(anchorOf(admin))).toBe('out_of_scope');
});

test('a missing permission and a wrong client id are named, and nothing is complete', async () => {
  const nobody = '11111111-1111-4111-8111-111111111111';
  const seen: DirectoryEvent[] = [];
  const wrong = await failureOf(harness.read(null, { settings: { appRolesOf: nobody }, seen }));
  expect(isRollcallError(wrong, 'directory_not_found') && wrong.message).toContain(nobody);
  harness.simulator.app.permissions = ['User.Read.All', 'GroupMember.Read.All'];
  const denied = await failureOf(harness.read(null, { settings, seen }));
  expect(isRollcallError(denied, 'directory_permission') && denied.message).toContain('Application.Read.All');
  expect(seen.some((event) => event.type === 'complete')).toBe(false);
});

test.each(['foreign_link', 'repeat_link', 'missing_value', 'html', 'truncated'] as const)(
  'assignments with the lasting fault %s never complete',
  async (type) => {
    const { simulator } = harness;
    for (const person of people) simulator.enterpriseApp.assign(admin, person, 'User');
    simulator.fault({ route: 'appRoleAssignedTo', type, times: Infinity });
    const seen: DirectoryEvent[] = [];
    const error = await failureOf(harness.read(null, { settings, seen }));
    expect(isRollcallError(error), String(error)).toBe(true);
    expect(seen.some((event) => event.type === 'complete')).toBe(false);
  },
);
