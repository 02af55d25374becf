/**
 * connectors/contract: the one shape in which every directory reaches the pipeline.
 *
 * A connector speaks one protocol and yields events; it never sees the database, the portal or another connector.
 * The rule that protects ten thousand accounts stands here: only `complete` with mode `full` lets the absence of an
 * object mean anything. A read that ends in any other way (an error, an abort, a generator that returns early) is
 * incomplete, and incomplete reads never delete.
 */
import type { z } from 'zod';
import type { ConnectionKind, ObjectKind } from '../../core/vocabulary.ts';

/** Values as the mapping sees them; multi-valued attributes are arrays of text. Binary values are base64 or hex text. */
export type AttributeValue = string | number | boolean | null | readonly string[];

export type DirectoryObject = {
  readonly kind: ObjectKind;
  /** Immutable id, in the vendor's usual text form, lower case (Entra id, objectGUID, entryUUID, nsUniqueId). */
  readonly anchor: string;
  /** Name a person recognises. */
  readonly name: string;
  /** Human-readable place: DN or user principal name. Never identity. */
  readonly locator: string | null;
  /** False: the directory asserts that the account is disabled. Groups are always active. */
  readonly isActive: boolean;
  /** Why it is inactive, in words, e.g. `disabled`, `expired`; null while active. */
  readonly inactiveReason: string | null;
  /** Attributes asked for, by the directory's own names; absent and null mean the same: no value. */
  readonly attributes: Readonly<Record<string, AttributeValue>>;
};

export type DirectoryEvent =
  /** The object's whole present state (not a patch). May repeat within a read; the last one wins. */
  | { readonly type: 'upsert'; readonly object: DirectoryObject }
  /** Positive evidence that the object was deleted; `isRestorable` while the directory can still bring it back. */
  | { readonly type: 'tombstone'; readonly kind: ObjectKind; readonly anchor: string; readonly isRestorable: boolean }
  /**
   * Direct members of a group by anchor; a big group comes in several events. `set` starts over: everything known of
   * this group before is replaced by this event and the `add`s that follow it. In a full read each group's members
   * are the union of its events, and a group without any has no members. `remove` occurs in delta reads only.
   */
  | {
      readonly type: 'members';
      readonly groupAnchor: string;
      readonly change: 'set' | 'add' | 'remove';
      readonly memberAnchors: readonly string[];
    }
  /**
   * Delta reads only: the object changed and is not among what this connection reads any more (it left the base or the
   * filter). No deletion yet: the engine asks for proof, as for an object that a full read did not show.
   */
  | { readonly type: 'absent'; readonly kind: ObjectKind; readonly anchor: string }
  /**
   * Delta reads only, from directories that do not tell everybody about deletions: the ids of all objects of a kind that
   * are there now, in several events. Objects of that kind that none of them names are absent once the read completes.
   */
  | { readonly type: 'sweep'; readonly kind: ObjectKind; readonly anchors: readonly string[] }
  /** Something an admin should know that stops nothing (an unresolved member, a skipped object). Never a fault. */
  | { readonly type: 'notice'; readonly code: string; readonly message: string; readonly anchor: string | null }
  /** History is lost (Graph 410, foreign cookie): nothing read so far counts, the engine starts a full read. */
  | { readonly type: 'reset'; readonly reason: string }
  /** The read reached its end mark. The last event. `cursor` null means this connector has no increments. */
  | { readonly type: 'complete'; readonly mode: 'full' | 'delta'; readonly cursor: Cursor | null };

/** Opaque to the engine: deltaLink, DirSync cookie, syncrepl cookie, high-water mark, with what it is bound to. */
export type Cursor = Readonly<Record<string, unknown>>;

export type ReadRequest<Settings, Secrets> = {
  readonly settings: Settings;
  readonly secrets: Secrets;
  /** `full` ignores the cursor. `delta` needs one; a connector without increments answers it with a full read. */
  readonly mode: 'full' | 'delta';
  readonly cursor: Cursor | null;
  /** User attributes the mapping and scope read, by the directory's names, beside the connector's own needs. */
  readonly attributes: readonly string[];
  readonly signal: AbortSignal;
  /** The tenant of the connection: what belongs to the operator is lent to named tenants only. */
  readonly tenantId?: string;
  /** Says why nothing moves just now ("waiting 40 s for Microsoft"); for progress lines, not for logic. */
  readonly onWait?: (message: string) => void;
};

/** What became of an object that a full read did not show. `unknown` is never acted on. */
export type AbsenceVerdict = {
  readonly anchor: string;
  readonly verdict: 'deleted' | 'out_of_scope' | 'present' | 'unknown';
};

export type TestStep = {
  /** Stable id: `dns`, `tcp`, `tls`, `bind`, `token`, `read_users`, `read_groups`, `page`, `capabilities` ... */
  readonly step: string;
  readonly outcome: 'ok' | 'warning' | 'failed' | 'skipped';
  /** One plain sentence for the admin. */
  readonly message: string;
  /** Foreign code or text, verbatim. */
  readonly raw?: string;
  readonly facts?: Readonly<Record<string, unknown>>;
  /** A few users as read; whoever shows the step applies the mapping of the connection to them. */
  readonly sample?: readonly DirectoryObject[];
};

/** Whom to look for: by immutable id, or by any name that people use (username, e-mail address, full name). */
export type ObjectReference = { readonly anchor: string } | { readonly name: string };

/** One user as the directory has it now, with the anchors of the groups it is a direct member of. */
export type FoundObject = { readonly object: DirectoryObject; readonly groups: readonly string[] };

/** When a credential of the connection ends, and who says so. */
export type CredentialEnd = {
  readonly credential: 'client_secret' | 'certificate' | 'password';
  /** ISO date-time; null when nobody knows: neither the directory shows it nor did the admin enter it. */
  readonly endsAt: string | null;
  readonly source: 'directory' | 'certificate' | 'entered' | 'unknown';
};

/** One default mapping: CEL over `object` (attributes by name) -> attribute of the user. */
export type DefaultMapping = { readonly target: string; readonly expression: string };

/**
 * One directory protocol. All methods throw RollcallError with a `directory_*` code and nothing else, bound every
 * outside call in time, and stop soon after `signal` aborts (throwing its reason).
 */
export type Connector<Settings = unknown, Secrets = unknown> = {
  readonly kind: ConnectionKind;
  /** Strict; descriptions become the documentation. */
  readonly settingsSchema: z.ZodType<Settings>;
  /** The secret part of a connection document; strings become `Secret` by the schema (platform/secrets `secretText`). */
  readonly secretsSchema: z.ZodType<Secrets>;
  /** Settings a test of the document compares, to clear the secret when the target changes (host, port, TLS, cloud). */
  target(settings: Settings): string;
  /** Attributes the default mapping and disabled rule need for these settings. */
  defaultMappings(settings: Settings): readonly DefaultMapping[];
  /** Cheap, side-effect free; every step is yielded as it ends. Yields `failed` instead of throwing. */
  test(request: Omit<ReadRequest<Settings, Secrets>, 'mode' | 'cursor'>): AsyncIterable<TestStep>;
  read(request: ReadRequest<Settings, Secrets>): AsyncIterable<DirectoryEvent>;
  /** Looks absent objects up by immutable id, batched. Every anchor gets exactly one verdict. */
  proveAbsent(
    request: Omit<ReadRequest<Settings, Secrets>, 'mode' | 'cursor'>,
    kind: ObjectKind,
    anchors: readonly string[],
  ): AsyncIterable<AbsenceVerdict>;
  /**
   * The users that a reference names, among what the connection reads; ten at most. None: there is none now, which
   * proves nothing about a deletion.
   */
  readObject(
    request: Omit<ReadRequest<Settings, Secrets>, 'mode' | 'cursor'>,
    reference: ObjectReference,
  ): Promise<readonly FoundObject[]>;
  /** For reminders before a credential ends. Left out where credentials have no end; empty when none is in use. */
  credentialEnds?(request: Omit<ReadRequest<Settings, Secrets>, 'mode' | 'cursor'>): Promise<readonly CredentialEnd[]>;
};

/**
 * The events of batches, one by one; `signal` ends it between any two of them. Written by hand because an async generator
 * costs several promises per event, and there are millions of them.
 */
export function eventsOf(
  batches: AsyncGenerator<readonly DirectoryEvent[], void>,
  signal: AbortSignal,
): AsyncIterableIterator<DirectoryEvent> {
  let batch: readonly DirectoryEvent[] = [];
  let at = 0;
  const nextOfNextBatch = async (): Promise<IteratorResult<DirectoryEvent>> => {
    for (;;) {
      if (signal.aborted) {
        await batches.return();
        throw signal.reason;
      }
      const { done, value } = await batches.next();
      if (done === true) return { done: true, value: undefined };
      const [first] = value;
      if (first === undefined) continue;
      batch = value;
      at = 1;
      return { done: false, value: first };
    }
  };
  return {
    [Symbol.asyncIterator]() {
      return this;
    },
    next() {
      const event = batch[at];
      if (event === undefined || signal.aborted) return nextOfNextBatch();
      at += 1;
      return Promise.resolve({ done: false, value: event });
    },
    async return() {
      batch = [];
      await batches.return();
      return { done: true, value: undefined };
    },
  };
}
