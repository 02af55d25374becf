/**
 * explain, for one directory object: what each step of the pipeline made of it, and, dry, what the next run would do.
 * The mapper, the loader and the decision are the ones that runs use. Reads only; a handful of statements per object.
 */
import type { ConnectionId } from '../../core/ids.ts';
import type { Draft, Subject } from '../../core/subject.ts';
import type { TenantTx } from '../../db/db.ts';
import { openConnection, type ConnectionsDeps, type OpenConnection } from '../connections/connections.ts';
import { mapperOf } from '../mirror/read-directory.ts';
import { decisionContext } from '../plan/decision-context.ts';
import { loadSubjects, wantedOfAnchors } from '../plan/subjects.ts';
import { decideSubject } from '../../core/decide.ts';
import { decideNow } from '../push/decide-now.ts';
import { selectGroupPaths, type GroupPaths } from './group-paths.ts';
import { actStep } from './step-act.ts';
import { decideStep } from './step-decide.ts';
import { importStep, matchStep, scopeStep } from './step-find.ts';
import { mapStep } from './step-map.ts';

export const explainSteps = ['import', 'scope', 'match', 'map', 'decide', 'act'] as const;

/** One thing that a step looked at. */
export type ExplainLine = {
  readonly what: string;
  readonly input: string | null;
  readonly rule: string | null;
  readonly outcome: string;
};

export type ExplainStep = {
  readonly step: (typeof explainSteps)[number];
  readonly input: string;
  readonly rule: string;
  /** Of the connection, whose document holds the rule. */
  readonly ruleVersion: number;
  readonly outcome: string;
  readonly lines: readonly ExplainLine[];
};

export type ObjectExplanation = {
  readonly connectionId: ConnectionId;
  readonly connectionName: string;
  readonly anchor: string;
  readonly name: string;
  readonly locator: string | null;
  readonly userId: string | null;
  readonly steps: readonly ExplainStep[];
};

export type MirrorRow = {
  readonly anchor: string;
  readonly name: string;
  readonly locator: string | null;
  readonly source: Readonly<Record<string, unknown>>;
  readonly mapped: Readonly<Record<string, string | null>>;
  readonly isPushed: boolean;
  readonly isActive: boolean;
  readonly isInScope: boolean;
  readonly problem: string | null;
  readonly version: number;
  readonly settledVersion: number | null;
  readonly absentSince: string | null;
  readonly deletedAt: string | null;
  readonly updatedAt: string;
  readonly linkReason: string | null;
};

/** Everything the steps are told from. */
export type Evidence = {
  readonly open: OpenConnection;
  readonly object: MirrorRow;
  readonly subject: Subject;
  readonly drafts: readonly Draft[];
  readonly paths: GroupPaths;
  readonly exclusions: readonly {
    readonly organizationId: string;
    readonly role: string | null;
    readonly text: string;
  }[];
  readonly waiting: readonly {
    readonly runId: string;
    readonly status: string;
    readonly state: string;
    readonly op: string;
    readonly reason: string;
  }[];
  readonly cases: readonly {
    readonly id: string;
    readonly kind: string;
    readonly status: string;
    readonly reason: string;
  }[];
  readonly names: ReadonlyMap<string, string>;
};

/** Explains these objects of one connection, in the order given; an anchor that the mirror does not hold is left out. */
export async function explainObjects(
  tx: TenantTx,
  deps: Pick<ConnectionsDeps, 'connectors'>,
  connectionId: ConnectionId,
  anchors: readonly string[],
): Promise<ObjectExplanation[]> {
  const open = await openConnection(tx, deps.connectors, connectionId);
  const [rows, context, paths, waiting, cases, names] = await Promise.all([
    selectObjects(tx, connectionId, anchors),
    decisionContext(tx, open, deps),
    selectGroupPaths(tx, connectionId, anchors),
    selectWaiting(tx, connectionId, anchors),
    selectCases(tx, connectionId, anchors),
    selectConnectionNames(tx),
  ]);
  const decisions = new Map<string, { readonly subject: Subject; readonly drafts: readonly Draft[] }>();
  if (open.connection.kind === 'scim') {
    const now = await decideNow(tx, open, context, anchors);
    for (const subject of now.subjects) decisions.set(subject.anchor, { subject, drafts: [] });
    for (const decided of now.decided) decisions.set(decided.subject.anchor, decided);
  } else {
    const subjects = await loadSubjects(tx, {
      connectionId,
      anchors,
      wanted: wantedOfAnchors(tx, connectionId, anchors),
      correlation: open.policy.correlation,
      provenDomains: [...context.provenDomains],
    });
    for (const subject of subjects) decisions.set(subject.anchor, { subject, drafts: decideSubject(subject, context) });
  }
  const exclusions = await selectExclusions(
    tx,
    [...decisions.values()].flatMap(({ subject }) => subject.user?.id ?? []),
  );
  return anchors.flatMap((anchor) => {
    const object = rows.get(anchor);
    const decision = decisions.get(anchor);
    if (object === undefined || decision === undefined) return [];
    return [
      explain({
        open,
        object,
        ...decision,
        paths,
        exclusions: exclusions.filter((exclusion) => exclusion.userId === decision.subject.user?.id),
        waiting: waiting.filter((row) => row.anchor === anchor),
        cases: cases.filter((row) => row.anchor === anchor),
        names,
      }),
    ];
  });
}

function explain(evidence: Evidence): ObjectExplanation {
  const { open, object, subject } = evidence;
  const mapper = object.isPushed ? null : mapperOf(open);
  const result = mapper?.map(object.source) ?? null;
  return {
    connectionId: open.connection.id,
    connectionName: open.row.name,
    anchor: object.anchor,
    name: object.name,
    locator: object.locator,
    userId: subject.link === null ? null : (subject.user?.id ?? null),
    steps: [
      importStep(evidence),
      scopeStep(evidence, result),
      matchStep(evidence),
      mapStep(evidence, result),
      decideStep(evidence),
      actStep(evidence),
    ],
  };
}

async function selectObjects(
  tx: TenantTx,
  connectionId: ConnectionId,
  anchors: readonly string[],
): Promise<Map<string, MirrorRow>> {
  const rows = await tx.sql<MirrorRow[]>`
    select m.anchor, coalesce(m.display_name, m.anchor) as name, m.locator, m.source, coalesce(m.mapped, '{}') as mapped, m.is_pushed as "isPushed",
      m.is_active as "isActive", m.is_in_scope as "isInScope", m.problem, m.version::int as version, l.settled_version::int as "settledVersion",
      m.absent_since as "absentSince", m.deleted_at as "deletedAt", m.updated_at as "updatedAt", l.reason as "linkReason"
    from mirror_objects m
    left join links l on l.tenant_id = m.tenant_id and l.connection_id = m.connection_id and l.anchor = m.anchor
    where m.tenant_id = ${tx.tenantId} and m.connection_id = ${connectionId} and m.kind = 'user' and m.anchor = any(${[...anchors]})`;
  return new Map(rows.map((row) => [row.anchor, row]));
}

function selectWaiting(tx: TenantTx, connectionId: ConnectionId, anchors: readonly string[]) {
  return tx.sql<(Evidence['waiting'][number] & { readonly anchor: string })[]>`
    select c.anchor, c.run_id as "runId", r.status, c.state, c.op, c.reason from changes c
    join runs r on r.tenant_id = c.tenant_id and r.id = c.run_id and r.status in ('planned', 'held')
    where c.tenant_id = ${tx.tenantId} and c.connection_id = ${connectionId} and c.anchor = any(${[...anchors]})
      and c.state in ('planned', 'held')
    order by c.run_id desc, c.seq limit 200`;
}

function selectCases(tx: TenantTx, connectionId: ConnectionId, anchors: readonly string[]) {
  return tx.sql<(Evidence['cases'][number] & { readonly anchor: string })[]>`
    select anchor, id, kind, status, reason from cases
    where tenant_id = ${tx.tenantId} and connection_id = ${connectionId} and anchor = any(${[...anchors]}) and status <> 'resolved'
    order by created_at desc, id limit 50`;
}

async function selectConnectionNames(tx: TenantTx): Promise<Map<string, string>> {
  const rows = await tx.sql<{ id: string; text: string }[]>`
    select id, name || ' (priority ' || priority || ')' as text from connections where tenant_id = ${tx.tenantId}`;
  return new Map(rows.map((row) => [row.id, row.text]));
}

function selectExclusions(tx: TenantTx, userIds: readonly string[]) {
  return tx.sql<(Evidence['exclusions'][number] & { readonly userId: string })[]>`
    select user_id as "userId", organization_id as "organizationId", role, created_by || ': ' || reason as text from exclusions
    where tenant_id = ${tx.tenantId} and user_id = any(${[...userIds]}::uuid[]) and (until is null or until > now())
    order by created_at desc`;
}
