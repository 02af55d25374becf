/** Graph's users and groups as directory events. Default mode: a changed object comes whole, absent means no value. */
import type { AttributeValue, DirectoryEvent, DirectoryObject } from '../contract/contract.ts';
import type { PageItem } from './delta-page.ts';
import { isGuid } from './delta-page.ts';
import type { JsonObject } from './graph-session.ts';
import { extensionHolder } from './selection.ts';

/** Sent with each object, but neither attributes nor content. */
const annotationSign = 0x40;
const notAttributes = new Set(['id', 'members@delta', 'members', 'manager@delta', 'manager']);

function toAttributeValue(value: unknown): AttributeValue {
  if (value === undefined || value === null) return null;
  if (typeof value === 'string' || typeof value === 'number' || typeof value === 'boolean') return value;
  if (!Array.isArray(value)) return JSON.stringify(value);
  return value.map((part: unknown) => (typeof part === 'string' ? part : JSON.stringify(part)));
}

function attributesOf(raw: JsonObject): Record<string, AttributeValue> {
  const attributes: Record<string, AttributeValue> = {};
  // not Object.entries: seventeen arrays per user are most of what a read would leave to the garbage collector
  for (const name in raw) {
    const value = raw[name];
    if (value === null || name.charCodeAt(0) === annotationSign || notAttributes.has(name)) continue;
    // nearly all values; the others are looked at one by one
    if (typeof value === 'string') attributes[name] = value;
    else if (name === extensionHolder && typeof value === 'object' && !Array.isArray(value)) {
      for (const [inner, text] of Object.entries(value ?? {})) {
        if (text !== null) attributes[inner] = toAttributeValue(text);
      }
    } else attributes[name] = toAttributeValue(value);
  }
  return attributes;
}

const textOf = (value: unknown): string | null => (typeof value === 'string' && value !== '' ? value : null);

/** Null when `accountEnabled` is missing: whether the user is disabled is then unknown, and must not be guessed. */
export function userObject(item: PageItem, manager: string | null = null): DirectoryObject | null {
  const { id, raw } = item;
  const isEnabled = raw['accountEnabled'];
  if (typeof isEnabled !== 'boolean') return null;
  const principal = textOf(raw['userPrincipalName']);
  return {
    kind: 'user',
    anchor: id,
    name: textOf(raw['displayName']) ?? principal ?? id,
    locator: principal,
    isActive: isEnabled,
    inactiveReason: isEnabled ? null : 'disabled',
    attributes: manager === null ? attributesOf(raw) : { ...attributesOf(raw), manager },
  };
}

export function groupObject(item: PageItem): DirectoryObject {
  return {
    kind: 'group',
    anchor: item.id,
    name: textOf(item.raw['displayName']) ?? item.id,
    locator: textOf(item.raw['mail']),
    isActive: true,
    inactiveReason: null,
    attributes: attributesOf(item.raw),
  };
}

export function tombstone(item: PageItem, kind: 'user' | 'group'): DirectoryEvent {
  return { type: 'tombstone', kind, anchor: item.id, isRestorable: item.removed === 'changed' };
}

export type MemberChanges = {
  readonly added: readonly string[];
  readonly removed: readonly string[];
  /** Members that are neither users nor groups: devices, service principals, contacts. */
  readonly ignored: number;
};

const ourTypes = new Set<unknown>(['#microsoft.graph.user', '#microsoft.graph.group', undefined]);

/** A member without a type is kept: edges to objects nobody knows do no harm, a lost edge takes access away. */
export function memberChanges(list: unknown): MemberChanges {
  const added: string[] = [];
  const removed: string[] = [];
  let ignored = 0;
  for (const entry of Array.isArray(list) ? (list as unknown[]) : []) {
    const member = (entry ?? {}) as JsonObject;
    const { id } = member;
    if (!ourTypes.has(member['@odata.type']) || !isGuid(id)) ignored += 1;
    else if (member['@removed'] === undefined) added.push(id.toLowerCase());
    else removed.push(id.toLowerCase());
  }
  return { added, removed, ignored };
}
