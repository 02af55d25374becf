/** Loads everything a decision needs about a batch of objects: a handful of statements for 2,000 subjects or for one. */
import type { PendingQuery, Row } from 'postgres';
import { readRules, type Correlation, type CorrelationRule } from '../../core/correlation.ts';
import type { ConnectionId, OrganizationId, UserId } from '../../core/ids.ts';
import type { GrantableRole } from '../../core/roles.ts';
import type {
  Attributes,
  Candidate,
  Entitlement,
  OtherLink,
  QuotaHome,
  RuleGrant,
  Subject,
  SubjectLink,
  SubjectUser,
} from '../../core/subject.ts';
import type { LinkState, UserStatus } from '../../core/vocabulary.ts';
import type { TenantTx } from '../../db/db.ts';
import { quotaHomeJoins, quotaHomeOf } from './quota-homes.ts';
import { faultBefore, selectCandidates } from './candidates.ts';
import { desiredOfAnchors, desiredOfRun, type DesiredRow } from './selection.ts';

export type SubjectQuery = {
  readonly connectionId: ConnectionId;
  readonly anchors: readonly string[];
  readonly wanted: Wanted | Promise<Wanted>;
  readonly correlation: Correlation;
  readonly provenDomains: readonly string[];
  /**
   * A few objects are read in one packet where what is known of them holds: of new ones candidates are sought for all,
   * of others the users of their links are read, without waiting for which are linked.
   */
  readonly few?: 'new' | 'known';
  /** Where they were just written: what `objectColumns` say of them. */
  readonly objects?: Promise<readonly ObjectRow[]>;
};

/** Which roles the objects should give, and by which rules. */
export type Wanted = {
  /** Null where no group gives a role: the rules are then those that the objects name themselves. */
  readonly desired: readonly DesiredRow[] | null;
  readonly rules: ReadonlyMap<string, Rule>;
};

/** What is known of an object whom nobody knew before, as it was inserted. */
export type NewObject = Pick<
  Subject,
  'anchor' | 'name' | 'objectVersion' | 'isActive' | 'isInScope' | 'problem' | 'mapped'
> & { readonly ruleIds: readonly string[] };

/** The subject of a new object that has no link and that correlation would find nobody for. */
export function subjectOfNew(
  object: NewObject,
  rules: ReadonlyMap<string, Rule>,
  correlation: readonly CorrelationRule[],
): Subject {
  const { ruleIds: _, ...said } = object;
  return {
    ...said,
    isAbsent: false,
    isDeleted: false,
    link: null,
    user: null,
    otherLinks: [],
    correlationFault: faultBefore(correlation, said.mapped, undefined),
    candidates: [],
    entitlements: entitlementsOf(namedByItself({ ...object, isDeleted: false }), rules, []),
    ruleGrants: [],
    quotaHome: null,
  };
}

/** One row of `objectColumns`. */
export type ObjectRow = {
  anchor: string;
  name: string | null;
  objectVersion: number;
  isActive: boolean;
  isInScope: boolean;
  isAbsent: boolean;
  isDeleted: boolean;
  problem: string | null;
  ruleIds: readonly string[];
  mapped: Attributes | null;
  linkState: LinkState | null;
  matchedBy: string | null;
  applied: Attributes | null;
  resolved: SubjectLink['resolved'] | null;
  leavingSince: string | null;
  endedAt: string | null;
  userId: UserId | null;
};

/** In the order of `anchors`; an anchor without a mirror object is left out. */
export async function loadSubjects(tx: TenantTx, query: SubjectQuery): Promise<Subject[]> {
  const { connectionId, few } = query;
  const [{ desired: desiredRows, rules }, { objects, candidates }, known] = await Promise.all([
    query.wanted,
    selectObjectsWithMatches(tx, query),
    few === 'known' ? readUserFacts(tx, connectionId, linkedIds(tx, query)) : noUserFacts,
  ]);
  const missing = new Set<UserId>();
  for (const row of objects) {
    const userId = row.userId ?? onlyCandidate(candidates.get(row.anchor));
    if (userId !== null && !known.users.has(userId)) missing.add(userId);
  }
  const more =
    missing.size === 0 ? noUserFacts : await readUserFacts(tx, connectionId, tx.sql`${[...missing]}::uuid[]`);
  const { users, otherLinks, ruleGrants } = bothFacts(known, more);
  const correlation = readRules(query.correlation);
  const desired = Map.groupBy(desiredRows ?? objects.flatMap(namedByItself), (row) => row.anchor);
  return objects.map((row) => {
    const found = candidates.get(row.anchor) ?? [];
    const userId = row.userId ?? onlyCandidate(found);
    const facts = userId === null ? undefined : users.get(userId);
    return {
      anchor: row.anchor,
      name: row.name ?? row.anchor,
      objectVersion: row.objectVersion,
      isActive: row.isActive,
      isInScope: row.isInScope,
      isAbsent: row.isAbsent,
      isDeleted: row.isDeleted,
      problem: row.problem,
      mapped: row.mapped ?? {},
      link: linkOf(row),
      user: facts?.user ?? null,
      otherLinks: userId === null ? [] : (otherLinks.get(userId) ?? []),
      correlationFault: row.userId === null ? faultBefore(correlation, row.mapped ?? {}, found[0]) : null,
      candidates: row.userId === null ? found : [],
      entitlements: entitlementsOf(desired.get(row.anchor) ?? [], rules, facts?.exclusions ?? []),
      ruleGrants: userId === null ? [] : (ruleGrants.get(userId) ?? []),
      quotaHome: facts?.quotaHome ?? null,
    };
  });
}

function namedByItself(
  object: Pick<NewObject, 'anchor' | 'isInScope' | 'ruleIds'> & { readonly isDeleted: boolean },
): DesiredRow[] {
  if (object.isDeleted || !object.isInScope) return [];
  return object.ruleIds.toSorted().map((ruleId) => ({ anchor: object.anchor, ruleId }));
}

function entitlementsOf(
  desired: readonly DesiredRow[],
  rules: ReadonlyMap<string, Rule>,
  excluded: readonly Exclusion[],
): Entitlement[] {
  return desired.flatMap(({ ruleId }) => {
    const rule = rules.get(ruleId);
    return rule === undefined ? [] : [{ ...rule, isExcluded: excluded.some((exclusion) => covers(exclusion, rule)) }];
  });
}

/** The objects, and for those without a user whom correlation finds; for new ones they are asked for in one packet. */
async function selectObjectsWithMatches(
  tx: TenantTx,
  query: SubjectQuery,
): Promise<{ readonly objects: readonly ObjectRow[]; readonly candidates: ReadonlyMap<string, Candidate[]> }> {
  const seek = (anchors: readonly string[]) =>
    selectCandidates(tx, {
      connectionId: query.connectionId,
      provenDomains: query.provenDomains,
      rules: readRules(query.correlation),
      anchors,
    });
  const [objects, soughtForAll] = await Promise.all([
    query.objects ?? selectObjects(tx, query),
    query.few === 'new' ? seek(query.anchors) : null,
  ]);
  // whom a person wants as a user of its own is nobody's match: nothing of the candidate may flow into it
  const unlinked = objects.filter(
    (row) => row.userId === null && row.matchedBy !== 'create' && !row.isDeleted && !row.isAbsent && row.isInScope,
  );
  const isUnlinked = new Set(unlinked.map((row) => row.anchor));
  const sought = soughtForAll ?? (isUnlinked.size === 0 ? new Map<string, Candidate[]>() : await seek([...isUnlinked]));
  return { objects, candidates: new Map([...sought].filter(([anchor]) => isUnlinked.has(anchor))) };
}

function linkOf(row: ObjectRow): SubjectLink | null {
  if (row.linkState === null) return null;
  const { linkState: state, matchedBy, leavingSince, endedAt } = row;
  return { state, matchedBy, applied: row.applied ?? {}, resolved: row.resolved ?? {}, leavingSince, endedAt };
}

function onlyCandidate(candidates: readonly Candidate[] | undefined): UserId | null {
  return candidates?.length === 1 ? (candidates[0]?.userId ?? null) : null;
}

/** Of a mirror object `m` and its link `l`, where it has one. */
export function objectColumns(tx: TenantTx): PendingQuery<Row[]> {
  return tx.sql`m.anchor, m.display_name as name, m.version::int as "objectVersion", m.is_active as "isActive", m.is_in_scope as "isInScope",
      m.absent_since is not null as "isAbsent", m.deleted_at is not null as "isDeleted", m.problem, m.rule_ids as "ruleIds", m.mapped,
      l.state as "linkState", l.matched_by as "matchedBy", l.applied, l.user_id as "userId",
      l.resolved, l.leaving_since as "leavingSince", l.ended_at as "endedAt"`;
}

async function selectObjects(tx: TenantTx, query: SubjectQuery): Promise<ObjectRow[]> {
  return tx.sql<ObjectRow[]>`
    select ${objectColumns(tx)}
    from mirror_objects m
    left join links l on l.tenant_id = m.tenant_id and l.connection_id = m.connection_id and l.anchor = m.anchor
    where m.tenant_id = ${tx.tenantId} and m.connection_id = ${query.connectionId} and m.kind = 'user'
      and m.anchor = any(${query.anchors as string[]})
    order by m.anchor`;
}

/** What is known of users, by user. */
type UserFacts = {
  readonly users: ReadonlyMap<
    UserId,
    { readonly user: SubjectUser; readonly exclusions: readonly Exclusion[]; readonly quotaHome: QuotaHome }
  >;
  readonly otherLinks: ReadonlyMap<UserId, OtherLink[]>;
  readonly ruleGrants: ReadonlyMap<UserId, RuleGrant[]>;
};

const noUserFacts: UserFacts = {
  users: new Map(),
  otherLinks: new Map(),
  ruleGrants: new Map(),
};

/** An array of ids, as part of a statement. */
type Ids = PendingQuery<Row[]>;

async function readUserFacts(tx: TenantTx, connectionId: ConnectionId, ids: Ids): Promise<UserFacts> {
  const [users, otherLinks, ruleGrants] = await Promise.all([
    selectUsers(tx, connectionId, ids),
    selectOtherLinks(tx, connectionId, ids),
    selectRuleGrants(tx, connectionId, ids),
  ]);
  return { users, otherLinks, ruleGrants };
}

function linkedIds(tx: TenantTx, { connectionId, anchors }: SubjectQuery): Ids {
  return tx.sql`array(
    select l.user_id from links l
    where l.tenant_id = ${tx.tenantId} and l.connection_id = ${connectionId} and l.anchor = any(${anchors as string[]})
      and l.user_id is not null)`;
}

/** Of no user do both know something. */
function bothFacts(one: UserFacts, other: UserFacts): UserFacts {
  if (other.users.size === 0) return one;
  if (one.users.size === 0) return other;
  return {
    users: new Map([...one.users, ...other.users]),
    otherLinks: new Map([...one.otherLinks, ...other.otherLinks]),
    ruleGrants: new Map([...one.ruleGrants, ...other.ruleGrants]),
  };
}

async function selectUsers(tx: TenantTx, connectionId: ConnectionId, ids: Ids): Promise<UserFacts['users']> {
  const rows = await tx.sql<
    (Omit<SubjectUser, 'attributes'> & {
      columns: Record<string, string | null>;
      custom: Record<string, string | null>;
      exclusions: Exclusion[] | null;
      quotaHome: QuotaHome;
    })[]
  >`
    select u.id, u.version::int as version, u.status, u.suspended_by as "suspendedBy", u.is_protected as "isProtected",
      case when u.status <> 'active' then (
        select max(l.ended_at) from links l
        where l.tenant_id = u.tenant_id and l.user_id = u.id and l.connection_id = ${connectionId}) end as "leftAt",
      exists (select 1 from super_admins s where s.tenant_id = u.tenant_id and s.user_id = u.id) as "isSuperAdmin", u.provenance,
      (select jsonb_agg(jsonb_build_object('organizationId', x.organization_id, 'role', x.role)) from exclusions x
        where x.tenant_id = u.tenant_id and x.user_id = u.id and (x.until is null or x.until > now())) as exclusions,
      ${quotaHomeOf(tx, connectionId)} as "quotaHome",
      jsonb_build_object('username', u.username, 'email', u.email, 'displayName', u.display_name, 'givenName', u.given_name,
        'familyName', u.family_name, 'phone', u.phone, 'employeeId', u.employee_id, 'department', u.department, 'jobTitle', u.job_title) as columns,
      u.attributes as custom
    from users u ${quotaHomeJoins(tx)}
    where u.tenant_id = ${tx.tenantId} and u.id = any(${ids})`;
  return new Map(
    rows.map(({ columns, custom, exclusions, quotaHome, ...user }) => {
      const attributes: Record<string, string | null> = { ...columns };
      for (const [name, value] of Object.entries(custom)) attributes[`attributes.${name}`] = value;
      return [
        user.id,
        { user: { ...user, status: user.status as UserStatus, attributes }, exclusions: exclusions ?? [], quotaHome },
      ];
    }),
  );
}

async function selectOtherLinks(tx: TenantTx, connectionId: ConnectionId, ids: Ids): Promise<Map<UserId, OtherLink[]>> {
  const rows = await tx.sql<(OtherLink & { userId: UserId })[]>`
    select l.user_id as "userId", l.connection_id as "connectionId", m.is_active as "isActive",
      case when l.state = 'held' then l.applied else coalesce(m.mapped, '{}') end as mapped, l.state in ('linked', 'missing', 'held') and m.deleted_at is null and m.is_in_scope as "isLive"
    from links l
    join mirror_objects m on m.tenant_id = l.tenant_id and m.connection_id = l.connection_id and m.kind = 'user' and m.anchor = l.anchor
    where l.tenant_id = ${tx.tenantId} and l.user_id = any(${ids}) and l.connection_id <> ${connectionId}
    order by l.connection_id, l.anchor`;
  return Map.groupBy(rows, (row) => row.userId);
}

type Exclusion = { readonly organizationId: string; readonly role: string | null };

function covers(exclusion: Exclusion, rule: { readonly organizationId: string; readonly role: string }): boolean {
  return exclusion.organizationId === rule.organizationId && (exclusion.role === null || exclusion.role === rule.role);
}

export type Rule = Omit<Entitlement, 'isExcluded'>;

/** For the objects of a run. */
export async function wantedOfRun(tx: TenantTx, anchors: readonly string[]): Promise<Wanted> {
  const desired = await desiredOfRun(tx, anchors);
  const ids = [...new Set(desired.map((row) => row.ruleId))];
  return { desired, rules: await readRuleDetails(tx, ids) };
}

/** By id, with the names that an explanation shows. */
export async function readRuleDetails(tx: TenantTx, ids: readonly string[]): Promise<ReadonlyMap<string, Rule>> {
  if (ids.length === 0) return new Map();
  const rules = await tx.sql<Rule[]>`
    select ${ruleColumns(tx)} from role_mappings r ${ruleJoins(tx)} where r.tenant_id = ${tx.tenantId} and r.id = any(${ids as string[]}::uuid[])`;
  return new Map(rules.map((rule) => [rule.ruleId, rule]));
}

/** For a few, in one statement. */
export async function wantedOfAnchors(
  tx: TenantTx,
  connectionId: ConnectionId,
  anchors: readonly string[],
): Promise<Wanted> {
  const rows = await tx.sql<(Rule & DesiredRow)[]>`
    select d.anchor, ${ruleColumns(tx)} from (${desiredOfAnchors(tx, connectionId, anchors)}) d
    join role_mappings r on r.tenant_id = ${tx.tenantId} and r.id = d."ruleId" ${ruleJoins(tx)}
    order by d.anchor, r.id`;
  const desired: DesiredRow[] = [];
  const rules = new Map<string, Rule>();
  for (const { anchor, ...rule } of rows) {
    desired.push({ anchor, ruleId: rule.ruleId });
    rules.set(rule.ruleId, rule);
  }
  return { desired, rules };
}

function ruleColumns(tx: TenantTx) {
  return tx.sql`r.id as "ruleId", r.organization_id as "organizationId", o.name as "organizationName", r.role, r.group_anchor as "groupAnchor",
      coalesce(g.display_name, r.group_name) as "groupName", r.precedence, r.organization_id <> r.tenant_id as "isSubOrganization"`;
}

function ruleJoins(tx: TenantTx) {
  return tx.sql`
    join organizations o on o.tenant_id = r.tenant_id and o.id = r.organization_id
    left join mirror_objects g on g.tenant_id = r.tenant_id and g.connection_id = r.connection_id and g.kind = 'group' and g.anchor = r.group_anchor`;
}

async function selectRuleGrants(tx: TenantTx, connectionId: ConnectionId, ids: Ids): Promise<Map<UserId, RuleGrant[]>> {
  const rows = await tx.sql<(RuleGrant & { userId: UserId; role: GrantableRole; organizationId: OrganizationId })[]>`
    select g.user_id as "userId", r.id as "ruleId", g.organization_id as "organizationId", o.name as "organizationName", g.role,
      r.group_anchor as "groupAnchor", coalesce(m.display_name, r.group_name) as "groupName", r.ended_at is not null as "isRuleEnded",
      r.precedence, r.organization_id <> r.tenant_id as "isSubOrganization"
    from grants g
    join role_mappings r on r.tenant_id = g.tenant_id and 'rule:' || r.id = g.source and r.connection_id = ${connectionId}
    join organizations o on o.tenant_id = g.tenant_id and o.id = g.organization_id
    left join mirror_objects m on m.tenant_id = r.tenant_id and m.connection_id = r.connection_id and m.kind = 'group' and m.anchor = r.group_anchor
    where g.tenant_id = ${tx.tenantId} and g.user_id = any(${ids})
    order by g.user_id, g.organization_id, g.role, r.id`;
  return Map.groupBy(rows, (row) => row.userId);
}
