/**
 * The simulator's own acceptance: whatever happens to the directory, and whatever goes wrong on the way, a client that
 * does as the documentation says knows after one baseline what is visible, and after rounds everything but the
 * documented blind spots. The client here is as simple as can be and shares nothing with the product.
 */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { scale } from '../../setup/full.ts';
import type { Answer, Ask } from './ask.ts';
import { codeOf, createAsk } from './ask.ts';
import type { EntraSimulator } from './entra.ts';
import { startEntraSimulator } from './entra.ts';
import type { FaultType } from './faults.ts';
import { createVirtualClock } from './harness.ts';

type Resource = 'users' | 'groups';
type Known = {
  readonly objects: Map<string, string>;
  /** Kept also for what lies in the recycle bin: its return is not told. */
  readonly edges: Map<string, Set<string>>;
  readonly links: Map<Resource, string>;
};
type Item = Record<string, unknown>;

const select: Readonly<Record<Resource, string>> = {
  users: 'displayName,mail,accountEnabled',
  groups: 'displayName,members',
};

const emptyKnown = (): Known => ({ objects: new Map(), edges: new Map(), links: new Map() });

class Restart extends Error {
  override readonly name = 'Restart';
}

/** One page, or null for what a second attempt may heal. */
function judge(answer: Answer): Answer | null {
  const code = String(codeOf(answer)).toLowerCase();
  if (answer.status === 410 || code === 'syncstatenotfound' || code === 'resyncrequired') throw new Restart(code);
  if (answer.status !== 200 || !Array.isArray(answer.body['value'])) return null;
  const links = [answer.body['@odata.nextLink'], answer.body['@odata.deltaLink']].filter((link) => link !== undefined);
  return links.length === 1 ? answer : null;
}

async function getPage(ask: Ask, url: string): Promise<Answer> {
  for (let attempt = 0; attempt < 6; attempt += 1) {
    try {
      const page = judge(await ask(url));
      if (page !== null) return page;
    } catch (error) {
      // a connection that broke off is asked again
      if (error instanceof Restart) throw error;
    }
  }
  throw new Error(`${url} does not heal.`);
}

function take(known: Known, item: Item): void {
  const id = String(item['id']);
  const removed = item['@removed'] as { reason: string } | undefined;
  if (removed !== undefined) {
    known.objects.delete(id);
    if (removed.reason === 'deleted') known.edges.delete(id);
    return;
  }
  const { 'members@delta': changes, ...rest } = item;
  known.objects.set(id, contentOf(rest));
  const edges = known.edges.get(id) ?? new Set<string>();
  for (const member of (changes ?? []) as Item[]) {
    if (member['@removed'] === undefined) edges.add(String(member['id']));
    else edges.delete(String(member['id']));
  }
  known.edges.set(id, edges);
}

/** Never set and cleared are the same. */
const contentOf = (properties: Readonly<Record<string, unknown>>): string =>
  JSON.stringify(
    Object.entries(properties)
      .filter(([name, value]) => name !== 'id' && value !== null && value !== undefined)
      .toSorted(([a], [b]) => (a < b ? -1 : 1)),
  );

/** A round of both lists; what it says counts only once both reached their end. */
async function readRounds(ask: Ask, known: Known, onPage: () => void): Promise<Known> {
  const items: Item[] = [];
  const links = new Map<Resource, string>();
  for (const resource of ['users', 'groups'] as const) {
    let url = known.links.get(resource) ?? `/v1.0/${resource}/delta?$select=${select[resource]}`;
    for (;;) {
      const { body } = await getPage(ask, url);
      items.push(...(body['value'] as Item[]));
      onPage();
      const end = body['@odata.deltaLink'];
      if (typeof end === 'string') {
        links.set(resource, end);
        break;
      }
      url = String(body['@odata.nextLink']);
    }
  }
  for (const item of items) take(known, item);
  return { ...known, links };
}

async function sync(ask: Ask, known: Known, onPage: () => void): Promise<Known> {
  try {
    return await readRounds(ask, known, onPage);
  } catch (error) {
    if (!(error instanceof Restart)) throw error;
    return sync(ask, emptyKnown(), onPage);
  }
}

type Seen = { readonly objects: Record<string, string>; readonly edges: Record<string, string[]> };

function seenBy(known: Known, blind: ReadonlySet<string>): Seen {
  const isShown = (id: string): boolean => known.objects.has(id) && !blind.has(id);
  const objects = Object.fromEntries([...known.objects].filter(([id]) => !blind.has(id)));
  const edges: Record<string, string[]> = {};
  for (const [group, members] of known.edges) {
    const live = [...members].filter(isShown).toSorted();
    if (isShown(group) && live.length > 0) edges[group] = live;
  }
  return { objects, edges };
}

function visibleIn(simulator: EntraSimulator): Known {
  const known = emptyKnown();
  for (const entry of simulator.tenant.entries.values()) {
    if (entry.deletion !== null) continue;
    const names = (entry.type === 'user' ? select.users : select.groups).split(',');
    const properties = names.map((name) => [name, entry.properties.get(name)?.value] as const);
    known.objects.set(entry.id, contentOf(Object.fromEntries(properties)));
    const members = [...entry.edges.values()].filter((edge) => edge.isPresent).map((edge) => edge.memberId);
    known.edges.set(entry.id, new Set(members));
  }
  return known;
}

type Mutation = { readonly kind: number; readonly first: number; readonly second: number };

function pick(simulator: EntraSimulator, type: 'user' | 'group', isLive: boolean, index: number): string | null {
  const found = [...simulator.tenant.entries.values()].filter(
    (entry) => entry.type === type && (isLive ? entry.deletion === null : entry.deletion?.kind === 'soft'),
  );
  return found.length === 0 ? null : (found[index % found.length]?.id ?? null);
}

/** Adds to `blind` what the documentation says nobody is told of. */
function mutate(simulator: EntraSimulator, { kind, first, second }: Mutation, blind: Set<string>): void {
  const { tenant } = simulator;
  const user = pick(simulator, 'user', true, first);
  const group = pick(simulator, 'group', true, second);
  const binned = pick(simulator, first % 2 === 0 ? 'user' : 'group', false, second);
  if (kind === 0 || user === null) tenant.createUser({ displayName: `U${first}`, mail: `u${first}@contoso.example` });
  else if (kind === 1 || group === null) {
    tenant.createGroup({ displayName: `G${first}`, groupTypes: first % 2 === 0 ? ['Unified'] : [] });
  } else if (kind === 2)
    tenant.patchUser(user, { displayName: `R${second}`, mail: second % 3 === 0 ? null : `${second}@x` });
  else if (kind === 3) tenant.softDelete(user);
  else if (kind === 4) tenant.hardDelete(user);
  else if (kind === 5) tenant.deleteGroup(group);
  else if (kind === 6 && binned !== null) {
    tenant.restore(binned);
    blind.add(binned);
  } else if (kind === 7) {
    const members = [...(tenant.entries.get(group)?.edges.values() ?? [])].filter((edge) => edge.isPresent);
    const member = members[first % Math.max(1, members.length)];
    if (member !== undefined) tenant.removeMember(group, member.memberId);
  } else if (kind === 8) tenant.addMember(group, pick(simulator, 'group', true, first) ?? user);
  else tenant.addMember(group, user);
}

const healing = [
  'server_error',
  'bad_gateway_html',
  'unavailable',
  'gateway_timeout',
  'html',
  'empty_object',
  'malformed',
  'truncated',
  'reset',
  'reset_in_body',
  'missing_value',
  'value_not_array',
  'neither_link',
  'both_links',
  'not_found',
  'duplicate_ids',
  'drip',
] as const satisfies readonly FaultType[];
const resetting = ['gone', 'gone_sync_state', 'sync_state_not_found'] as const satisfies readonly FaultType[];

const mutation = fc.record({ kind: fc.nat({ max: 10 }), first: fc.nat({ max: 30 }), second: fc.nat({ max: 30 }) });
const schedule = fc.record({
  seed: fc.nat(),
  before: fc.array(mutation, { maxLength: 25 }),
  rounds: fc.array(
    fc.record({
      between: fc.array(mutation, { maxLength: 6 }),
      during: fc.array(mutation, { maxLength: 3 }),
      lag: fc.nat({ max: 4 }),
      replayed: fc.nat({ max: 5 }),
      fault: fc.option(
        fc.record({
          route: fc.constantFrom('users/delta' as const, 'groups/delta' as const),
          type: fc.constantFrom(...healing, ...resetting),
          ordinal: fc.integer({ min: 1, max: 3 }),
        }),
      ),
    }),
    { maxLength: 4 },
  ),
  showsRestored: fc.boolean(),
});

type Schedule = typeof schedule extends fc.Arbitrary<infer T> ? T : never;

async function play(given: Schedule): Promise<void> {
  const clock = createVirtualClock();
  const simulator = await startEntraSimulator({
    seed: given.seed,
    now: () => clock.now(),
    behavior: {
      userPageSize: 3,
      groupPageSize: 2,
      edgesPerPage: 2,
      emptyPageEvery: 3,
      showsRestored: given.showsRestored,
    },
  });
  const token = simulator.issueToken(86_400);
  const ask = createAsk(simulator, () => token);
  const blind = new Set<string>();
  try {
    for (const change of given.before) mutate(simulator, change, new Set());
    let known = await sync(ask, emptyKnown(), () => undefined);
    expect(seenBy(known, blind), 'after the first baseline').toEqual(seenBy(visibleIn(simulator), blind));
    for (const round of given.rounds) {
      simulator.behavior.replayedChanges = round.replayed;
      simulator.tenant.lag(round.lag);
      for (const change of round.between) mutate(simulator, change, blind);
      if (round.fault !== null) simulator.fault(round.fault);
      const during = [...round.during];
      known = await sync(ask, known, () => {
        const change = during.shift();
        if (change !== undefined) mutate(simulator, change, blind);
      });
      simulator.clearFaults();
    }
    simulator.tenant.settle();
    known = await sync(ask, known, () => undefined);
    expect(seenBy(known, blind), 'after rounds').toEqual(seenBy(visibleIn(simulator), blind));
    const fresh = await sync(ask, emptyKnown(), () => undefined);
    expect(seenBy(fresh, new Set()), 'after the last baseline').toEqual(seenBy(visibleIn(simulator), new Set()));
  } finally {
    ask.close();
    await simulator.stop();
  }
}

const numRuns = scale(60, 1_000);

test('a correct client knows what is visible, but for the documented blind spots', { timeout: 600_000 }, async () => {
  await fc.assert(fc.asyncProperty(schedule, play), { numRuns, seed: 20_261_122 });
});

test('the blind spots are there: nobody is told of a restored user, nor of a soft-deleted member', async () => {
  const simulator = await startEntraSimulator({ seed: 5, behavior: { showsRestored: false } });
  const token = simulator.issueToken(86_400);
  const ask = createAsk(simulator, () => token);
  const user = simulator.tenant.createUser({ displayName: 'Here and gone' });
  const group = simulator.tenant.createGroup({ displayName: 'team' });
  simulator.tenant.addMember(group, user);
  let known = await sync(ask, emptyKnown(), () => undefined);
  simulator.tenant.softDelete(user);
  known = await sync(ask, known, () => undefined);
  expect(known.edges.get(group)).toEqual(new Set([user]));
  simulator.tenant.restore(user);
  known = await sync(ask, known, () => undefined);
  expect(known.objects.has(user)).toBe(false);
  const fresh = await sync(ask, emptyKnown(), () => undefined);
  expect(fresh.objects.has(user)).toBe(true);
  ask.close();
  await simulator.stop();
});
