/**
 * The closed vocabularies of Rollcall. One tuple per word family: check constraints, zod schemas, the API and the
 * console all take the tuple, so a state cannot exist in one place and be unknown in another.
 */

export const objectKinds = ['user', 'group'] as const;
export type ObjectKind = (typeof objectKinds)[number];

export const connectionKinds = ['entra', 'ldap', 'scim', 'file'] as const;
export type ConnectionKind = (typeof connectionKinds)[number];

export const connectionStatuses = ['draft', 'active', 'paused', 'quarantined'] as const;
export type ConnectionStatus = (typeof connectionStatuses)[number];

/** A user's standing in one tenant. `removed` is a tombstone: the row stays until purge. */
export const userStatuses = ['active', 'suspended', 'removed'] as const;
export type UserStatus = (typeof userStatuses)[number];

/** Mirror object <-> user. Legal moves stand in `link-states.ts`. */
export const linkStates = [
  'linked',
  'missing',
  'gone',
  'out_of_scope',
  'suspended',
  'removed',
  'disputed',
  'ignored',
  'held',
] as const;
export type LinkState = (typeof linkStates)[number];

export const runKinds = ['full', 'delta', 'object', 'undo', 'import', 'push'] as const;
export type RunKind = (typeof runKinds)[number];

/** `plan` stops after the guard; `auto` goes on to apply what no guard holds. */
export const runModes = ['plan', 'auto'] as const;
export type RunMode = (typeof runModes)[number];

export const runPhases = [
  'claim',
  'fetch',
  'mirror',
  'sanity',
  'correlate',
  'decide',
  'prove',
  'guard',
  'apply',
  'record',
] as const;
export type RunPhase = (typeof runPhases)[number];

/** Where a run stands. `planned` and `held` wait for a person; the last six are final. */
export const runStatuses = [
  'queued',
  'running',
  'planned',
  'held',
  'succeeded',
  'partly',
  'failed',
  'canceled',
  'discarded',
  'superseded',
] as const;
export type RunStatus = (typeof runStatuses)[number];

/** Change classes in the order in which they are applied, so that nobody is without access in between. */
export const changeClasses = [
  'create',
  'update',
  'key',
  'link',
  'grant',
  'revoke',
  'suspend',
  'remove',
  'conflict',
] as const;
export type ChangeClass = (typeof changeClasses)[number];

/** One step inside a class. `dispute`, `error` and `keep` (what an undo leaves as it is) apply nothing to a user. */
export const changeOps = [
  'create',
  'update',
  'quota_home',
  'reactivate',
  'key',
  'link',
  'unlink',
  'grant',
  'revoke',
  'suspend',
  'remove',
  'dispute',
  'error',
  'keep',
] as const;
export type ChangeOp = (typeof changeOps)[number];

export const changeStates = ['planned', 'held', 'applied', 'stale', 'conflict', 'failed', 'skipped', 'undone'] as const;
export type ChangeState = (typeof changeStates)[number];

/** What a change means for the human it is about; the columns of every preview. */
export const changeKinds = ['joiner', 'mover', 'leaver', 'conflict'] as const;
export type ChangeKind = (typeof changeKinds)[number];

export const caseKinds = [
  'disputed_match',
  'privileged_match',
  'duplicate_key',
  'privileged_grant',
  'drift',
  'rehire',
  'no_super_admin',
  'stale',
] as const;
export type CaseKind = (typeof caseKinds)[number];

export const caseStatuses = ['open', 'resolved', 'ignored'] as const;
export type CaseStatus = (typeof caseStatuses)[number];

/** What happens to a user whose last live link of this connection ended (portal.md, design.md section 7). */
export const leaverPolicies = ['keep', 'suspend', 'revoke_roles', 'remove'] as const;
export type LeaverPolicy = (typeof leaverPolicies)[number];

export const correlationKeys = ['username', 'email', 'employee_id'] as const;
export type CorrelationKey = (typeof correlationKeys)[number];

export const domainStatuses = ['pending', 'proven', 'built_in'] as const;
export type DomainStatus = (typeof domainStatuses)[number];

/** `key` is the client secret of OAuth 2: it buys SCIM tokens that live for an hour and opens nothing itself. */
export const tokenKinds = ['scim', 'api', 'key'] as const;
export type TokenKind = (typeof tokenKinds)[number];

/** What a SCIM token or key may do; one without scopes may do everything on its connection. */
export const scimScopes = ['users:read', 'users:write', 'groups:read', 'groups:write'] as const;
export type ScimScope = (typeof scimScopes)[number];
