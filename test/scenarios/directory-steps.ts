/** What happens in a directory: written into the one in memory and, where a provider pushes, pushed. */
import type { TenantTx } from '../../src/db/db.ts';
import { newId } from '../../src/core/ids.ts';
import { startingOver, type PushContext, type PushedUser } from '../../src/reconciliation/reconciliation.ts';
import type { Person } from '../fakes/memory-directory.ts';
import { expandKeys, expandNames } from './crowds.ts';
import { checkPush } from './promises.ts';
import { fates, type DirectoryChange, type PersonFields } from './schema.ts';
import { inDomain, titled, type Wired, type World } from './world.ts';

type Fate = (typeof fates)[number];

function isFate(value: unknown): value is Fate {
  return fates.some((fate) => fate === value);
}

export async function changeDirectory(world: World, wired: Wired, change: DirectoryChange): Promise<void> {
  if (wired.isPushed && (change.read !== undefined || change.proof !== undefined)) {
    throw new Error('A directory that pushes is never read: leave out "read" and "proof".');
  }
  if (change.read !== undefined) {
    wired.directory.failAfter = change.read === 'fine' ? null : Number(change.read.split(' ').at(-1));
  }
  if (change.proof !== undefined) wired.directory.verdict = change.proof === 'the truth' ? null : change.proof;
  for (const [id, value] of expandKeys(change.people ?? {})) await changePerson(world, wired, id, value);
  for (const [id, value] of expandKeys(change.groups ?? {})) {
    if (isFate(value)) await meet(world, wired, 'group', id, value);
    else await changeGroup(world, wired, id, Array.isArray(value) ? { members: value } : value);
  }
}

async function changePerson(world: World, wired: Wired, id: string, value: PersonFields | Fate): Promise<void> {
  if (isFate(value)) return meet(world, wired, 'user', id, value);
  const known = wired.directory.people.get(id);
  const defaults: PersonFields = known === undefined ? { name: titled(id), username: id, email: id } : {};
  const { enabled, name, username, email, department, employeeId, ...more } = { ...defaults, ...value };
  wired.directory.put({
    id,
    ...(name === undefined || name === null ? {} : { name }),
    ...(username === undefined ? {} : { username: inDomain(world, username) }),
    ...(email === undefined ? {} : { email: inDomain(world, email) }),
    ...(department === undefined ? {} : { department }),
    ...(employeeId === undefined ? {} : { employeeId }),
    ...(enabled === undefined ? {} : { isActive: enabled }),
    more: { ...known?.more, ...withoutUndefined(more) },
  });
  if (wired.isPushed) await pushPerson(world, wired, id);
}

function withoutUndefined(values: Readonly<Record<string, string | number | null | undefined>>) {
  return Object.fromEntries(
    Object.entries(values).filter((entry): entry is [string, string | number | null] => entry[1] !== undefined),
  );
}

async function changeGroup(
  world: World,
  wired: Wired,
  id: string,
  group: { readonly name?: string | undefined; readonly members: readonly string[] },
): Promise<void> {
  const name = group.name ?? wired.directory.teams.get(id)?.name ?? id;
  wired.directory.team(id, name, expandNames(group.members));
  if (wired.isPushed) await pushGroup(world, wired, id);
}

async function meet(world: World, wired: Wired, kind: 'user' | 'group', id: string, fate: Fate): Promise<void> {
  const { directory } = wired;
  if (wired.isPushed && fate !== 'deleted') throw new Error(`A push can only delete; "${fate}" is told of a read.`);
  if (fate === 'deleted') {
    directory.people.delete(id);
    directory.teams.delete(id);
    if (wired.isPushed)
      await pushed(world, wired, (tx, context) => world.engine.reconciliation.pushes.remove(tx, context, kind, id));
    return;
  }
  directory.verdicts.delete(id);
  if (fate === 'seen') directory.hidden.delete(id);
  else directory.hidden.add(id);
  if (fate === 'moved away') directory.verdicts.set(id, 'out_of_scope');
}

// ------------------------------------------------------------------ pushes

async function pushPerson(world: World, wired: Wired, id: string): Promise<void> {
  const person = wired.directory.people.get(id);
  if (person === undefined) return;
  const version = wired.versions.get(`user ${id}`);
  const written = await pushed(world, wired, (tx, context) =>
    world.engine.reconciliation.pushes.writeUser(
      tx,
      context,
      toPushedUser(person),
      version === undefined ? 'new' : { version },
    ),
  );
  wired.versions.set(`user ${id}`, written.version);
}

function toPushedUser(person: Person): PushedUser {
  const text = (value: unknown) => (typeof value === 'string' ? value : null);
  const attributes: Record<string, string | number> = {};
  const named = {
    userName: person.username ?? person.id,
    externalId: `external-${person.id}`,
    displayName: person.name,
    email: person.email,
    department: person.department,
    employeeNumber: person.employeeId,
    ...person.more,
  };
  for (const [name, value] of Object.entries(named)) {
    if (typeof value === 'string' || typeof value === 'number') attributes[name] = value;
  }
  return {
    anchor: person.id,
    userName: person.username ?? person.id,
    externalId: `external-${person.id}`,
    displayName: text(person.name),
    isActive: person.isActive ?? true,
    attributes,
    resource: { ...attributes, active: person.isActive ?? true },
  };
}

async function pushGroup(world: World, wired: Wired, id: string): Promise<void> {
  const team = wired.directory.teams.get(id);
  if (team === undefined) return;
  const key = `group ${id}`;
  const version = wired.versions.get(key);
  const { pushes } = world.engine.reconciliation;
  const written = await pushed(world, wired, async (tx, context) => {
    const group = {
      anchor: id,
      displayName: team.name,
      externalId: `external-${id}`,
      resource: { displayName: team.name },
    };
    await pushes.writeGroup(tx, context, group, version === undefined ? 'new' : { version });
    return pushes.changeMembers(tx, context, id, { replace: team.members });
  });
  wired.versions.set(key, written.version);
}

/** One request of the provider, whose effects are compared with the rows it wrote. */
async function pushed<T>(
  world: World,
  wired: Wired,
  work: (tx: TenantTx, context: PushContext) => Promise<T>,
): Promise<T> {
  const requestId = newId();
  const context = { tenantId: world.tenantId, connectionId: wired.connectionId, requestId };
  return checkPush(world, requestId, () =>
    startingOver(
      (once) => world.watched.db.tenant(world.tenantId, once),
      (tx) => work(tx, context),
    ),
  );
}

/** Everything the provider has, pushed once more: what a provider does every few hours. */
export async function pushAgain(world: World, wired: Wired): Promise<void> {
  for (const id of wired.directory.people.keys()) await pushPerson(world, wired, id);
  for (const id of wired.directory.teams.keys()) await pushGroup(world, wired, id);
}
