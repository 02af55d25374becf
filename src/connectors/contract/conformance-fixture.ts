/** What a conformance suite is given and works with: the fixture of a directory, whole reads, failures, secrets. */
import { expect } from 'vitest';
import type { ErrorCode } from '../../core/errors.ts';
import type { AbsenceVerdict, Connector, DirectoryEvent, DirectoryObject, TestStep } from './contract.ts';

/** Changes the directory under test; every method returns when the change is visible to a full read. */
export type DirectoryHandle = {
  /** `name` is the display name (any Unicode, `,+"\<>;#=` included); returns the anchor. */
  addUser(user: { readonly name: string; readonly email?: string }): Promise<string>;
  /** Many at once, for the big group; names are `${prefix}${index}`. Returns the anchors. */
  addUsers(prefix: string, count: number): Promise<readonly string[]>;
  /** Changes whatever names the object in its directory (DN, user principal name), and the display name. */
  renameUser(anchor: string, name: string): Promise<void>;
  setEmail(anchor: string, email: string | null): Promise<void>;
  disableUser(anchor: string): Promise<void>;
  deleteUser(anchor: string): Promise<void>;
  addGroup(name: string): Promise<string>;
  deleteGroup(anchor: string): Promise<void>;
  /** Members are users or groups, by anchor. */
  addMembers(groupAnchor: string, memberAnchors: readonly string[]): Promise<void>;
  removeMembers(groupAnchor: string, memberAnchors: readonly string[]): Promise<void>;
};

/** One way in which a read stops before its end although it began well. */
export type BrokenRead<Settings, Secrets> = {
  /** E.g. "the connection drops after the first page". */
  readonly name: string;
  readonly code: ErrorCode;
  /** Prepares the fault; the read under test uses what it returns (given values are the fixture's own unless stated). */
  prepare(): Promise<{ readonly settings?: Settings; readonly secrets?: Secrets; restore(): Promise<void> }>;
};

export type ConformanceFixture<Settings, Secrets> = {
  readonly connector: Connector<Settings, Secrets>;
  readonly settings: Settings;
  readonly secrets: Secrets;
  readonly directory: DirectoryHandle;
  /** Name of the e-mail attribute in `DirectoryObject.attributes`. */
  readonly emailAttribute: string;
  /** Secrets of the right shape that the directory refuses. */
  readonly wrongSecrets: Secrets;
  /** Settings that point to a place where nobody listens. */
  readonly unreachableSettings: Settings;
  /** Texts that must appear in no error, no event and no test step: passwords, client secrets, tokens. */
  readonly canaries: readonly string[];
  /** An anchor of the right shape that no object ever had. */
  readonly unknownAnchor: string;
  readonly brokenReads: readonly BrokenRead<Settings, Secrets>[];
  /** Members of the big group; 1,700 unless given (AD answers members in ranges above 1,500). */
  readonly bigGroupSize?: number;
  stop(): Promise<void>;
};

/** What a read says once every event is applied in order, as the engine would. */
export type Snapshot = {
  readonly objects: ReadonlyMap<string, DirectoryObject>;
  readonly members: ReadonlyMap<string, ReadonlySet<string>>;
  readonly completes: readonly Extract<DirectoryEvent, { type: 'complete' }>[];
  readonly events: readonly DirectoryEvent[];
};

export const testTimeoutMs = 60_000;
export const neverAborted = (): AbortSignal => AbortSignal.timeout(testTimeoutMs);

export function applyEvents(events: readonly DirectoryEvent[]): Snapshot {
  const objects = new Map<string, DirectoryObject>();
  const members = new Map<string, Set<string>>();
  const completes: Extract<DirectoryEvent, { type: 'complete' }>[] = [];
  for (const event of events) {
    if (event.type === 'upsert') objects.set(event.object.anchor, event.object);
    else if (event.type === 'tombstone') objects.delete(event.anchor);
    else if (event.type === 'absent') objects.delete(event.anchor);
    else if (event.type === 'complete') completes.push(event);
    else if (event.type === 'members') applyMembers(members, event);
  }
  return { objects, members, completes, events };
}

function applyMembers(all: Map<string, Set<string>>, event: Extract<DirectoryEvent, { type: 'members' }>): void {
  const group = event.change === 'set' ? new Set<string>() : (all.get(event.groupAnchor) ?? new Set<string>());
  for (const anchor of event.memberAnchors) {
    if (event.change === 'remove') group.delete(anchor);
    else group.add(anchor);
  }
  all.set(event.groupAnchor, group);
}

type Overrides<S, X> = { readonly settings?: S; readonly secrets?: X; readonly signal?: AbortSignal };

export function requestOf<S, X>(fixture: ConformanceFixture<S, X>, overrides: Overrides<S, X>) {
  return {
    settings: overrides.settings ?? fixture.settings,
    secrets: overrides.secrets ?? fixture.secrets,
    attributes: [fixture.emailAttribute],
    signal: overrides.signal ?? neverAborted(),
  };
}

/** Reads to the end; `events` keeps what arrived even when the read throws. */
export async function readAll<S, X>(
  fixture: ConformanceFixture<S, X>,
  overrides: Overrides<S, X> = {},
  events: DirectoryEvent[] = [],
): Promise<Snapshot> {
  const request = { ...requestOf(fixture, overrides), mode: 'full' as const, cursor: null };
  for await (const event of fixture.connector.read(request)) events.push(event);
  return applyEvents(events);
}

export async function prove<S, X>(
  fixture: ConformanceFixture<S, X>,
  kind: 'user' | 'group',
  anchors: readonly string[],
): Promise<ReadonlyMap<string, AbsenceVerdict['verdict']>> {
  const verdicts = new Map<string, AbsenceVerdict['verdict']>();
  for await (const { anchor, verdict } of fixture.connector.proveAbsent(requestOf(fixture, {}), kind, anchors)) {
    expect(verdicts.has(anchor), `two verdicts for ${anchor}`).toBe(false);
    verdicts.set(anchor, verdict);
  }
  return verdicts;
}

export async function testSteps<S, X>(
  fixture: ConformanceFixture<S, X>,
  overrides: Overrides<S, X>,
): Promise<TestStep[]> {
  const steps: TestStep[] = [];
  for await (const step of fixture.connector.test(requestOf(fixture, overrides))) steps.push(step);
  return steps;
}

export async function failureOf(work: Promise<unknown>): Promise<unknown> {
  try {
    await work;
  } catch (error) {
    return error;
  }
  throw new Error('Expected a failure, but it succeeded.');
}

/** Everything an error could show, its causes included: what a careless logger would print. */
export function fullText(value: unknown): string {
  if (!(value instanceof Error)) return JSON.stringify(value) ?? '';
  const own = Object.fromEntries(Object.getOwnPropertyNames(value).map((name) => [name, Reflect.get(value, name)]));
  return `${JSON.stringify({ ...own, cause: undefined })}${fullText(value.cause)}`;
}

export function expectNoCanary(canaries: readonly string[], value: unknown): void {
  const text = fullText(value);
  for (const canary of canaries) expect(text.includes(canary), 'a secret is visible').toBe(false);
}

export type Get<S, X> = () => ConformanceFixture<S, X>;
