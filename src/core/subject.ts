/**
 * The input and output of a decision: everything known about one directory object and its user, and the steps that
 * follow from it. Plain data, so that a scenario is a file and a decision a function.
 */
import type { ConnectionId, OrganizationId, UserId } from './ids.ts';
import type { ConflictPolicy } from './policy.ts';
import type { GrantableRole } from './roles.ts';
import type { ChangeClass, ChangeKind, ChangeOp, LeaverPolicy, LinkState, UserStatus } from './vocabulary.ts';

export type Attributes = Readonly<Record<string, string | null>>;

/** A user of the tenant, as stored. `attributes` holds the mapped ones by target name, custom ones as `attributes.x`. */
export type SubjectUser = {
  readonly id: UserId;
  readonly version: number;
  readonly status: UserStatus;
  /** Who suspended or removed: `manual` or `connection:<id>`. */
  readonly suspendedBy: string | null;
  /** When the last link of this connection ended; null for an active user. */
  readonly leftAt: string | null;
  readonly isProtected: boolean;
  readonly isSuperAdmin: boolean;
  readonly attributes: Attributes;
  /** attribute -> `manual` or `connection:<id>`. */
  readonly provenance: Readonly<Record<string, string>>;
};

export type ResolvedDrift = {
  readonly source: string | null;
  readonly local: string | null;
  readonly take: 'source' | 'local';
};

export type SubjectLink = {
  readonly state: LinkState;
  readonly matchedBy: string | null;
  /** Last value this connection wrote, per attribute. */
  readonly applied: Attributes;
  /** What a person decided about a pair of values, per attribute; another pair is another question. */
  readonly resolved: Readonly<Record<string, ResolvedDrift>>;
  /** Since when the object is gone or out of scope while the link lives on: the days of grace count from here. */
  readonly leavingSince: string | null;
  /** Since when the link is no longer live. */
  readonly endedAt: string | null;
};

/** Another connection's word about the same user. */
export type OtherLink = {
  readonly connectionId: ConnectionId;
  readonly isLive: boolean;
  readonly isActive: boolean;
  readonly mapped: Attributes;
};

/** A user that a correlation rule found for an object without a link. */
export type Candidate = {
  readonly userId: UserId;
  readonly name: string;
  /** The rule that found it, in words. */
  readonly rule: string;
  /** The rule leaves whoever it finds to a person. */
  readonly isReview: boolean;
  readonly version: number;
  /** Holds a privileged role or is protected: a person decides. */
  readonly isPrivileged: boolean;
  /** Already linked to another live object of this connection. */
  readonly isTaken: boolean;
};

/** What a role mapping says about where its users' draws count. */
export type HomeRule = {
  readonly ruleId: string;
  readonly organizationId: OrganizationId;
  readonly organizationName: string;
  readonly isSubOrganization: boolean;
  /** Lower wins. */
  readonly precedence: number;
};

/** Where a user's draws count, and what decides about it beside this object. */
export type QuotaHome = {
  /** Null: the root of the tenant. */
  readonly id: OrganizationId | null;
  readonly name: string;
  /** `manual`, `first` or `rule:<role mapping>`; null where nothing was ever said. */
  readonly source: string | null;
  readonly first: { readonly id: OrganizationId | null; readonly name: string };
  /** Mappings of other connections that gave the user a role in a sub-organization. */
  readonly elsewhere: readonly HomeRule[];
};

/** A role that the connection's role mappings give this object. */
export type Entitlement = HomeRule & {
  readonly role: GrantableRole;
  readonly groupAnchor: string | null;
  readonly groupName: string | null;
  /** A manual "not this one" covers it. */
  readonly isExcluded: boolean;
};

/** A grant that a role mapping of this connection gave, now or earlier. */
export type RuleGrant = HomeRule & {
  readonly role: GrantableRole;
  readonly groupAnchor: string | null;
  readonly groupName: string | null;
  readonly isRuleEnded: boolean;
};

export type Subject = {
  readonly anchor: string;
  readonly name: string;
  readonly objectVersion: number;
  readonly isActive: boolean;
  readonly isInScope: boolean;
  readonly isAbsent: boolean;
  readonly isDeleted: boolean;
  readonly problem: string | null;
  readonly mapped: Attributes;
  readonly link: SubjectLink | null;
  readonly user: SubjectUser | null;
  readonly otherLinks: readonly OtherLink[];
  /** Why a correlation rule could not be asked before anybody was found. */
  readonly correlationFault: string | null;
  /** Of the first correlation rule that found anybody. */
  readonly candidates: readonly Candidate[];
  readonly entitlements: readonly Entitlement[];
  readonly ruleGrants: readonly RuleGrant[];
  /** Null while there is no user. */
  readonly quotaHome: QuotaHome | null;
};

export type SourceRules = {
  readonly name: string;
  readonly priority: number;
  /** target -> how this connection writes it. */
  readonly mappings: Readonly<
    Record<
      string,
      {
        readonly strength: 'authoritative' | 'initial' | 'fallback';
        readonly onNull: 'keep' | 'clear';
        readonly conflict: ConflictPolicy;
      }
    >
  >;
};

export type LeaverDays = {
  readonly graceDays: number;
  /** Null: suspended leavers stay. */
  readonly deleteAfterDays: number | null;
  /** Null: who comes back is relinked, however long ago it was. */
  readonly reviewRehireAfterDays: number | null;
};

export type DecisionContext = {
  readonly connectionId: ConnectionId;
  readonly connectionName: string;
  /** The connection's organization, where newcomers are added first; id null for the root. */
  readonly organization: { readonly id: OrganizationId | null; readonly name: string };
  readonly ceiling: GrantableRole;
  readonly leaverPolicy: LeaverPolicy;
  readonly leaver: LeaverDays;
  /** Of the database, which dates what the days are counted from. */
  readonly now: string;
  readonly provenDomains: ReadonlySet<string>;
  readonly sources: ReadonlyMap<ConnectionId, SourceRules>;
  /** The priority of this connection is new and its plan is not approved yet: it says what the new order means, also for others. */
  readonly isReordered: boolean;
  readonly newUserId: () => UserId;
};

/** One step of a plan, before it has a place in it. */
export type Draft = {
  readonly class: ChangeClass;
  readonly op: ChangeOp;
  readonly kind: ChangeKind;
  readonly userId: UserId | null;
  readonly organizationId: OrganizationId | null;
  readonly role: GrantableRole | null;
  /** Of a grant, the rule that gives it; of a value, the connection that says it where that is another one. */
  readonly grantSource: string | null;
  readonly before: Readonly<Record<string, unknown>> | null;
  readonly after: Readonly<Record<string, unknown>> | null;
  readonly expectedVersion: number | null;
  readonly reason: string;
  /** Machine form of the reason; rows of one cause are counted together. */
  readonly cause: string;
};
