/** Gauges about connections, read from the database when Prometheus asks: true whichever process did the work. */
import type { Db, EngineTx } from '../db/db.ts';
import type { Logger } from '../platform/logger.ts';
import { addReadGauge, type Metrics } from '../platform/metrics.ts';

type Sample = { readonly label: string; readonly value: number };

type ConnectionGauge = {
  readonly name: `rollcall_${string}`;
  readonly help: string;
  readonly labelName: string;
  readonly read: (tx: EngineTx) => Promise<readonly Sample[]>;
};

/** A quarantined connection counts: that it is not read any more is what somebody should see. */
const gauges: readonly ConnectionGauge[] = [
  {
    name: 'rollcall_connection_last_full_read_age_seconds',
    help: 'Time since the last complete full read of a connection that is active or in quarantine; since it was made, where there was none.',
    labelName: 'connection',
    read: ({ sql }) => sql<Sample[]>`
      select id as label, extract(epoch from now() - coalesce(last_full_at, created_at))::float8 as value
      from connections where status in ('active', 'quarantined') and kind <> 'scim'`,
  },
  {
    name: 'rollcall_connection_oldest_unapplied_change_age_seconds',
    help: 'Age of the oldest plan of a connection whose changes wait for a person or a worker; 0 where none waits.',
    labelName: 'connection',
    read: ({ sql }) => sql<Sample[]>`
      select c.id as label, coalesce(max(extract(epoch from now() - r.created_at)), 0)::float8 as value
      from connections c
      left join runs r on r.tenant_id = c.tenant_id and r.connection_id = c.id
        and (r.status in ('planned', 'held') or (r.status in ('queued', 'running') and r.phase = 'apply'))
      group by c.id`,
  },
  {
    name: 'rollcall_connection_quarantined',
    help: '1 while a connection is in quarantine, else 0.',
    labelName: 'connection',
    read: ({ sql }) => sql<Sample[]>`
      select id as label, (status = 'quarantined')::int as value from connections`,
  },
  {
    name: 'rollcall_connection_failed_runs',
    help: 'Runs of a connection that failed in a row.',
    labelName: 'connection',
    read: ({ sql }) => sql<Sample[]>`
      select id as label, failed_runs as value from connections`,
  },
  {
    name: 'rollcall_connection_token_expires_in_seconds',
    help: 'Time until the next token of a SCIM connection ends; negative since the last one ended. None without an end.',
    labelName: 'connection',
    read: ({ sql }) => sql<Sample[]>`
      select connection_id as label, extract(epoch from coalesce(
        min(expires_at) filter (where expires_at > now() and reminded_days is distinct from 0),
        case when bool_and(expires_at is not null) then max(expires_at) end) - now())::float8 as value
      from tokens where connection_id is not null and revoked_at is null and key_id is null
      group by 1 having bool_or(expires_at > now() and reminded_days is distinct from 0) or bool_and(expires_at is not null)`,
  },
  {
    name: 'rollcall_runs',
    help: 'Runs that are live or wait for a person, by status.',
    labelName: 'status',
    read: ({ sql }) => sql<Sample[]>`
      select status as label, count(*)::int as value from runs
      where status in ('queued', 'running', 'planned', 'held') and kind <> 'push' group by status`,
  },
];

export function addConnectionMetrics(metrics: Metrics, db: Db, logger: Logger): void {
  const onError = (error: unknown): void => {
    logger.debug({ err: error }, 'metrics of connections could not be read');
  };
  for (const { name, help, labelName, read } of gauges) {
    const sample = async () => {
      const rows = await db.engine(read);
      return rows.map(({ label, value }) => ({ labels: { [labelName]: label }, value }));
    };
    addReadGauge(metrics, { name, help, labelNames: [labelName] }, sample, onError);
  }
}
