/**
 * A directory in memory that speaks the connector contract: for tests of the engine, where a protocol would only be
 * in the way. It can shrink, fail midway, lose its history, and answer wrongly about what is absent.
 */
import { z } from 'zod';
import type {
  AbsenceVerdict,
  Connector,
  DirectoryEvent,
  DirectoryObject,
  FoundObject,
  ObjectReference,
} from '../../src/connectors/contract/contract.ts';
import { RollcallError } from '../../src/core/errors.ts';

export type Person = {
  readonly id: string;
  readonly username?: string | null;
  readonly email?: string | null;
  readonly name?: string;
  readonly department?: string | null;
  readonly employeeId?: string | null;
  readonly isActive?: boolean;
  /** Attributes by the directory's own names, beside those above. */
  readonly more?: DirectoryObject['attributes'];
};

export type Team = { readonly id: string; readonly name: string; readonly members: readonly string[] };

export class MemoryDirectory {
  readonly #kind: Connector['kind'];
  readonly people = new Map<string, Person>();
  readonly teams = new Map<string, Team>();
  /** Ids that a full read omits although they are there. */
  readonly hidden = new Set<string>();
  /** After this many events the read throws. */
  failAfter: number | null = null;
  /** Verdict for every absent id; null: what is true. */
  verdict: AbsenceVerdict['verdict'] | null = null;
  /** Verdicts for single ids, before `verdict`. */
  readonly verdicts = new Map<string, AbsenceVerdict['verdict']>();
  /** Called before each event; a test may stop the world there. */
  beforeEvent: (index: number) => Promise<void> = () => Promise.resolve();

  constructor(kind: Connector['kind'] = 'ldap') {
    this.#kind = kind;
  }

  put(...people: readonly Person[]): void {
    for (const person of people) this.people.set(person.id, { ...this.people.get(person.id), ...person });
  }

  team(id: string, name: string, members: readonly string[]): void {
    this.teams.set(id, { id, name, members });
  }

  connector(): Connector {
    return {
      kind: this.#kind,
      settingsSchema: z.looseObject({ port: z.int().default(636) }),
      secretsSchema: z.record(z.string(), z.unknown()),
      target: (settings) => JSON.stringify(settings),
      defaultMappings: () =>
        ['username', 'email', 'displayName', 'department', 'employeeId'].map((target) => ({
          target,
          expression: `object.${target}`,
        })),
      test: () => noSteps(),
      read: (request) => this.#read(request.signal),
      proveAbsent: (_request, _kind, anchors) => this.#prove(anchors),
      readObject: (_request, reference) => Promise.resolve(this.#find(reference)),
    };
  }

  async *#read(signal: AbortSignal): AsyncGenerator<DirectoryEvent> {
    let index = 0;
    for (const event of this.#events()) {
      signal.throwIfAborted();
      await this.beforeEvent(index);
      if (this.failAfter !== null && index >= this.failAfter) {
        throw new RollcallError('directory_incomplete', 'The connection was lost in the middle of the read.');
      }
      index += 1;
      yield event;
    }
    yield { type: 'complete', mode: 'full', cursor: null };
  }

  *#events(): Generator<DirectoryEvent> {
    for (const person of this.people.values()) {
      if (!this.hidden.has(person.id)) yield { type: 'upsert', object: toObject(person) };
    }
    for (const team of this.teams.values()) {
      if (this.hidden.has(team.id)) continue;
      yield {
        type: 'upsert',
        object: {
          kind: 'group',
          anchor: team.id,
          name: team.name,
          locator: null,
          isActive: true,
          inactiveReason: null,
          attributes: {},
        },
      };
      yield { type: 'members', groupAnchor: team.id, change: 'set', memberAnchors: team.members };
    }
  }

  #find(reference: ObjectReference): FoundObject[] {
    const isMeant = (person: Person): boolean =>
      'anchor' in reference
        ? person.id === reference.anchor
        : [person.username, person.email, person.name].includes(reference.name);
    return [...this.people.values()].filter(isMeant).map((person) => ({
      object: toObject(person),
      groups: [...this.teams.values()].filter((team) => team.members.includes(person.id)).map((team) => team.id),
    }));
  }

  async *#prove(anchors: readonly string[]): AsyncGenerator<AbsenceVerdict> {
    await Promise.resolve();
    for (const anchor of anchors) {
      const isThere = this.people.has(anchor) || this.teams.has(anchor);
      yield { anchor, verdict: this.verdicts.get(anchor) ?? this.verdict ?? (isThere ? 'present' : 'deleted') };
    }
  }
}

async function* noSteps(): AsyncGenerator<never> {
  // a directory in memory has nothing to reach
}

function toObject(person: Person): DirectoryObject {
  return {
    kind: 'user',
    anchor: person.id,
    name: person.name ?? person.id,
    locator: person.username ?? null,
    isActive: person.isActive ?? true,
    inactiveReason: person.isActive === false ? 'disabled' : null,
    attributes: {
      username: person.username ?? null,
      email: person.email ?? null,
      displayName: person.name ?? null,
      department: person.department ?? null,
      employeeId: person.employeeId ?? null,
      ...person.more,
    },
  };
}
