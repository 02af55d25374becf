/**
 * Positions and totals of a long list without reading all of it.
 *
 * A connection with many users has every 500th of their ids written down, in the order of the list, as of a moment that
 * lies far enough back that no request of that time is still running (the cutoff). Ids are UUIDv7, so what came later
 * stands behind: a page is found by its nearest mark, and the total is the marked one, plus what came since, minus what
 * went since; both are short reads of an index. People deleted since the cutoff keep their position, so that a client
 * which deletes while it pages by startIndex skips nobody, whichever replica answers.
 */
import type { TenantTx } from '../db/db.ts';
import type { ResourceModel } from './schema-model.ts';
import type { Place } from './store.ts';

/** Where a page starts (null: nowhere, the list is shorter), and what the client is told as the total. */
export type ListPosition = { readonly start: string | null; readonly total: number };

export type ListMarks = {
  /** Null where the list is short, or its marks are being made elsewhere: count and skip then. */
  locate(tx: TenantTx, place: Place, model: ResourceModel, position: number): Promise<ListPosition | null>;
};

const step = 500;
/** Shorter lists are counted faster than their marks are read. */
const fromTotal = 5_000;
/** No request that makes or deletes a resource lives longer (pools, locks and HTTP have limits below), clocks included. */
const settledAfterMs = 120_000;
/** Made anew when so many came or went since, but not more often than this. */
const refreshAfterChanges = 10_000;
const refreshAfterMs = 2 * settledAfterMs;

export function createListMarks(now: () => Date): ListMarks {
  return {
    locate: async (tx, place, model, position) => {
      const known = await readMarks(tx, place, model, position);
      if (known !== null && !isWorn(known, now())) return toPosition(tx, place, model, known, position);
      if (known === null && !(await isLong(tx, place, model))) return null;
      const isMade = await makeMarks(tx, place, model, new Date(now().getTime() - settledAfterMs));
      const made = isMade ? await readMarks(tx, place, model, position) : known;
      return made === null ? null : toPosition(tx, place, model, made, position);
    },
  };
}

type Marks = {
  readonly cutoff: string;
  readonly cutoffAnchor: string;
  readonly total: number;
  /** The mark at or before the position; null behind the last one. */
  readonly mark: string | null;
  readonly created: number;
  readonly removed: number;
};

async function readMarks(tx: TenantTx, place: Place, model: ResourceModel, position: number): Promise<Marks | null> {
  const { tenantId, connectionId } = place;
  const [row] = await tx.sql<Omit<Marks, 'created' | 'removed'>[]>`
    select m.cutoff, m.cutoff_anchor as "cutoffAnchor", m.total,
      case when ${position}::int < m.total then m.anchors[${Math.floor(position / step) + 1}::int] end as mark
    from scim_list_marks m
    where m.tenant_id = ${tenantId} and m.connection_id = ${connectionId} and m.kind = ${model.kind}`;
  if (row === undefined) return null;
  // a statement of its own: with the cutoff as a value the planner knows that few rows lie behind it, and that an
  // index finds them (a walk tells it so); taken from the row above, it would expect a third of all and read the table
  const [since] = await tx.sql<Pick<Marks, 'created' | 'removed'>[]>`
    select (${createdSql(tx, place, model, row.cutoffAnchor)}) as created, (${removedSql(tx, place, model, row, '')}) as removed`;
  return { ...row, created: since?.created ?? 0, removed: since?.removed ?? 0 };
}

function createdSql({ sql }: TenantTx, { tenantId, connectionId }: Place, { kind }: ResourceModel, from: string) {
  return sql<{ count: number }[]>`
    select count(*)::int as count from mirror_objects o
    where o.tenant_id = ${tenantId} and o.connection_id = ${connectionId} and o.kind = ${kind} and o.is_pushed
      and o.anchor >= ${from}`;
}

function isWorn(marks: Marks, now: Date): boolean {
  const ageMs = now.getTime() - Date.parse(marks.cutoff);
  return marks.created + marks.removed > refreshAfterChanges && ageMs > refreshAfterMs;
}

async function toPosition(
  tx: TenantTx,
  place: Place,
  model: ResourceModel,
  marks: Marks,
  position: number,
): Promise<ListPosition> {
  const all = marks.total + marks.created;
  if (position === 0) return { start: '', total: all - marks.removed };
  const start = position >= all ? null : await findStart(tx, place, model, marks, position);
  // those who went before the page keep their place in the count, or the client would stop before the end
  const removed =
    start === null || marks.removed === 0 ? 0 : ((await removedSql(tx, place, model, marks, start))[0]?.count ?? 0);
  return { start, total: all - (start === null ? marks.removed : removed) };
}

async function findStart(
  { sql }: TenantTx,
  { tenantId, connectionId }: Place,
  { kind }: ResourceModel,
  marks: Marks,
  position: number,
): Promise<string | null> {
  const [from, skip] =
    marks.mark === null ? [marks.cutoffAnchor, position - marks.total] : [marks.mark, position % step];
  const [row] = await sql<{ anchor: string }[]>`
    select o.anchor from mirror_objects o
    where o.tenant_id = ${tenantId} and o.connection_id = ${connectionId} and o.kind = ${kind} and o.is_pushed
      and o.anchor >= ${from} and (o.deleted_at is null or o.deleted_at >= ${marks.cutoff}::timestamptz)
    order by o.anchor offset ${skip} limit 1`;
  return row?.anchor ?? null;
}

function removedSql(
  { sql }: TenantTx,
  { tenantId, connectionId }: Place,
  { kind }: ResourceModel,
  marks: Pick<Marks, 'cutoff'>,
  start: string,
) {
  return sql<{ count: number }[]>`
    select count(*)::int as count from mirror_objects o
    where o.tenant_id = ${tenantId} and o.connection_id = ${connectionId} and o.kind = ${kind} and o.is_pushed
      and o.deleted_at >= ${marks.cutoff}::timestamptz and o.anchor >= ${start}`;
}

async function isLong({ sql }: TenantTx, { tenantId, connectionId }: Place, { kind }: ResourceModel): Promise<boolean> {
  const rows = await sql`
    select 1 from mirror_objects o
    where o.tenant_id = ${tenantId} and o.connection_id = ${connectionId} and o.kind = ${kind} and o.is_pushed
      and o.deleted_at is null
    offset ${fromTotal} limit 1`;
  return rows.length > 0;
}

/** False while another request makes them: nobody waits for a second reading of the whole list. */
async function makeMarks(
  { sql }: TenantTx,
  { tenantId, connectionId }: Place,
  { kind }: ResourceModel,
  cutoff: Date,
): Promise<boolean> {
  const [lock] = await sql<{ taken: boolean }[]>`
    select pg_try_advisory_xact_lock(hashtextextended(${`scim list marks ${connectionId} ${kind}`}, 0)) as taken`;
  if (lock?.taken !== true) return false;
  const at = cutoff.toISOString();
  await sql`
    insert into scim_list_marks (tenant_id, connection_id, kind, cutoff, cutoff_anchor, total, anchors)
    select ${tenantId}::uuid, ${connectionId}::uuid, ${kind}::text, ${at}::timestamptz, ${firstIdAt(cutoff)}::text, count(*)::int,
      coalesce(array_agg(anchor order by anchor) filter (where (place - 1) % ${step}::int = 0), '{}')
    from (
      select o.anchor, row_number() over (order by o.anchor) as place from mirror_objects o
      where o.tenant_id = ${tenantId} and o.connection_id = ${connectionId} and o.kind = ${kind} and o.is_pushed
        and o.anchor < ${firstIdAt(cutoff)} and (o.deleted_at is null or o.deleted_at >= ${at}::timestamptz)
    ) as placed
    on conflict (tenant_id, connection_id, kind) do update
      set cutoff = excluded.cutoff, cutoff_anchor = excluded.cutoff_anchor, total = excluded.total, anchors = excluded.anchors`;
  return true;
}

/** The smallest UUIDv7 of that millisecond. */
function firstIdAt(time: Date): string {
  const hex = time.getTime().toString(16).padStart(12, '0');
  return `${hex.slice(0, 8)}-${hex.slice(8)}-7000-8000-000000000000`;
}
