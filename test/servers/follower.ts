/**
 * Follows a directory by increments the way the engine does, and compares after each of them with a full read: the proof
 * that nothing was missed. `playHistory` makes the changes, any number of them from one seed.
 */
import { expect } from 'vitest';
import type { Cursor, DirectoryEvent } from '../../src/connectors/contract/contract.ts';
import type { OpenHandle } from './directory-handle.ts';
import { seededRandom } from './ldif.ts';
import { Mirror } from './mirror.ts';

type Read<Overrides> = (
  mode: 'full' | 'delta',
  cursor: Cursor | null,
  overrides: Overrides,
) => Promise<DirectoryEvent[]>;

/** What the engine knows, kept up to date the way the engine does it. */
export class Follower<Overrides extends object> {
  readonly mirror = new Mirror();
  cursor: Cursor | null = null;
  readonly #read: Read<Overrides>;
  readonly #overrides: Overrides;

  constructor(read: Read<Overrides>, overrides: Overrides) {
    this.#read = read;
    this.#overrides = overrides;
  }

  async full(): Promise<this> {
    this.#take(await this.#read('full', null, this.#overrides));
    return this;
  }

  /** The events of an increment; after a `reset` nothing is taken over. */
  async delta(overrides: Partial<Overrides> = {}): Promise<DirectoryEvent[]> {
    const events = await this.#read('delta', this.cursor, { ...this.#overrides, ...overrides });
    if (!events.some(({ type }) => type === 'reset')) this.#take(events);
    return events;
  }

  #take(events: readonly DirectoryEvent[]): void {
    const last = events.at(-1);
    if (last?.type !== 'complete') throw new Error('The read did not complete.');
    this.mirror.apply(events);
    this.cursor = last.cursor;
  }

  /** An increment, after which the mirror says what a full read says. */
  async expectInStep(): Promise<DirectoryEvent[]> {
    const events = await this.delta();
    expect(events.filter(({ type }) => type === 'reset')).toEqual([]);
    const truth = new Mirror();
    truth.apply(await this.#read('full', null, this.#overrides));
    expect(this.mirror.effective()).toEqual(truth.effective());
    return events;
  }
}

type People = { readonly users: string[]; readonly groups: string[] };

type HistoryOptions = {
  readonly name: string;
  readonly steps: number;
  /** Increments come after one to so many changes. */
  readonly mostAtOnce?: number;
  /** Further kinds of change, as likely as each of the usual ones. */
  readonly more?: readonly ((user: string, group: string) => Promise<void>)[];
};

/** Random changes, and increments in between that leave nothing out. */
export async function playHistory<Overrides extends object>(
  directory: OpenHandle,
  follower: Follower<Overrides>,
  { users, groups }: People,
  { name, steps, mostAtOnce = 1, more = [] }: HistoryOptions,
): Promise<void> {
  const seed = Number(process.env['ROLLCALL_SEED'] ?? 20_261_122);
  console.log(`seed ${seed} (${name})`);
  const random = seededRandom(seed);
  const pick = (list: readonly string[]): string => list[Math.floor(random() * list.length)] ?? '';
  const members = new Map(groups.map((group) => [group, new Set(follower.mirror.edgesOf(group))]));
  let fresh = 0;
  for (let step = 0; step < steps; step += 1) {
    const [user, group] = [pick(users), pick(groups)];
    const kind = Math.floor(random() * (8 + more.length));
    if (kind === 0) users.push(await directory.addUser({ name: `r-${name}-new${fresh++}` }));
    else if (kind === 1 && users.length > 4) {
      users.splice(users.indexOf(user), 1);
      await directory.deleteUser(user);
    } else if (kind === 2) await directory.setEmail(user, `${step}@example.org`);
    else if (kind === 3) await directory.renameUser(user, `r-${name}-renamed${fresh++}`);
    else if (kind === 4) await directory.disableUser(user);
    else if (kind >= 8) await more[kind - 8]?.(user, group);
    else await toggleMember(directory, members.get(group) ?? new Set(), group, user);
    if (random() * mostAtOnce < 1 || step === steps - 1) await follower.expectInStep();
  }
}

async function toggleMember(directory: OpenHandle, members: Set<string>, group: string, user: string): Promise<void> {
  if (members.delete(user)) await directory.removeMembers(group, [user]);
  else {
    members.add(user);
    await directory.addMembers(group, [user]);
  }
}
