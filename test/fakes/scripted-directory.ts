/** A directory that says exactly what a test wrote down, read by read: for what only increments can say. */
import { z } from 'zod';
import type { Connector, DirectoryEvent, DirectoryObject } from '../../src/connectors/contract/contract.ts';

export class ScriptedDirectory {
  readonly #reads: DirectoryEvent[][] = [];
  /** Which reads were asked for. */
  readonly asked: ('full' | 'delta')[] = [];

  /** What the next read says; several calls are several reads. */
  says(...events: readonly DirectoryEvent[]): void {
    this.#reads.push([...events]);
  }

  connector(): Connector {
    return {
      kind: 'ldap',
      settingsSchema: z.looseObject({}),
      secretsSchema: z.looseObject({}),
      target: () => '',
      defaultMappings: () => ['displayName', 'username'].map((target) => ({ target, expression: `object.${target}` })),
      test: () => nothing(),
      read: (request) => this.#read(request.mode),
      proveAbsent: () => nothing(),
      readObject: () => Promise.resolve([]),
    };
  }

  async *#read(mode: 'full' | 'delta'): AsyncGenerator<DirectoryEvent> {
    await Promise.resolve();
    this.asked.push(mode);
    const events = this.#reads.shift();
    if (events === undefined) throw new Error('The script has no more reads.');
    yield* events;
  }
}

async function* nothing(): AsyncGenerator<never> {
  // a script has nothing to reach and proves nothing
}

export const user = (id: string, attributes: DirectoryObject['attributes'] = {}): DirectoryEvent => ({
  type: 'upsert',
  object: objectOf('user', id, { displayName: id, ...attributes }),
});

export const group = (id: string, name = id): DirectoryEvent => ({
  type: 'upsert',
  object: { ...objectOf('group', id, {}), name },
});

export const tombstone = (id: string, kind: 'user' | 'group' = 'user'): DirectoryEvent => ({
  type: 'tombstone',
  kind,
  anchor: id,
  isRestorable: false,
});

export const members = (
  groupAnchor: string,
  change: 'set' | 'add' | 'remove',
  ...memberAnchors: readonly string[]
): DirectoryEvent => ({ type: 'members', groupAnchor, change, memberAnchors });

export const absent = (id: string, kind: 'user' | 'group' = 'user'): DirectoryEvent => ({
  type: 'absent',
  kind,
  anchor: id,
});

export const sweep = (kind: 'user' | 'group', ...anchors: readonly string[]): DirectoryEvent => ({
  type: 'sweep',
  kind,
  anchors,
});

export const complete = (mode: 'full' | 'delta', position = 1): DirectoryEvent => ({
  type: 'complete',
  mode,
  cursor: { position },
});

function objectOf(
  kind: DirectoryObject['kind'],
  anchor: string,
  attributes: DirectoryObject['attributes'],
): DirectoryObject {
  return { kind, anchor, name: anchor, locator: null, isActive: true, inactiveReason: null, attributes };
}
