/**
 * What a push needs of its connection: mappings, rules, the other sources of the tenant, its domains. Read once, kept
 * per process, and asked for again as soon as anything of it changed: each push reads a stamp of all of it in its own
 * transaction, so nobody decides by what was true a moment ago.
 */
import { hash } from 'node:crypto';
import type { RunId } from '../../core/ids.ts';
import type { Mapper } from '../../core/mapping.ts';
import type { DecisionContext } from '../../core/subject.ts';
import type { TenantTx } from '../../db/db.ts';
import { openConnection, type ConnectionsDeps, type OpenConnection } from '../connections/connections.ts';
import { mapperOf } from '../mirror/read-directory.ts';
import { decisionContext } from '../plan/decision-context.ts';
import { readRuleDetails, type Rule } from '../plan/subjects.ts';
import type { PushContext } from './push-types.ts';

export type OpenPush = {
  readonly deps: ConnectionsDeps;
  readonly connection: OpenConnection;
  readonly mapper: Mapper;
  readonly decision: DecisionContext;
  readonly context: PushContext;
  /** Role mappings that need no group, by id. */
  readonly rules: ReadonlyMap<string, Rule>;
  readonly hasGroupRules: boolean;
  /** The run of the day that keeps what pushes change. */
  readonly standingRun: { readonly id: RunId; readonly isThere: boolean };
};

/** What the last push of this process went by. */
export type KnownPush = Pick<OpenPush, 'connection' | 'mapper' | 'rules' | 'hasGroupRules' | 'context'>;

type Kept = Pick<OpenPush, 'connection' | 'mapper' | 'decision' | 'rules' | 'hasGroupRules'> & {
  readonly stamp: string;
};

const mostKept = 500;

export type Opener = {
  /** Asks for the stamp now, so that it comes with what the caller reads; `open` takes it. */
  begin(tx: TenantTx, context: PushContext): void;
  open(tx: TenantTx, context: PushContext): Promise<OpenPush>;
  /** It may not hold any more: it does where `open` comes with the same mapper. */
  known(context: PushContext): KnownPush | null;
};

export function createOpenPush(deps: ConnectionsDeps): Opener {
  const kept = new Map<string, Kept>();
  const begun = new WeakMap<
    TenantTx,
    { readonly connectionId: string; readonly stamp: ReturnType<typeof readStamp> }
  >();
  const open: Opener['open'] = async (tx, context) => {
    const early = begun.get(tx);
    begun.delete(tx);
    const isMeant = early?.connectionId === context.connectionId;
    const { stamp, now, standingRun } = await (isMeant ? early.stamp : readStamp(tx, context));
    let found = kept.get(context.connectionId);
    if (found === undefined || found.stamp !== stamp) {
      const connection = await openConnection(tx, deps.connectors, context.connectionId);
      const others = connection.roleMappings.filter((rule) => rule.groupAnchor === null);
      found = {
        connection,
        mapper: mapperOf(connection),
        decision: await decisionContext(tx, connection, deps),
        rules: await readRuleDetails(
          tx,
          others.map(({ id }) => id),
        ),
        hasGroupRules: others.length < connection.roleMappings.length,
        stamp,
      };
      if (kept.size >= mostKept) kept.clear();
      kept.set(context.connectionId, found);
    }
    const { stamp: _, ...known } = found;
    return { deps, ...known, decision: { ...found.decision, now }, context, standingRun };
  };
  return {
    open,
    known: (context) => {
      const found = kept.get(context.connectionId);
      return found === undefined ? null : { ...found, context };
    },
    begin: (tx, context) => {
      const stamp = readStamp(tx, context);
      // told by `open`, or by the failure of what is read meanwhile
      stamp.catch(() => undefined);
      begun.set(tx, { connectionId: context.connectionId, stamp });
    },
  };
}

type Stamp = { readonly stamp: string; readonly now: string; readonly standingRun: OpenPush['standingRun'] };

/** `xmin` names the transaction that wrote a row last: a change of any row changes its hash, and with it the sum. */
async function readStamp(tx: TenantTx, context: PushContext): Promise<Stamp> {
  const id = standingRunId(context);
  const [row] = await tx.sql<{ stamp: string; now: string; isThere: boolean }[]>`
      select now() as now, concat_ws(';', ${tx.tenantId}::text,
        (select concat_ws(',', count(*), sum(hashtextextended(c.id || '/' || c.xmin::text, 0)::numeric)) from connections c where c.tenant_id = ${tx.tenantId}),
        (select concat_ws(',', count(*), sum(hashtextextended(concat_ws('/', r.id, r.xmin::text, (
            select o.xmin::text from organizations o where o.tenant_id = r.tenant_id and o.id = r.organization_id)), 0)::numeric))
          from role_mappings r where r.tenant_id = ${tx.tenantId} and r.connection_id = ${context.connectionId}),
        (select concat_ws(',', count(*), sum(hashtextextended(d.name || '/' || d.xmin::text, 0)::numeric)) from domains d where d.tenant_id = ${tx.tenantId}),
        (select o.xmin::text from organizations o where o.tenant_id = ${tx.tenantId}
          and o.id = (select organization_id from connections where tenant_id = ${tx.tenantId} and id = ${context.connectionId}))) as stamp,
        exists (select 1 from runs where tenant_id = ${tx.tenantId} and id = ${id}) as "isThere"`;
  if (row === undefined) throw new Error('A select without from gives one row.');
  const { stamp, now, isThere } = row;
  return { stamp, now, standingRun: { id, isThere } };
}

/** One per connection and UTC day; its id follows from both, so that no request waits for another to make it. */
function standingRunId({ connectionId }: PushContext): RunId {
  const day = new Date().toISOString().slice(0, 10);
  const hex = hash('md5', `${connectionId}/${day}`);
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-8${hex.slice(13, 16)}-a${hex.slice(17, 20)}-${hex.slice(20)}` as RunId;
}
