/** The index of user keys behind correlation rules of an admin's own: kept by a trigger, made here. */
import { readRules } from '../../core/correlation.ts';
import { policySchema } from '../../core/policy.ts';
import type { TenantTx } from '../../db/db.ts';
import { selectConnections } from '../connections/connections-store.ts';

/** Makes the tenant's specs those that its connections ask for, with the keys of the users there are. */
export async function syncCorrelationSpecs(tx: TenantTx): Promise<void> {
  const wanted = new Map<string, { readonly attribute: string; readonly normalizers: readonly string[] }>();
  for (const row of await selectConnections(tx)) {
    for (const rule of readRules(policySchema.parse(row.policy).correlation)) {
      if (rule.spec !== null) wanted.set(rule.spec, { attribute: rule.attribute, normalizers: rule.normalizers });
    }
  }
  const specs = [...wanted.keys()];
  await tx.sql`delete from correlation_keys where tenant_id = ${tx.tenantId} and spec <> all(${specs})`;
  await tx.sql`delete from correlation_specs where tenant_id = ${tx.tenantId} and spec <> all(${specs})`;
  for (const [spec, { attribute, normalizers }] of wanted) {
    await tx.sql`
      insert into correlation_specs (tenant_id, spec, attribute, normalizers)
      values (${tx.tenantId}, ${spec}, ${attribute}, ${normalizers as string[]})
      on conflict do nothing`;
  }
  if (specs.length > 0) await fillCorrelationKeys(tx);
}

/**
 * The keys of users that have none: at first all of them; later those that somebody wrote while a spec was saved and
 * not yet to be seen.
 */
export async function fillCorrelationKeys(tx: TenantTx): Promise<void> {
  const [spec] = await tx.sql`select 1 from correlation_specs where tenant_id = ${tx.tenantId} limit 1`;
  if (spec === undefined) return;
  await tx.sql`
    insert into correlation_keys (tenant_id, spec, user_id, key)
    select found.tenant_id, found.spec, found.id, found.key from (
      select u.tenant_id, s.spec, u.id, correlation_key(user_attribute(u, s.attribute), s.normalizers) as key
      from correlation_specs s
      join users u on u.tenant_id = s.tenant_id
      where s.tenant_id = ${tx.tenantId}
        and not exists (
          select 1 from correlation_keys k where k.tenant_id = u.tenant_id and k.spec = s.spec and k.user_id = u.id)) found
    where found.key is not null
    on conflict do nothing`;
}
