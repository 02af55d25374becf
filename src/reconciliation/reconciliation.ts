/**
 * reconciliation/: what each directory says (mirror), who that is (correlate), what should change (decide), whether
 * it may (guard), and doing it (apply). Every inlet ends here: a pull is a run over the objects that changed, a SCIM
 * push settles its object in the request's transaction.
 */
import type { AttributeValue } from '../connectors/contract/contract.ts';
import type { ConnectionId, OrganizationId, RunId, TenantId } from '../core/ids.ts';
import type { GrantableRole } from '../core/roles.ts';
import type {
  ChangeKind,
  ConnectionKind,
  ConnectionStatus,
  ObjectKind,
  RunKind,
  RunMode,
  RunPhase,
  RunStatus,
} from '../core/vocabulary.ts';
import type { TenantTx } from '../db/db.ts';

export type Connection = {
  readonly tenantId: TenantId;
  readonly id: ConnectionId;
  readonly organizationId: OrganizationId;
  readonly kind: ConnectionKind;
  readonly name: string;
  readonly status: ConnectionStatus;
  readonly statusReason: string | null;
  readonly cron: string | null;
  readonly timeZone: string;
  readonly nextRunAt: string | null;
  readonly priority: number;
  readonly ceiling: GrantableRole;
  readonly version: number;
};

export type RunSummary = {
  readonly tenantId: TenantId;
  readonly id: RunId;
  readonly connectionId: ConnectionId;
  readonly connectionName: string;
  readonly kind: RunKind;
  readonly mode: RunMode;
  readonly status: RunStatus;
  readonly phase: RunPhase | null;
  readonly requestedBy: string;
  readonly startedAt: string | null;
  readonly finishedAt: string | null;
  /** Objects read, mirror rows written, changes by class and state, seconds by phase. */
  readonly counts: Readonly<Record<string, unknown>>;
  readonly digest: string | null;
  readonly guard: Readonly<Record<string, unknown>> | null;
  readonly approvedBy: string | null;
  readonly error: Readonly<Record<string, unknown>> | null;
};

export type RunRequest = {
  readonly tenantId: TenantId;
  readonly connectionId: ConnectionId;
  /** `auto` lets the connection decide between full and delta (baseline rules). */
  readonly read: 'auto' | 'full' | 'delta';
  readonly mode: RunMode;
  readonly requestedBy: string;
  readonly scheduledFor?: string;
};

export type Progress = {
  readonly runId: RunId;
  readonly phase: RunPhase;
  /** Objects or changes handled in this phase so far. */
  readonly done: number;
  /** Known only in some phases. */
  readonly total: number | null;
  readonly message: string | null;
};

// ---------------------------------------------------------------- pushes (SCIM)

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

/**
 * Writes of pushed objects. Each writes the mirror and then decides and applies in the caller's transaction.
 * Throws `conflict` for a userName or externalId another live object of this connection has, `version_mismatch`
 * when the expectation fails, `not_found` when the object does not live in this connection.
 */
export type Pushes = {
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
    readonly version: number;
    readonly updatedAt: string;
  }>;
  /** Tombstones the object; its userName and externalId are free at once. */
  remove(tx: TenantTx, context: PushContext, kind: ObjectKind, anchor: string): Promise<void>;
};

/** Joiners, movers, leavers, conflicts of a plan, as every preview shows them. */
export type PlanCounts = Readonly<Record<ChangeKind, number>>;

export { createScheduledRuns, setNextSlots } from './scheduled-runs.ts';
