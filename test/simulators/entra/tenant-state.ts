/**
 * The directory behind the simulator: every property, edge and deletion remembers the sequence number of its last
 * change, so that a delta round is a comparison with a number. Soft-deleted objects keep their edges, as Entra does
 * (directories.md A1, "Soft-deleted members").
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
};

export function createTenantState(random: Random): TenantState {
  const entries = new Map<string, DirectoryEntry>();
  let sequence = 0;

  const entryOf = (id: string, type?: ObjectType): DirectoryEntry => {
    const entry = entries.get(id);
    if (entry === undefined || (type !== undefined && entry.type !== type))
      throw new Error(`No ${type ?? 'object'} ${id}.`);
    return entry;
  };

  const setProperties = (entry: DirectoryEntry, properties: Properties): void => {
    sequence += 1;
    for (const [name, value] of Object.entries(properties)) {
      entry.properties.set(name, { value, changedAt: sequence });
    }
  };

  const create = (type: ObjectType, properties: Properties): string => {
    const id = random.guid();
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
    for (const [name, value] of Object.entries(properties)) entry.properties.set(name, { value, changedAt: sequence });
    entries.set(id, entry);
    return id;
  };

  const remove = (entry: DirectoryEntry, kind: 'soft' | 'hard'): void => {
    sequence += 1;
    entry.deletion = { kind, changedAt: sequence };
    if (kind === 'hard') for (const other of entries.values()) other.edges.delete(entry.id);
  };

  const setEdge = (groupId: string, memberId: string, type: MemberType, isPresent: boolean): void => {
    sequence += 1;
    entryOf(groupId, 'group').edges.set(memberId, { memberId, type, isPresent, changedAt: sequence });
  };

  return {
    entries,
    sequence: () => sequence,
    isLive: (id) => entries.get(id)?.deletion === null,
    createUser: (properties) =>
      create('user', { accountEnabled: true, userType: 'Member', businessPhones: [], ...properties }),
    patchUser: (id, properties) => setProperties(entryOf(id, 'user'), properties),
    createGroup: (properties) => create('group', { securityEnabled: true, groupTypes: [], ...properties }),
    patchGroup: (id, properties) => setProperties(entryOf(id, 'group'), properties),
    softDelete: (id) => remove(entryOf(id), 'soft'),
    restore: (id) => {
      const entry = entryOf(id);
      if (entry.deletion?.kind !== 'soft') throw new Error(`${id} is not in the recycle bin.`);
      sequence += 1;
      entry.deletion = null;
      entry.restoredAt = sequence;
    },
    hardDelete: (id) => remove(entryOf(id), 'hard'),
    deleteGroup: (id) => {
      const entry = entryOf(id, 'group');
      const groupTypes = entry.properties.get('groupTypes')?.value;
      const isUnified = Array.isArray(groupTypes) && groupTypes.includes('Unified');
      remove(entry, isUnified ? 'soft' : 'hard');
    },
    addMember: (groupId, memberId, type) =>
      setEdge(groupId, memberId, type ?? entries.get(memberId)?.type ?? 'device', true),
    removeMember: (groupId, memberId) => {
      const edge = entryOf(groupId, 'group').edges.get(memberId);
      if (edge === undefined) throw new Error(`${memberId} is not in ${groupId}.`);
      setEdge(groupId, memberId, edge.type, false);
    },
  };
}
