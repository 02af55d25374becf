/** Where each value of a user comes from: the object, the version of the rule, the run and the input that led to it. */
import type { ConnectionId, UserId } from '../../core/ids.ts';
import type { Mapping } from '../../core/policy.ts';
import type { TenantTx } from '../../db/db.ts';
import type { ObjectExplanation } from './explain-object.ts';

export type ExplainedAttribute = {
  readonly attribute: string;
  readonly value: string;
  /** In words: a connection with its priority, or by hand. */
  readonly source: string;
  /** Who typed it, of a value by hand. */
  readonly by: string | null;
  readonly anchor: string | null;
  /** The mapping as it stood in the version of the connection that the run used; null where it was the connector's default. */
  readonly rule: string | null;
  readonly ruleVersion: number | null;
  /** What the mapping read, as of now. */
  readonly input: string | null;
  readonly runId: string | null;
  readonly since: string | null;
};

type Origin = {
  readonly attribute: string;
  readonly runId: string;
  readonly connectionId: ConnectionId;
  readonly anchor: string | null;
  readonly ruleVersion: number;
  readonly since: string;
  readonly mappings: readonly Mapping[] | null;
};

type ByHand = { readonly attribute: string; readonly by: string; readonly since: string };

export type Origins = { readonly applied: ReadonlyMap<string, Origin>; readonly byHand: ReadonlyMap<string, ByHand> };

/** The last change of each attribute that was applied, with the document of the version that its run pinned. */
export async function selectOrigins(tx: TenantTx, userId: UserId): Promise<Origins> {
  const [applied, byHand] = await Promise.all([
    tx.sql<Origin[]>`
      select distinct on (k.attribute) k.attribute, c.run_id as "runId", c.connection_id as "connectionId", c.anchor,
        r.connection_version as "ruleVersion", c.applied_at as since, v.document -> 'mappings' as mappings
      from changes c
      join runs r on r.tenant_id = c.tenant_id and r.id = c.run_id
      left join connection_versions v on v.tenant_id = c.tenant_id and v.connection_id = c.connection_id and v.version = r.connection_version
      cross join lateral jsonb_object_keys(case when jsonb_typeof(c.after) = 'object' then c.after else '{}' end) k(attribute)
      where c.tenant_id = ${tx.tenantId} and c.user_id = ${userId} and c.state = 'applied' and c.op in ('create', 'update', 'key')
      order by k.attribute, c.applied_at desc, c.run_id desc, c.seq desc`,
    // the newest two hundred words about the user are looked at: older ones were overwritten, or the answer is "by hand"
    tx.sql<ByHand[]>`
      select distinct on (k.attribute) k.attribute, e.actor as by, e.at as since
      from (
        select actor, at, seq, details -> 'changes' as changes from audit_events
        where tenant_id = ${tx.tenantId} and target = ${`user:${userId}`} and action in ('user.created', 'user.updated')
        order by at desc limit 200) e
      cross join lateral jsonb_object_keys(case when jsonb_typeof(e.changes) = 'object' then e.changes else '{}' end) k(attribute)
      order by k.attribute, e.seq desc`,
  ]);
  return {
    applied: new Map(applied.map((row) => [row.attribute, row])),
    byHand: new Map(byHand.map((row) => [row.attribute, row])),
  };
}

export function explainAttribute(
  attribute: string,
  value: string,
  provenance: string | undefined,
  source: string,
  origins: Origins,
  objects: readonly ObjectExplanation[],
): ExplainedAttribute {
  if (provenance === 'manual') {
    const word = origins.byHand.get(attribute);
    const nothing = { anchor: null, rule: null, ruleVersion: null, input: null, runId: null };
    return { attribute, value, source, by: word?.by ?? null, ...nothing, since: word?.since ?? null };
  }
  const found = origins.applied.get(attribute);
  const origin = found !== undefined && provenance === `connection:${found.connectionId}` ? found : undefined;
  const object = objects.find(
    (one) =>
      `connection:${one.connectionId}` === provenance &&
      (origin === undefined || origin.anchor === null || one.anchor === origin.anchor),
  );
  const line = object?.steps.find((step) => step.step === 'map')?.lines.find((one) => one.what === attribute);
  return {
    attribute,
    value,
    source,
    by: null,
    anchor: origin?.anchor ?? object?.anchor ?? null,
    rule: origin?.mappings?.find((mapping) => mapping.target === attribute)?.expression ?? line?.rule ?? null,
    ruleVersion: origin?.ruleVersion ?? null,
    input: line?.input ?? null,
    runId: origin?.runId ?? null,
    since: origin?.since ?? null,
  };
}
