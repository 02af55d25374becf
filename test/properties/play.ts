/** Plays a history in the engine and in the model, event by event, and says how everybody stands in each. */
import { expect } from 'vitest';
import type { Db } from '../../src/db/db.ts';
import { pushAgain } from '../scenarios/directory-steps.ts';
import { expectMembershipsOfGrants } from '../scenarios/promises.ts';
import { approve, findWaiting, run } from '../scenarios/runs.ts';
import { parseScenarios, type Scenario } from '../scenarios/schema.ts';
import { takeStep } from '../scenarios/steps.ts';
import { createWorld, findUserId, findWired, outOfDomain, type World } from '../scenarios/world.ts';
import type { Event } from './histories.ts';
import { Model, type Fields, type Rules, type Standing } from './model.ts';

const people = ['p1', 'p2', 'p3', 'p4'];

const story = {
  name: 'a history',
  given: {
    connection: { roles: rolesOf({ ceiling: 'view_only_admin', hasOps: true }), ceiling: 'view_only_admin' },
    directory: { people: { 'p1..p4': {} }, groups: { Inner: [], Staff: ['p1', 'p2', 'Inner'], Ops: ['p2', 'p3'] } },
    second: {
      connection: { kind: 'scim', ceiling: 'user', roles: [{ group: 'Crew', role: 'user' }] },
      directory: { people: { q1: {}, q2: {} }, groups: { Core: [], Crew: ['q1', 'Core'] } },
    },
  },
};

function rolesOf(rules: Rules): unknown[] {
  return [{ group: 'Staff', role: 'user' }, ...(rules.hasOps ? [{ group: 'Ops', role: 'view_only_admin' }] : [])];
}

/** Steps in the words of a scenario, checked by its schema. */
function toSteps(events: readonly Event[]): Scenario {
  const { scenarios } = parseScenarios(
    'history',
    JSON.stringify({ subject: 'x', scenarios: [{ ...story, when: events }] }),
  );
  const [scenario] = scenarios;
  if (scenario === undefined) throw new Error('A history is no scenario.');
  return scenario;
}

export async function play(db: Db, events: readonly Event[]): Promise<void> {
  const world = await createWorld(db, toSteps(['sync']), 'pull');
  const model = new Model();
  await begin(world, model);
  for (const event of events) await take(world, model, event);
  await take(world, model, { directory: { proof: 'the truth' } });
  await take(world, model, { sync: 'approved' });
  await pushAgain(world, findWired(world, 'Second'));
  model.settleProvider();
  expect(Object.fromEntries(await standingOf(world, model))).toEqual(Object.fromEntries(model.expected()));
  await expectMembershipsOfGrants(world);
  await run(world, findWired(world, null));
  expect(
    world.lastRun === null ? [] : await world.engine.changes(world.lastRun.id),
    'a further run has an empty plan',
  ).toEqual([]);
}

async function begin(world: World, model: Model): Promise<void> {
  const { directory, second } = story.given;
  await takeAll(world, [{ directory }, { directory: second.directory, in: 'Second' }, { sync: 'approved' }]);
  for (const id of people) model.put(false, id, {});
  for (const [name, members] of Object.entries(directory.groups)) model.group(false, name, members);
  for (const id of ['q1', 'q2']) model.put(true, id, {});
  for (const [name, members] of Object.entries(second.directory.groups)) model.group(true, name, members);
  model.read();
}

async function takeAll(world: World, events: readonly Event[]): Promise<void> {
  for (const step of toSteps(events).when) await takeStep(world, world, step);
}

type Change = {
  readonly people?: Readonly<Record<string, Fields | 'deleted' | 'unseen' | 'seen'>>;
  readonly groups?: Readonly<Record<string, readonly string[]>>;
  readonly proof?: string;
};

async function take(world: World, model: Model, event: Event): Promise<void> {
  if (typeof event === 'string') return;
  if ('directory' in event) return changeBoth(world, model, event['directory'] as Change, event['in'] === 'Second');
  if ('byHand' in event) return workByHand(world, model, event['byHand'] as Readonly<Record<string, unknown>>);
  if ('swap' in event) return swap(world, model, event['swap'] as [string, string]);
  if ('rules' in event) {
    const rules = event['rules'] as Rules;
    await takeAll(world, [{ connection: { ceiling: rules.ceiling, roles: rolesOf(rules) } }]);
    model.rules = rules;
    return;
  }
  if ('broken' in event) {
    // a read that breaks off says nothing: the model does not hear of it
    await takeAll(world, [
      { directory: { read: `breaks after ${String(event['broken'])}` } },
      'sync',
      { directory: { read: 'fine' } },
    ]);
    return;
  }
  await takeAll(world, [event]);
  const wired = findWired(world, null);
  if ((await findWaiting(world, wired)) !== null) await approve(world, wired, { actor: 'operator:test', digest: null });
  model.read();
}

async function changeBoth(world: World, model: Model, change: Change, isPushed: boolean): Promise<void> {
  const source = model.source(isPushed);
  const told = Object.entries(change.people ?? {}).filter(([id, value]) => {
    if (typeof value !== 'string') return !(isPushed && isGone(world, id));
    return source.people.has(id);
  });
  for (const [id, word] of told) {
    const value = isPushed ? word : underOldName(model, id, word);
    await takeAll(world, [{ directory: { people: { [id]: value } }, ...(isPushed ? { in: 'Second' } : {}) }]);
    if (value === 'deleted') model.delete(isPushed, id);
    else if (value === 'unseen') model.unseen.add(id);
    else if (value === 'seen') model.unseen.delete(id);
    else model.put(isPushed, id, value);
  }
  for (const [name, members] of Object.entries(change.groups ?? {})) {
    await takeAll(world, [{ directory: { groups: { [name]: members } }, ...(isPushed ? { in: 'Second' } : {}) }]);
    model.group(isPushed, name, members);
  }
  if (change.proof !== undefined) {
    await takeAll(world, [{ directory: { proof: change.proof } }]);
    model.isProving = change.proof === 'the truth';
  }
}

/** Who comes back to a directory does so under the username they left with: their own may be somebody else's by a swap. */
function underOldName(model: Model, id: string, word: Fields | 'deleted' | 'unseen' | 'seen'): typeof word {
  const username = model.users.get(id)?.username;
  if (typeof word === 'string' || model.directory.people.has(id) || username === undefined) return word;
  return { username, ...word };
}

/** A provider makes somebody anew under another id; a deleted one does not come back. */
function isGone(world: World, id: string): boolean {
  const wired = findWired(world, 'Second');
  return wired.versions.has(`user ${id}`) && !wired.directory.people.has(id);
}

async function workByHand(world: World, model: Model, hand: Readonly<Record<string, unknown>>): Promise<void> {
  const [verb = ''] = Object.keys(hand);
  const name = String(hand['to'] ?? hand['from'] ?? hand[verb]);
  const user = model.users.get(name);
  if (user === undefined || (verb === 'revoke' && !user.given.has('user'))) return;
  await takeAll(world, [{ byHand: hand }]);
  if (verb === 'grant') user.byHand.add('billing_admin');
  if (verb === 'protect') user.isProtected = true;
  if (verb === 'unprotect') user.isProtected = false;
  if (verb === 'suspend') [user.status, user.by] = ['suspended', 'hand'];
  if (verb === 'revoke') {
    user.given.delete('user');
    user.isExcluded = true;
  }
  if (verb !== 'edit') return;
  const { department } = hand['set'] as { department: string | null };
  if (department !== user.department) [user.department, user.isByHand] = [department, true];
}

/** Two people who are there, read at once, because a name that a leaver still has is a person's decision. */
async function swap(world: World, model: Model, pair: readonly [string, string]): Promise<void> {
  const [one, other] = pair.map((id) => model.directory.people.get(id));
  const areFree = pair.every((id) => {
    const user = model.users.get(id);
    const isSame = user?.username === model.directory.people.get(id)?.username;
    return user !== undefined && !user.isProtected && isSame && !model.unseen.has(id);
  });
  if (one === undefined || other === undefined || !areFree) return;
  await changeBoth(
    world,
    model,
    { people: { [pair[0]]: { username: other.username }, [pair[1]]: { username: one.username } } },
    false,
  );
  await take(world, model, { sync: 'approved' });
}

async function standingOf(world: World, model: Model): Promise<Map<string, Standing>> {
  const found = new Map<string, Standing>();
  for (const id of [...people, 'q1', 'q2', 'q3']) {
    const userId = await findUserId(world, id);
    if (userId === null) continue;
    const user = await world.users.get(world.operator, userId);
    found.set(id, {
      status: user.status,
      suspendedBy: user.suspendedBy === null ? null : user.suspendedBy === 'manual' ? 'hand' : 'directory',
      name: user.displayName ?? '',
      username: outOfDomain(world, user.username) ?? '',
      department: user.department,
      roles: [...new Set(user.grants.map((grant) => grant.role))].toSorted(),
    });
  }
  return new Map(
    [...model.users.keys(), ...found.keys()].flatMap((id) => {
      const standing = found.get(id);
      return standing === undefined ? [] : [[id, standing]];
    }),
  );
}
