/**
 * Phase fetch: events of a connector -> stage, memory bounded. Mapping is computed per object as it passes; what the
 * mirror knows already is not staged. Nothing here means anything until `complete` was seen.
 */
import type { DirectoryEvent, DirectoryObject, Cursor } from '../../connectors/contract/contract.ts';
import { RollcallError } from '../../core/errors.ts';
import type { Mapper, MappingResult } from '../../core/mapping.ts';
import { contentOf } from './content.ts';
import { digestBytes, digestOf, SetFingerprint, type Digest, type Fingerprints } from './fingerprints.ts';
import type { StageWriter } from './stage.ts';

export type FetchCounts = {
  users: number;
  groups: number;
  memberships: number;
  staged: number;
  tombstones: number;
  outOfScope: number;
  problems: number;
  /** target -> objects with a value. */
  filled: Record<string, number>;
  notices: { code: string; message: string; count: number }[];
};

export type FetchResult = {
  readonly mode: 'full' | 'delta';
  readonly cursor: Cursor | null;
  readonly counts: FetchCounts;
};

export type KnownMirror = {
  /** Content of every object that is neither absent nor deleted; null in a delta read. */
  readonly objects: Fingerprints | null;
  /** Live group anchor -> fingerprint of its members as hex, where the last word about all of them was a full read. */
  readonly members: ReadonlyMap<string, string>;
};

type Ended = FetchResult | { readonly reset: string };

/** Edges kept in memory before they are staged whether or not their group changed. */
const maxBufferedEdges = 200_000;
const maxNoticeKinds = 50;

type GroupState = { readonly fingerprint: SetFingerprint; buffered: string[]; readonly setSeq: number };

export type FetchOptions = {
  readonly events: AsyncIterable<DirectoryEvent>;
  readonly mapper: Mapper;
  readonly known: KnownMirror;
  readonly stage: StageWriter;
  readonly onProgress: (objects: number) => void;
};

/** Returns null when the connector lost its history: nothing staged counts, a full read must follow. */
export async function fetchDirectory(options: FetchOptions): Promise<Ended> {
  const fetching = new Fetch(options);
  for await (const event of options.events) {
    const staged = fetching.take(event);
    // an object that is as it was asks for no promise, and nearly all of them are
    if (staged === null) continue;
    const ended = await staged;
    if (ended !== null) return ended;
  }
  throw new RollcallError('directory_incomplete', 'The directory stopped answering before its end mark.', {
    remedy: 'Nothing was changed; the next run reads again.',
  });
}

class Fetch {
  readonly #options: FetchOptions;
  readonly #groups = new Map<string, GroupState>();
  readonly #counts: FetchCounts = {
    users: 0,
    groups: 0,
    memberships: 0,
    staged: 0,
    tombstones: 0,
    outOfScope: 0,
    problems: 0,
    filled: {},
    notices: [],
  };
  /** Seen deleted in this read: if they show again, that is news even when their content is what we know. */
  readonly #tombstoned = new Set<string>();
  #bufferedEdges = 0;
  #seq = 0;

  constructor(options: FetchOptions) {
    this.#options = options;
  }

  /** Null when there was nothing to do for it. */
  take(event: DirectoryEvent): Promise<Ended | null> | null {
    return event.type === 'upsert' ? this.#takeObject(event.object) : this.#takeOther(event);
  }

  async #takeOther(event: Exclude<DirectoryEvent, { type: 'upsert' }>): Promise<Ended | null> {
    switch (event.type) {
      case 'members':
        await this.#takeMembers(event);
        return null;
      case 'tombstone':
        this.#counts.tombstones += 1;
        this.#seq += 1;
        this.#tombstoned.add(`${event.kind}:${event.anchor}`);
        await this.#options.stage.gone(this.#seq, event.kind, event.anchor);
        return null;
      case 'absent':
        await this.#options.stage.absent(event.kind, event.anchor);
        return null;
      case 'sweep':
        await this.#options.stage.swept(event.kind, event.anchors);
        return null;
      case 'notice':
        this.#takeNotice(event.code, event.message);
        return null;
      case 'reset':
        return { reset: event.reason };
      case 'complete':
        if (event.mode === 'full') await this.#stageChangedGroups();
        await this.#options.stage.flush();
        return { mode: event.mode, cursor: event.cursor, counts: this.#counts };
    }
  }

  #takeObject(object: DirectoryObject): Promise<null> | null {
    const result = object.kind === 'user' ? this.#options.mapper.map(object.attributes) : null;
    this.#count(result);
    const content = digestOf(contentOf(object, result));
    const { objects } = this.#options.known;
    const comparison = objects?.see(object.kind, object.anchor, content) ?? 'changed';
    if (object.kind === 'group' && objects !== null) this.#groupState(object.anchor);
    const total = this.#counts.users + this.#counts.groups;
    if (total % 500 === 0) this.#options.onProgress(total);
    const isBack = this.#tombstoned.size > 0 && this.#tombstoned.has(`${object.kind}:${object.anchor}`);
    return comparison === 'same' && !isBack ? null : this.#stageObject(object, result, content);
  }

  async #stageObject(object: DirectoryObject, result: MappingResult | null, content: Digest): Promise<null> {
    this.#counts.staged += 1;
    this.#seq += 1;
    await this.#options.stage.object(this.#seq, object, result, digestBytes(content));
    return null;
  }

  #count(result: MappingResult | null): void {
    if (result === null) {
      this.#counts.groups += 1;
      return;
    }
    this.#counts.users += 1;
    if (!result.isInScope) this.#counts.outOfScope += 1;
    if (result.problem !== null) this.#counts.problems += 1;
    const { filled } = this.#counts;
    for (const target of Object.keys(result.mapped)) {
      if (result.mapped[target] !== null) filled[target] = (filled[target] ?? 0) + 1;
    }
  }

  #groupState(anchor: string): GroupState {
    let state = this.#groups.get(anchor);
    if (state === undefined) {
      state = { fingerprint: new SetFingerprint(), buffered: [], setSeq: this.#seq };
      this.#groups.set(anchor, state);
    }
    return state;
  }

  async #takeMembers(event: Extract<DirectoryEvent, { type: 'members' }>): Promise<void> {
    this.#counts.memberships += event.memberAnchors.length;
    if (this.#options.known.objects === null) {
      this.#seq += 1;
      if (event.change === 'set') await this.#options.stage.groupSet(event.groupAnchor, this.#seq, null, null);
      else await this.#options.stage.groupTouched(event.groupAnchor);
      await this.#options.stage.edges(
        this.#seq,
        event.groupAnchor,
        event.memberAnchors,
        event.change === 'remove' ? '-' : '+',
      );
      return;
    }
    if (event.change === 'set') {
      // what was spilled of it before is older than this word
      this.#seq += 1;
      this.#groups.delete(event.groupAnchor);
    }
    const state = this.#groupState(event.groupAnchor);
    for (const anchor of event.memberAnchors) {
      state.fingerprint.add(anchor);
      state.buffered.push(anchor);
    }
    this.#bufferedEdges += event.memberAnchors.length;
    if (this.#bufferedEdges > maxBufferedEdges) await this.#spill();
  }

  /** A huge read: keep the fingerprints, hand the edges to the stage. Unchanged groups' edges are ignored there. */
  async #spill(): Promise<void> {
    this.#seq += 1;
    for (const [anchor, state] of this.#groups) {
      if (state.buffered.length === 0) continue;
      await this.#options.stage.edges(this.#seq, anchor, state.buffered, '+');
      state.buffered = [];
    }
    this.#bufferedEdges = 0;
  }

  async #stageChangedGroups(): Promise<void> {
    this.#seq += 1;
    for (const [anchor, state] of this.#groups) {
      const now = state.fingerprint.hex;
      // without a fingerprint nothing is known about its edges: increments wrote them, or it was away
      if (this.#options.known.members.get(anchor) === now) continue;
      await this.#options.stage.groupSet(anchor, state.setSeq, now, state.fingerprint.count);
      if (state.buffered.length > 0) await this.#options.stage.edges(this.#seq, anchor, state.buffered, '+');
    }
  }

  #takeNotice(code: string, message: string): void {
    const known = this.#counts.notices.find((notice) => notice.code === code);
    if (known !== undefined) known.count += 1;
    else if (this.#counts.notices.length < maxNoticeKinds) this.#counts.notices.push({ code, message, count: 1 });
  }
}
