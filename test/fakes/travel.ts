/** Time travel: everything that happened is moved into the past, by the database's clock, which dates and counts. */
import type { TenantId } from '../../src/core/ids.ts';
import type { Db } from '../../src/db/db.ts';

const dated = {
  links: ['leaving_since', 'ended_at', 'created_at', 'updated_at'],
  mirror_objects: ['absent_since', 'deleted_at', 'created_at', 'updated_at'],
  users: ['status_changed_at', 'created_at', 'updated_at'],
  changes: ['applied_at', 'created_at'],
  runs: ['started_at', 'heartbeat_at', 'finished_at', 'created_at', 'approved_at', 'scheduled_for'],
  cases: ['created_at', 'resolved_at'],
  connections: ['last_full_at', 'created_at', 'updated_at'],
} as const;

/** After this, `days` days have passed in the tenant. */
export async function travel(db: Db, tenantId: TenantId, days: number): Promise<void> {
  await db.tenant(tenantId, async (tx) => {
    for (const [table, columns] of Object.entries(dated)) {
      for (const column of columns) {
        const name = tx.sql(column);
        await tx.sql`update ${tx.sql(table)} set ${name} = ${name} - make_interval(days => ${days}) where tenant_id = ${tx.tenantId}`;
      }
    }
  });
}
