/** explain: for one user, which object, rule and run led to each value; for one object, what each step made of it. Reads only. */
import { RollcallError } from '../../core/errors.ts';
import { isUuid, type TenantId, type UserId } from '../../core/ids.ts';
import { textKey } from '../../core/text-keys.ts';
import type { TenantTx } from '../../db/db.ts';
import { selectChanges, type Change } from '../plan/changes.ts';
import { desiredOfAnchors } from '../plan/selection.ts';
import type { ConnectionId } from '../../core/ids.ts';
import type { ConnectionsDeps } from '../connections/connections.ts';
import { explainObjects, type ObjectExplanation } from './explain-object.ts';
import { selectGroupPaths } from './group-paths.ts';
import { explainAttribute, selectOrigins, type ExplainedAttribute } from './origins.ts';

export type ExplainedLink = {
  readonly connectionId: ConnectionId;
  readonly connectionName: string;
  readonly connectionVersion: number;
  readonly priority: number;
  readonly anchor: string;
  readonly locator: string | null;
  readonly state: string;
  readonly matchedBy: string | null;
  readonly reason: string | null;
  /** Of a leaver: what the leaver policy does next, and when. */
  readonly due: { readonly what: string; readonly at: string } | null;
  readonly isActive: boolean;
  readonly mapped: Readonly<Record<string, string | null>>;
  readonly groups: readonly string[];
};

export type ExplainedGrant = {
  readonly organization: string;
  readonly role: string;
  readonly source: string;
  /** In words: who or what gave it. */
  readonly because: string;
  readonly runId: string | null;
  readonly since: string;
  /** Of a role mapping: its id, precedence, and the version of the connection that the run used. */
  readonly ruleId: string | null;
  readonly precedence: number | null;
  readonly ruleVersion: number | null;
  readonly anchor: string | null;
  /** The groups from the user's own up to the mapped one; null where no group is the reason now. */
  readonly groups: string | null;
};

export type Explanation = {
  readonly user: {
    readonly id: UserId;
    readonly displayName: string | null;
    readonly username: string | null;
    readonly email: string | null;
    readonly status: string;
    readonly statusReason: string | null;
    readonly isProtected: boolean;
    readonly protectedBy: string | null;
    readonly protectedReason: string | null;
    /** Where the draws count, and why. */
    readonly quotaHome: string;
    readonly quotaHomeSource: string;
  };
  readonly attributes: readonly ExplainedAttribute[];
  readonly links: readonly ExplainedLink[];
  readonly grants: readonly ExplainedGrant[];
  readonly exclusions: readonly {
    readonly organization: string;
    readonly role: string | null;
    readonly reason: string;
    readonly by: string;
  }[];
  /** Roles a directory would give if no exclusion stood against them. */
  readonly withheld: readonly { readonly organization: string; readonly role: string; readonly group: string | null }[];
  /** Each linked object through the steps of the pipeline, ending with what the next run would do. */
  readonly objects: readonly ObjectExplanation[];
  /** Newest first. */
  readonly history: readonly Change[];
};

/** Whoever is linked to more is explained by these; the rest is named among the links. */
const maxObjects = 20;

export type ExplainDeps = Pick<ConnectionsDeps, 'db' | 'connectors'>;

export function explainUser(deps: ExplainDeps, tenantId: TenantId, idOrName: string): Promise<Explanation> {
  return deps.db.tenant(tenantId, async (tx) => {
    const userId = await findUser(tx, idOrName);
    const [user, links, grants, exclusions, history, origins] = await Promise.all([
      selectUser(tx, userId),
      selectLinks(tx, userId),
      selectGrants(tx, userId),
      selectExclusions(tx, userId),
      selectChanges(tx, { userId, limit: 50 }),
      selectOrigins(tx, userId),
    ]);
    const objects = await explainLinked(tx, deps, links.slice(0, maxObjects));
    const names = new Map(
      links.map((link) => [`connection:${link.connectionId}`, `${link.connectionName} (priority ${link.priority})`]),
    );
    const attributes = Object.entries(user.values).flatMap(([attribute, value]) =>
      value === null
        ? []
        : [
            explainAttribute(
              attribute,
              value,
              user.provenance[attribute],
              sourceInWords(user.provenance[attribute], names),
              origins,
              objects,
            ),
          ],
    );
    const withheld = (await Promise.all(links.map((link) => selectWithheld(tx, userId, link)))).flat();
    const { values: _values, provenance: _provenance, ...facts } = user;
    return {
      user: facts,
      attributes,
      links,
      grants: await withGroups(tx, links, grants),
      exclusions,
      withheld,
      objects,
      history,
    };
  });
}

/** An object by its immutable id, name, username, e-mail address or place: dry, linked or not. */
export function explainObject(
  deps: ExplainDeps,
  tenantId: TenantId,
  connectionId: ConnectionId,
  reference: string,
): Promise<ObjectExplanation> {
  return deps.db.tenant(tenantId, async (tx) => {
    const anchor = await findObject(tx, connectionId, reference);
    const [explanation] = await explainObjects(tx, deps, connectionId, [anchor]);
    if (explanation === undefined) throw notInMirror(reference);
    return explanation;
  });
}

export async function findObject(tx: TenantTx, connectionId: ConnectionId, reference: string): Promise<string> {
  const key = textKey(reference) ?? '';
  const rows = await tx.sql<{ anchor: string; name: string; isExact: boolean }[]>`
    select anchor, coalesce(display_name, anchor) || coalesce(' <' || locator || '>', '') as name, anchor = ${reference.toLowerCase()} as "isExact"
    from mirror_objects
    where tenant_id = ${tx.tenantId} and connection_id = ${connectionId} and kind = 'user' and (anchor = ${reference.toLowerCase()}
      or display_name_key = ${key} or user_name_key = ${key} or email_key = ${key} or locator = ${reference})
    order by 3 desc, deleted_at nulls first, anchor limit 10`;
  const [first, ...more] = rows;
  if (first === undefined) throw notInMirror(reference);
  if (first.isExact || more.length === 0) return first.anchor;
  throw new RollcallError(
    'invalid_input',
    `Several objects match ${reference}: ${rows.map((row) => `${row.name} (${row.anchor})`).join(', ')}.`,
    { remedy: 'Give the immutable id.' },
  );
}

function notInMirror(reference: string): RollcallError {
  return new RollcallError('not_found', `This connection has not read an object ${reference}.`, {
    remedy: 'Look for it in the directory now with: rollcall provision CONNECTION OBJECT',
  });
}

async function explainLinked(
  tx: TenantTx,
  deps: ExplainDeps,
  links: readonly ExplainedLink[],
): Promise<ObjectExplanation[]> {
  const found: ObjectExplanation[] = [];
  for (const [connectionId, ofConnection] of Map.groupBy(links, (link) => link.connectionId)) {
    found.push(
      ...(await explainObjects(
        tx,
        deps,
        connectionId,
        ofConnection.map((link) => link.anchor),
      )),
    );
  }
  return found;
}

type GrantRow = Omit<ExplainedGrant, 'anchor' | 'groups'> & {
  readonly connectionId: ConnectionId | null;
  readonly groupAnchor: string | null;
};

async function withGroups(
  tx: TenantTx,
  links: readonly ExplainedLink[],
  grants: readonly GrantRow[],
): Promise<ExplainedGrant[]> {
  const byConnection = Map.groupBy(links, (link) => link.connectionId);
  const paths = new Map(
    await Promise.all(
      [...byConnection].map(
        async ([id, ofConnection]) =>
          [
            id,
            await selectGroupPaths(
              tx,
              id,
              ofConnection.map((link) => link.anchor),
            ),
          ] as const,
      ),
    ),
  );
  return grants.map(({ connectionId, groupAnchor, ...grant }) => {
    const link = links.find((one) => one.connectionId === connectionId);
    const path = connectionId === null ? undefined : paths.get(connectionId);
    const groups = link === undefined || groupAnchor === null ? null : (path?.pathTo(link.anchor, groupAnchor) ?? null);
    return { ...grant, anchor: link?.anchor ?? null, groups };
  });
}

function sourceInWords(source: string | undefined, names: ReadonlyMap<string, string>): string {
  if (source === undefined) return 'unknown';
  return source === 'manual' ? 'set by hand' : (names.get(source) ?? source);
}

/** By id, username, e-mail, or display name; throws invalid_input naming the matches when several fit. */
async function findUser(tx: TenantTx, idOrName: string): Promise<UserId> {
  const key = textKey(idOrName) ?? '';
  const rows = await tx.sql<{ id: UserId; name: string }[]>`
    select id, coalesce(display_name, username, email, id::text) || ' <' || coalesce(username, email, id::text) || '>' as name from users
    where tenant_id = ${tx.tenantId} and (id = ${isUuid(idOrName) ? idOrName : null}::uuid or username_key = ${key} or email_key = ${key}
      or display_name_key = ${key})
    order by status, id limit 10`;
  const [first, ...more] = rows;
  if (first === undefined) {
    throw new RollcallError('not_found', `There is no user ${idOrName}.`, {
      remedy: 'Give an id, a username, an e-mail address or a full name.',
    });
  }
  if (more.length > 0) {
    throw new RollcallError(
      'invalid_input',
      `Several users match ${idOrName}: ${rows.map((row) => `${row.name} (${row.id})`).join(', ')}.`,
      {
        remedy: 'Give the id.',
      },
    );
  }
  return first.id;
}

type UserFacts = Explanation['user'] & {
  readonly values: Readonly<Record<string, string | null>>;
  readonly provenance: Readonly<Record<string, string>>;
};

async function selectUser(tx: TenantTx, userId: UserId): Promise<UserFacts> {
  const [row] = await tx.sql<UserFacts[]>`
    select id, display_name as "displayName", username, email, status, status_reason as "statusReason", is_protected as "isProtected",
      protected_by as "protectedBy", protected_reason as "protectedReason", provenance,
      coalesce((select o.name from organizations o where o.tenant_id = users.tenant_id and o.id = coalesce(users.quota_home_id, users.tenant_id)), '')
        as "quotaHome",
      case when provenance ->> 'quotaHome' = 'manual' then 'chosen by a person'
        when provenance ->> 'quotaHome' like 'rule:%' then 'the role mapping of highest precedence in a sub-organization: '
          || substring(provenance ->> 'quotaHome' from 6)
        else 'where the user was first added' end as "quotaHomeSource",
      jsonb_build_object('username', username, 'email', email, 'displayName', display_name, 'givenName', given_name, 'familyName', family_name,
        'phone', phone, 'employeeId', employee_id, 'department', department, 'jobTitle', job_title) as values
    from users where tenant_id = ${tx.tenantId} and id = ${userId}`;
  if (row === undefined) throw new RollcallError('not_found', `There is no user ${userId}.`);
  return row;
}

/** Days of grace, and of a suspended leaver the days until removal (leavers.ts decides by the same columns). */
function dueOf(tx: TenantTx) {
  const days = (key: string) => tx.sql`make_interval(days => (n.policy -> 'leaver' ->> ${key})::int)`;
  return tx.sql`case
    when l.leaving_since is not null and l.state in ('linked', 'missing') then jsonb_build_object(
      'what', coalesce(n.policy -> 'leaver' ->> 'policy', 'suspend'), 'at', l.leaving_since + coalesce(${days('graceDays')}, interval '0'))
    when l.state in ('suspended', 'gone', 'out_of_scope') and n.policy -> 'leaver' ->> 'deleteAfterDays' is not null and exists (
      select 1 from users u where u.tenant_id = l.tenant_id and u.id = l.user_id and u.status = 'suspended'
        and u.suspended_by = 'connection:' || l.connection_id)
      then jsonb_build_object('what', 'remove', 'at', l.ended_at + ${days('deleteAfterDays')})
    end`;
}

function selectLinks(tx: TenantTx, userId: UserId): Promise<ExplainedLink[]> {
  return tx.sql<ExplainedLink[]>`
    select l.connection_id as "connectionId", n.name as "connectionName", n.version as "connectionVersion", n.priority, l.anchor, m.locator, l.state,
      l.matched_by as "matchedBy", l.reason, ${dueOf(tx)} as due, m.is_active as "isActive", coalesce(m.mapped, '{}') as mapped,
      coalesce((
        select jsonb_agg(coalesce(g.display_name, g.anchor) order by g.display_name) from mirror_edges e
        join mirror_objects g on g.tenant_id = e.tenant_id and g.connection_id = e.connection_id and g.kind = 'group' and g.anchor = e.group_anchor
          and g.deleted_at is null
        where e.tenant_id = l.tenant_id and e.connection_id = l.connection_id and e.member_anchor = l.anchor), '[]') as groups
    from links l
    join connections n on n.tenant_id = l.tenant_id and n.id = l.connection_id
    join mirror_objects m on m.tenant_id = l.tenant_id and m.connection_id = l.connection_id and m.kind = 'user' and m.anchor = l.anchor
    where l.tenant_id = ${tx.tenantId} and l.user_id = ${userId}
    order by n.priority, n.id, l.anchor`;
}

function selectGrants(tx: TenantTx, userId: UserId): Promise<GrantRow[]> {
  return tx.sql<GrantRow[]>`
    select o.name as organization, g.role, g.source, g.run_id as "runId", g.created_at as since,
      r.id as "ruleId", r.precedence, n.id as "connectionId", r.group_anchor as "groupAnchor",
      (select u.connection_version from runs u where u.tenant_id = g.tenant_id and u.id = g.run_id) as "ruleVersion",
      case
        when r.id is null then 'given by ' || g.source
        when coalesce(m.display_name, r.group_name) is not null then n.name || ': group ' || coalesce(m.display_name, r.group_name)
        else n.name || ': ' || case r.predicate when 'true' then 'everyone' else r.predicate end
      end as because
    from grants g
    join organizations o on o.tenant_id = g.tenant_id and o.id = g.organization_id
    left join role_mappings r on r.tenant_id = g.tenant_id and 'rule:' || r.id = g.source
    left join connections n on n.tenant_id = r.tenant_id and n.id = r.connection_id
    left join mirror_objects m on m.tenant_id = r.tenant_id and m.connection_id = r.connection_id and m.kind = 'group' and m.anchor = r.group_anchor
    where g.tenant_id = ${tx.tenantId} and g.user_id = ${userId}
    order by o.depth, o.name, g.role, g.source`;
}

function selectExclusions(tx: TenantTx, userId: UserId): Promise<Explanation['exclusions'][number][]> {
  return tx.sql<Explanation['exclusions'][number][]>`
    select o.name as organization, x.role, x.reason, x.created_by as by from exclusions x
    join organizations o on o.tenant_id = x.tenant_id and o.id = x.organization_id
    where x.tenant_id = ${tx.tenantId} and x.user_id = ${userId} and (x.until is null or x.until > now())
    order by o.name, x.role`;
}

async function selectWithheld(
  tx: TenantTx,
  userId: UserId,
  link: ExplainedLink,
): Promise<Explanation['withheld'][number][]> {
  const desired = await desiredOfAnchors(tx, link.connectionId, [link.anchor]);
  if (desired.length === 0) return [];
  return tx.sql<Explanation['withheld'][number][]>`
    select distinct o.name as organization, r.role, coalesce(m.display_name, r.group_name) as group from role_mappings r
    join organizations o on o.tenant_id = r.tenant_id and o.id = r.organization_id
    join exclusions x on x.tenant_id = r.tenant_id and x.organization_id = r.organization_id and x.user_id = ${userId}
      and (x.role is null or x.role = r.role) and (x.until is null or x.until > now())
    left join mirror_objects m on m.tenant_id = r.tenant_id and m.connection_id = r.connection_id and m.kind = 'group' and m.anchor = r.group_anchor
    where r.tenant_id = ${tx.tenantId} and r.id = any(${desired.map((row) => row.ruleId)}::uuid[])
    order by 1, 2`;
}
