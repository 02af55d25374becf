/**
 * The directory behind the simulator: every property, edge and deletion remembers the sequence number of its last
 * change, so that a delta round is a comparison with a number. Soft-deleted objects keep their edges, as Entra does
 * (directories.md A1, "Soft-deleted members"). With a lag, a change is seen only some requests later, as by a client
 * that is served from a replica.
 */
import type { Random } from './random.ts';

export type ObjectType = 'user' | 'group';
export type MemberType = ObjectType | 'device' | 'servicePrincipal' | 'orgContact';
export type PropertyValue = string | number | boolean | null | readonly string[] | Readonly<Record<string, unknown>>;

type Property = { value: PropertyValue; changedAt: number };
export type Edge = { readonly memberId: string; readonly type: MemberType; isPresent: boolean; changedAt: number };

export type DirectoryEntry = {
  readonly id: string;
  readonly type: ObjectType;
  readonly properties: Map<string, Property>;
  readonly edges: Map<string, Edge>;
  readonly createdAt: number;
  restoredAt: number;
  /** Null once it was taken away; undefined when there never was one. */
  manager?: { readonly id: string | null; readonly changedAt: number };
  deletion: { readonly kind: 'soft' | 'hard'; readonly changedAt: number } | null;
};

export type Properties = Readonly<Record<string, PropertyValue>>;

export type TenantState = {
  readonly entries: ReadonlyMap<string, DirectoryEntry>;
  /** Number of the last change. */
  sequence(): number;
  isLive(id: string): boolean;
  createUser(properties: Properties): string;
  patchUser(id: string, properties: Properties): void;
  setManager(id: string, managerId: string | null): void;
  createGroup(properties: Properties): string;
  patchGroup(id: string, properties: Properties): void;
  /** Into the recycle bin for 30 days: users and Microsoft 365 groups. */
  softDelete(id: string): void;
  restore(id: string): void;
  hardDelete(id: string): void;
  /** Security groups are gone at once, Microsoft 365 groups go to the recycle bin. */
  deleteGroup(id: string): void;
  addMember(groupId: string, memberId: string, type?: MemberType): void;
  removeMember(groupId: string, memberId: string): void;
  /** Coming changes are seen this many Graph requests after they are made, in their order. 0, as at first: at once. */
  lag(requests: number): void;
  /** A Graph request arrived. */
  tick(): void;
  /** Every change is seen. */
  settle(): void;
};

/** Why a change can not be made; null when it can. */
type Check = () => string | null;

export function createTenantState(random: Random): TenantState {
  const entries = new Map<string, DirectoryEntry>();
  const waiting: { readonly due: number; readonly run: () => void }[] = [];
  let sequence = 0;
  let requests = 0;
  let delay = 0;

  const act = (check: Check, run: () => void): void => {
    if (delay === 0 && waiting.length === 0) {
      const reason = check();
      if (reason !== null) throw new Error(reason);
      run();
      return;
    }
    const due = Math.max(requests + delay, waiting.at(-1)?.due ?? 0);
    // made before what it depends on is seen: what turns out to be impossible by then did not happen
    waiting.push({ due, run: () => (check() === null ? run() : undefined) });
  };
  const runDue = (until: number): void => {
    while (waiting[0] !== undefined && waiting[0].due <= until) waiting.shift()?.run();
  };
  const exists =
    (id: string, type?: ObjectType): Check =>
    () => {
      const entry = entries.get(id);
      return entry === undefined || (type !== undefined && entry.type !== type)
        ? `No ${type ?? 'object'} ${id}.`
        : null;
    };
  const withEntry = (id: string, change: (entry: DirectoryEntry) => void): (() => void) => {
    return () => {
      const entry = entries.get(id);
      sequence += 1;
      if (entry !== undefined) change(entry);
    };
  };
  const setProperties = (entry: DirectoryEntry, properties: Properties): void => {
    for (const [name, value] of Object.entries(properties)) entry.properties.set(name, { value, changedAt: sequence });
  };
  const create = (type: ObjectType, properties: Properties): string => {
    const id = random.guid();
    const run = (): void => {
      sequence += 1;
      const entry: DirectoryEntry = {
        id,
        type,
        properties: new Map(),
        edges: new Map(),
        createdAt: sequence,
        restoredAt: 0,
        deletion: null,
      };
      setProperties(entry, properties);
      entries.set(id, entry);
    };
    act(() => null, run);
    return id;
  };
  const patch = (id: string, type: ObjectType, properties: Properties): void =>
    act(
      exists(id, type),
      withEntry(id, (entry) => setProperties(entry, properties)),
    );
  const remove = (id: string, kind: 'soft' | 'hard', type?: ObjectType): void =>
    act(
      exists(id, type),
      withEntry(id, (entry) => {
        // nothing comes back from permanent deletion
        if (entry.deletion?.kind === 'hard') return;
        entry.deletion = { kind, changedAt: sequence };
        if (kind === 'hard') for (const other of entries.values()) other.edges.delete(id);
      }),
    );
  const setEdge = (groupId: string, memberId: string, type: () => MemberType, isPresent: boolean, check: Check): void =>
    act(
      check,
      withEntry(groupId, (group) =>
        group.edges.set(memberId, { memberId, type: type(), isPresent, changedAt: sequence }),
      ),
    );
  const isInBin =
    (id: string): Check =>
    () =>
      entries.get(id)?.deletion?.kind === 'soft' ? null : `${id} is not in the recycle bin.`;
  const isUnified = (id: string): boolean => {
    const groupTypes = entries.get(id)?.properties.get('groupTypes')?.value;
    return Array.isArray(groupTypes) && groupTypes.includes('Unified');
  };
  const edgeOf = (groupId: string, memberId: string): Edge | undefined => entries.get(groupId)?.edges.get(memberId);

  return {
    entries,
    sequence: () => sequence,
    isLive: (id) => entries.get(id)?.deletion === null,
    createUser: (properties) =>
      create('user', { accountEnabled: true, userType: 'Member', businessPhones: [], ...properties }),
    patchUser: (id, properties) => patch(id, 'user', properties),
    setManager: (id, managerId) =>
      act(
        exists(id, 'user'),
        withEntry(id, (entry) => {
          entry.manager = { id: managerId, changedAt: sequence };
        }),
      ),
    createGroup: (properties) => create('group', { securityEnabled: true, groupTypes: [], ...properties }),
    patchGroup: (id, properties) => patch(id, 'group', properties),
    softDelete: (id) => remove(id, 'soft'),
    restore: (id) =>
      act(
        isInBin(id),
        withEntry(id, (entry) => {
          entry.deletion = null;
          entry.restoredAt = sequence;
        }),
      ),
    hardDelete: (id) => remove(id, 'hard'),
    deleteGroup: (id) => remove(id, isUnified(id) ? 'soft' : 'hard', 'group'),
    addMember: (groupId, memberId, type) => {
      const typeNow = (): MemberType => type ?? entries.get(memberId)?.type ?? 'device';
      setEdge(groupId, memberId, typeNow, true, exists(groupId, 'group'));
    },
    removeMember: (groupId, memberId) => {
      const typeNow = (): MemberType => edgeOf(groupId, memberId)?.type ?? 'device';
      const check: Check = () => (edgeOf(groupId, memberId) === undefined ? `${memberId} is not in ${groupId}.` : null);
      setEdge(groupId, memberId, typeNow, false, check);
    },
    lag: (given) => {
      delay = given;
    },
    tick: () => {
      requests += 1;
      runDue(requests);
    },
    settle: () => {
      delay = 0;
      runDue(Number.POSITIVE_INFINITY);
    },
  };
}
