/** Gauges about connections, read from the database when Prometheus asks: true whichever process did the work. */
import type { Db } from '../db/db.ts';
import type { Logger } from '../platform/logger.ts';
import { addReadGauge, type Metrics } from '../platform/metrics.ts';

export function addConnectionMetrics(metrics: Metrics, db: Db, logger: Logger): void {
  const onError = (error: unknown): void => {
    logger.debug({ err: error }, 'metrics of connections could not be read');
  };
  addReadGauge(
    metrics,
    {
      name: 'rollcall_connection_last_full_read_age_seconds',
      help: 'Time since the last complete full read of an active connection.',
      labelNames: ['connection'],
    },
    () =>
      db.engine(async ({ sql }) => {
        const rows = await sql<{ id: string; age: number }[]>`
          select id, extract(epoch from now() - last_full_at)::float8 as age
          from connections where status = 'active' and last_full_at is not null`;
        return rows.map(({ id, age }) => ({ labels: { connection: id }, value: age }));
      }),
    onError,
  );
  addReadGauge(
    metrics,
    { name: 'rollcall_runs', help: 'Runs that are live or wait for a person, by status.', labelNames: ['status'] },
    () =>
      db.engine(async ({ sql }) => {
        const rows = await sql<{ status: string; count: number }[]>`
          select status, count(*)::int as count from runs
          where status in ('queued', 'running', 'planned', 'held') and kind <> 'push' group by status`;
        return rows.map(({ status, count }) => ({ labels: { status }, value: count }));
      }),
    onError,
  );
}
