/** organizations/domains: a proven domain belongs to one tenant; a proof is the operator's word in this version. */
import { recordEvent } from '../audit/audit.ts';
import { RollcallError } from '../core/errors.ts';
import type { TenantId } from '../core/ids.ts';
import { toIso, toIsoOrNull } from '../core/instant.ts';
import { notFound } from '../core/require-id.ts';
import type { DomainStatus } from '../core/vocabulary.ts';
import { databaseErrorCode, type Db, type TenantTx } from '../db/db.ts';
import { checkDomain } from './names.ts';

export type Domain = {
  readonly name: string;
  readonly status: DomainStatus;
  readonly isPrimary: boolean;
  readonly provenBy: string | null;
  readonly provenAt: string | null;
  readonly createdAt: string;
};

export type Domains = {
  /** The operator's word that the domain is the tenant's. Idempotent; `conflict` when another tenant has it. */
  proveDomain(actor: string, tenantId: TenantId, name: string): Promise<Domain>;
  /** The one preselected for usernames (R90). */
  setPrimaryDomain(actor: string, tenantId: TenantId, name: string): Promise<Domain>;
  listDomains(tenantId: TenantId): Promise<Domain[]>;
};

export function createDomains({ db, baseDomain }: { readonly db: Db; readonly baseDomain: string }): Domains {
  return {
    proveDomain: (actor, tenantId, name) =>
      db.tenant(tenantId, (tx) => proveDomain(tx, actor, checkDomain(name), checkDomain(baseDomain))),
    setPrimaryDomain: (actor, tenantId, name) => db.tenant(tenantId, (tx) => setPrimary(tx, actor, checkDomain(name))),
    listDomains: (tenantId) => db.tenant(tenantId, (tx) => selectDomains(tx)),
  };
}

/** Domains in which the tenant may have usernames and match by e-mail: proven ones and the built-in one. */
export async function provenDomains(tx: TenantTx): Promise<Set<string>> {
  const domains = await selectDomains(tx);
  return new Set(domains.filter((domain) => domain.status !== 'pending').map((domain) => domain.name));
}

async function proveDomain(tx: TenantTx, actor: string, name: string, baseDomain: string): Promise<Domain> {
  const standing = await findDomain(tx, name);
  if (standing !== null && standing.status !== 'pending') return standing;
  if (name === baseDomain || name.endsWith(`.${baseDomain}`)) {
    throw new RollcallError('conflict', `${name} lies in the operator's own domain; built-in domains are made there.`);
  }
  // one statement, decided by the unique index over all tenants: two proofs at once have one winner
  const rows = await tx.sql`
    insert into domains (tenant_id, name, status, proven_by, proven_at)
    select ${tx.tenantId}, ${name}, 'proven', ${actor}, now()
    where not exists (select 1 from domains where name = ${name} and status <> 'pending' and tenant_id <> ${tx.tenantId})
    on conflict (tenant_id, name) do update set status = 'proven', proven_by = ${actor}, proven_at = now()
    returning 1`.catch((error: unknown) => {
    throw databaseErrorCode(error) === '23505' ? ownedByAnother(name) : error;
  });
  if (rows.length === 0) throw ownedByAnother(name);
  await recordEvent(tx, { actor, action: 'domain.proven', target: `domain:${name}` });
  const domain = await findDomain(tx, name);
  if (domain === null) throw notFound('domain');
  return domain;
}

async function setPrimary(tx: TenantTx, actor: string, name: string): Promise<Domain> {
  const domain = await findDomain(tx, name);
  if (domain === null || domain.status === 'pending') throw notFound('proven domain');
  await tx.sql`update domains set is_primary = false where tenant_id = ${tx.tenantId} and is_primary`;
  await tx.sql`update domains set is_primary = true where tenant_id = ${tx.tenantId} and name = ${name}`;
  await recordEvent(tx, { actor, action: 'domain.made_primary', target: `domain:${name}` });
  return { ...domain, isPrimary: true };
}

async function findDomain(tx: TenantTx, name: string): Promise<Domain | null> {
  return (await selectDomains(tx)).find((domain) => domain.name === name) ?? null;
}

/** Domains have no policy (they are global by nature), so every statement here names the tenant. */
async function selectDomains(tx: TenantTx): Promise<Domain[]> {
  const rows = await tx.sql<Domain[]>`
    select name, status, is_primary as "isPrimary", proven_by as "provenBy", proven_at::text as "provenAt",
      created_at::text as "createdAt"
    from domains where tenant_id = ${tx.tenantId} order by is_primary desc, name`;
  return rows.map((row) => ({ ...row, createdAt: toIso(row.createdAt), provenAt: toIsoOrNull(row.provenAt) }));
}

function ownedByAnother(name: string): RollcallError {
  return new RollcallError('conflict', `${name} is proven by another tenant.`, {
    remedy: 'A domain belongs to one tenant; end the other proof first.',
  });
}
