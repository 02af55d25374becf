/** What syncrepl says changed since the cookie: ids to read anew, and whether it told who was deleted. */
import { RollcallError } from '../../core/errors.ts';
import type { LdapCursor } from './cursor.ts';
import { dnKey } from './dn.ts';
import type { LdapEntry } from './entry.ts';
import { isPresent } from './filter.ts';
import type { ReadOptions } from './objects.ts';
import { messageTags } from './results.ts';
import { countIds, eachId, readSyncDone, readSyncInfo, readSyncState } from './sync-messages.ts';
import type { SyncState } from './sync-messages.ts';
import { suffixOf, syncControl } from './syncrepl.ts';

/** Above these a full read is quicker: each change costs a part of two searches, and one for its groups. */
const maxChanges = 20_000;
const alwaysFew = 1_000;
const mostShare = 0.1;
/** Ids in all, of what did not change either; a server that tells more of them may never come to its end. */
const alwaysTold = 1_000_000;
const mostTimes = 20;

export type SyncChanges = {
  /** Ids of whatever changed or is gone, of any kind. */
  readonly ids: readonly string[];
  /** The next position: the server's newest change when it was asked. */
  readonly cookie: string;
  /** False: all ids have to be looked at. */
  readonly tellsDeletions: boolean;
};

/** The changes, or why only a full read can tell. */
export async function readSyncChanges(options: ReadOptions, from: LdapCursor): Promise<SyncChanges | string> {
  if (from.position.by !== 'syncrepl') return 'The stored position is of another kind.';
  const cookie = Buffer.from(from.position.cookie, 'base64');
  try {
    return await ask(options, from, cookie);
  } catch (error) {
    if (!(error instanceof RollcallError)) throw error;
    if (error.code === 'directory_history_lost') return error.message;
    if (!refused.has(Number(error.details['resultCode']))) throw error;
    return `The server does not take the stored position: ${error.raw ?? error.message}`;
  }
}

/**
 * The server wants everybody to begin anew (4096, e-syncRefreshRequired), was restored from an older state (53), does
 * not offer the control any more (12), took the right away (50), or tells no more than its limits allow (3, 4, 11),
 * which a full read in pages may get around.
 */
const refused = new Set([3, 4, 11, 12, 50, 53, 80, 4_096]);

async function ask(options: ReadOptions, from: LdapCursor, cookie: Buffer): Promise<SyncChanges | string> {
  const { directory } = options;
  const known = from.users + from.groups;
  const seen = new Observer(known);
  const suffix = suffixOf(directory);
  const top = dnKey(suffix);
  const since = newestOf(cookie);
  const reading = directory.session.search({
    base: suffix,
    scope: 'sub',
    filter: isPresent('objectClass'),
    attributes: ['hasSubordinates', 'createTimestamp'],
    controls: [syncControl(cookie)],
    observe: (tag, message) => seen.message(tag, message),
    doing: 'asking for changes',
  });
  try {
    for (;;) {
      const { done, value } = await reading.next();
      if (done === true) {
        const end = readSyncDone(value);
        const next = end.cookie ?? seen.cookie ?? cookie;
        // slapd answers a cookie it can not read by everything and an empty one
        if (next.length === 0) return 'The server does not know the stored position.';
        return { ids: [...seen.ids], cookie: next.toString('base64'), tellsDeletions: end.refreshDeletes };
      }
      for (const entry of value) {
        if (!seen.isChanged()) continue;
        // The topmost entry is there from the first day: whoever tells of it tells of everything.
        if (dnKey(entry.dn) === top) return 'The server told everything anew: it does not know the stored position.';
        if (mayHaveMoved(entry, since)) {
          return `${entry.dn} changed: it may have been renamed or moved, and everybody below it with it.`;
        }
      }
    }
  } finally {
    // tells the server as well that nobody listens any more
    await reading.return(undefined as never);
  }
}

/** Collects what stands beside the entries, in the order of the messages. */
class Observer {
  readonly ids = new Set<string>();
  cookie: Buffer | null = null;
  /** Of entries that were not handed on yet. */
  readonly #states: SyncState['state'][] = [];
  readonly #mostChanges: number;
  readonly #mostTold: number;
  #told = 0;

  constructor(known: number) {
    this.#mostChanges = Math.min(maxChanges, Math.max(alwaysFew, Math.floor(known * mostShare)));
    this.#mostTold = Math.max(alwaysTold, known * mostTimes);
  }

  message(tag: number, message: Buffer): void {
    if (tag === messageTags.searchEntry) this.#entry(readSyncState(message));
    else if (tag === messageTags.intermediate) this.#info(message);
  }

  /** Of the next entry that is handed on. */
  isChanged(): boolean {
    const state = this.#states.shift();
    return state === 'add' || state === 'modify';
  }

  #entry({ state, id }: SyncState): void {
    this.#states.push(state);
    if (state === 'present') this.#count(1);
    else this.#add(id);
  }

  #info(message: Buffer): void {
    const info = readSyncInfo(message);
    if (info.cookie !== null && info.cookie.length > 0) this.cookie = info.cookie;
    if (info.kind !== 'idSet') return;
    // who is there without a change is found by looking at all ids, under base and filter
    if (info.refreshDeletes) for (const id of eachId(info.ids)) this.#add(id);
    else this.#count(countIds(info.ids));
  }

  #add(id: string): void {
    this.#count(1);
    this.ids.add(id);
    if (this.ids.size <= this.#mostChanges) return;
    throw leftToFullRead(`More than ${this.#mostChanges} entries changed, or the server forgot the position.`);
  }

  #count(more: number): void {
    this.#told += more;
    if (this.#told > this.#mostTold) throw leftToFullRead(`The server tells of more than ${this.#mostTold} entries.`);
  }
}

/** Thrown, because a server that tells of ids alone gives nobody a turn in between. */
function leftToFullRead(reason: string): RollcallError {
  return new RollcallError('directory_history_lost', reason, { raw: 'syncrepl' });
}

/**
 * The newest change that a cookie of slapd stands for (`rid=000,csn=20260102030405.000000Z#...;...`), to the second;
 * of several servers the latest.
 */
function newestOf(cookie: Buffer): number {
  const times = [...cookie.toString('latin1').matchAll(/(\d{4})(\d\d)(\d\d)(\d\d)(\d\d)(\d\d)\.\d+Z#/g)].map(
    ([, ...parts]) => {
      const [year = 0, month = 1, day = 0, hour = 0, minute = 0, second = 0] = parts.map(Number);
      return Date.UTC(year, month - 1, day, hour, minute, second);
    },
  );
  return times.length === 0 ? Number.POSITIVE_INFINITY : Math.max(...times);
}

/** Of a renamed entry everybody below got another name without a word. Below one made since then there was nobody. */
function mayHaveMoved(entry: LdapEntry, since: number): boolean {
  if (entry.bool('hassubordinates') === false) return false;
  const created = entry.generalizedTime('createtimestamp');
  return created === null || created.getTime() <= since;
}
