/**
 * A directory that exists only as arithmetic, so that a bench of the engine measures the engine: a million people and
 * millions of memberships without holding one of them. Each state is a function of a few numbers.
 */
import type { Connector, DirectoryEvent, DirectoryObject } from '../../src/connectors/contract/contract.ts';
import { z } from 'zod';

export type DirectoryState = {
  readonly users: number;
  readonly membershipsPerUser: number;
  /** Each hundredth person has this in the job title: another number is 1 % of all people changed. */
  readonly wave: number;
  /** Moves this many of every 1,000 memberships to another person. */
  readonly movedPerMille: number;
  readonly domain: string;
};

/** People per group; a group holds this many for each membership a person has. */
const block = 1_000;
const stride = 17;

export function groupCount(state: DirectoryState): number {
  return Math.ceil(state.users / block);
}

export function anchorOf(index: number): string {
  const hex = index.toString(16).padStart(12, '0');
  return `5a000000-0000-4000-8000-${hex}`;
}

function groupAnchor(index: number): string {
  return `6a000000-0000-4000-8000-${index.toString(16).padStart(12, '0')}`;
}

export function userOf(state: DirectoryState, index: number): DirectoryObject {
  const userName = `person${index}@${state.domain}`;
  return {
    kind: 'user',
    anchor: anchorOf(index),
    name: `Person ${index}`,
    locator: userName,
    isActive: true,
    inactiveReason: null,
    attributes: {
      username: userName,
      email: `person${index}@mail.example`,
      displayName: `Person ${index}`,
      givenName: 'Person',
      familyName: String(index),
      department: `Department ${index % 40}`,
      jobTitle: index % 100 === 7 ? `Title ${state.wave}` : 'Title',
      employeeId: String(1_000_000 + index),
    },
  };
}

/** Members of one group: a block of people for each membership, some of them moved on by one. */
export function membersOf(state: DirectoryState, group: number): string[] {
  const groups = groupCount(state);
  const members: string[] = [];
  for (let round = 0; round < state.membershipsPerUser; round += 1) {
    const from = ((group + round * stride) % groups) * block;
    for (let place = 0; place < block; place += 1) {
      const isMoved = (place * 7919 + group) % 1_000 < state.movedPerMille;
      const index = from + place + (isMoved ? block : 0);
      members.push(anchorOf(index % state.users));
    }
  }
  return [...new Set(members)];
}

export async function* readState(state: DirectoryState, signal: AbortSignal): AsyncGenerator<DirectoryEvent> {
  for (let index = 0; index < state.users; index += 1) {
    // as a protocol would: pages come one after the other, and the loop breathes between them
    if (index % block === 0) {
      signal.throwIfAborted();
      await new Promise<void>((resolve) => setImmediate(resolve));
    }
    yield { type: 'upsert', object: userOf(state, index) };
  }
  for (let group = 0; group < groupCount(state); group += 1) {
    const anchor = groupAnchor(group);
    const object = { kind: 'group', anchor, name: `Group ${group}`, locator: null, isActive: true } as const;
    yield { type: 'upsert', object: { ...object, inactiveReason: null, attributes: {} } };
    yield { type: 'members', groupAnchor: anchor, change: 'set', memberAnchors: membersOf(state, group) };
  }
  yield { type: 'complete', mode: 'full', cursor: null };
}

export function stateConnector(state: () => DirectoryState): Connector {
  return {
    kind: 'ldap',
    settingsSchema: z.looseObject({}),
    secretsSchema: z.record(z.string(), z.unknown()),
    target: (settings) => JSON.stringify(settings),
    defaultMappings: () =>
      Object.keys(userOf(state(), 0).attributes).map((target) => ({ target, expression: `object.${target}` })),
    test: () => noSteps(),
    read: (request) => readState(state(), request.signal),
    proveAbsent: () => noSteps(),
    readObject: () => Promise.resolve([]),
  };
}

async function* noSteps(): AsyncGenerator<never> {
  // arithmetic has nothing to reach, and nobody is ever absent
}
