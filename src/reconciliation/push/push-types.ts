/** Shapes of pushed objects: what a SCIM write hands to reconciliation. */
import type { AttributeValue } from '../../connectors/contract/contract.ts';
import type { ConnectionId, TenantId } from '../../core/ids.ts';
import type { ObjectKind } from '../../core/vocabulary.ts';
import type { TenantTx } from '../../db/db.ts';

/** The connection a push is for, as the token named it, and the request it belongs to. */
export type PushContext = {
  readonly tenantId: TenantId;
  readonly connectionId: ConnectionId;
  /** Written on each change row, so that explain and undo can address the request. */
  readonly requestId: string;
};

export type PushedUser = {
  /** SCIM id. */
  readonly anchor: string;
  readonly userName: string;
  readonly externalId: string | null;
  readonly displayName: string | null;
  readonly isActive: boolean;
  /** Flat view for mapping: userName, externalId, displayName, givenName, familyName, email, phone, title, department, employeeNumber ... */
  readonly attributes: Readonly<Record<string, AttributeValue>>;
  /** The resource as it will be answered, without id, meta and groups. */
  readonly resource: Readonly<Record<string, unknown>>;
};

export type PushedGroup = {
  readonly anchor: string;
  readonly displayName: string;
  readonly externalId: string | null;
  /** Without id, meta and members. */
  readonly resource: Readonly<Record<string, unknown>>;
};

/** What the row looked like when the caller read it; another version means someone wrote in between. */
export type Expectation = 'new' | { readonly version: number };

export type Written = { readonly version: number; readonly createdAt: string; readonly updatedAt: string };

/** One of several users that are pushed together, each by a request of its own. */
export type UserPush = { readonly requestId: string; readonly user: PushedUser; readonly expect: Expectation };

/**
 * Writes of pushed objects. Each writes the mirror and then decides and applies in the caller's transaction.
 * Throws `conflict` for a userName or externalId another live object of this connection has, `version_mismatch`
 * when the expectation fails, `not_found` when the object does not live in this connection. What was overtaken while it was
 * written starts over: callers go through `startingOver`.
 */
export type Pushes = {
  /** Sends ahead what the first push of a transaction asks for, where the caller reads something first. */
  begin(tx: TenantTx, context: PushContext): void;
  /**
   * Several users in one transaction, in their order; null is one that can not be written (a name or id that is taken,
   * another version), and of which nothing was. Throws where they do not go together; the caller then writes each alone,
   * in a transaction of its own. `context.requestId` is not used.
   */
  writeUsers(tx: TenantTx, context: PushContext, pushes: readonly UserPush[]): Promise<(Written | null)[]>;
  writeUser(tx: TenantTx, context: PushContext, user: PushedUser, expect: Expectation): Promise<Written>;
  writeGroup(tx: TenantTx, context: PushContext, group: PushedGroup, expect: Expectation): Promise<Written>;
  /** `replace` makes the set equal; returns how many edges were added and removed. Raises the group's version when any. */
  changeMembers(
    tx: TenantTx,
    context: PushContext,
    groupAnchor: string,
    change: {
      readonly add?: readonly string[];
      readonly remove?: readonly string[];
      readonly replace?: readonly string[];
    },
  ): Promise<{
    readonly added: number;
    readonly removed: number;
    /** Those who were not in it before. */
    readonly came: readonly string[];
    readonly version: number;
    readonly updatedAt: string;
  }>;
  /** Tombstones the object; its userName and externalId are free at once. */
  remove(tx: TenantTx, context: PushContext, kind: ObjectKind, anchor: string): Promise<void>;
};
