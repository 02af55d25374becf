/**
 * organizations/: the tree of a tenant and its domains.
 *
 * A tenant is a root organization with all below it. The tree is a closure table, at most eight levels under the root,
 * and an organization never changes its root. Domains decide which usernames and first matches a tenant may have: one
 * proven domain belongs to one tenant, and every root has a built-in one (`slug.<base domain>`), so that usernames work
 * before any proof.
 */
import { giveManualGrantUnchecked, requireCurrent, requireReach, requireUserInReach } from '../access/access.ts';
import { recordEvent } from '../audit/audit.ts';
import { RollcallError } from '../core/errors.ts';
import { newId, type OrganizationId, type TenantId, type UserId } from '../core/ids.ts';
import { notFound } from '../core/require-id.ts';
import type { Db, TenantTx } from '../db/db.ts';
import type { Page, PageRequest } from '../platform/page.ts';
import type { Principal } from '../platform/route.ts';
import { createDomains, type Domains } from './domains.ts';
import { builtInDomain, checkName, checkSlug, slugOf } from './names.ts';
import { findOrganization, selectTenants, type Found } from './resolve.ts';
import {
  insertBuiltInDomain,
  insertOrganization,
  selectBelow,
  selectOrganization,
  takenSlugs,
  updateName,
  userIsActive,
  type Organization,
} from './store.ts';

export type { Domain } from './domains.ts';
export { provenDomains } from './domains.ts';
export type { Found } from './resolve.ts';
export type { Organization } from './store.ts';

export type NewRoot = { readonly name: string; readonly slug?: string | undefined };

export type NewSub = {
  readonly name: string;
  readonly slug?: string | undefined;
  /** Becomes Admin and so Super Admin (R76); the creating user unless given. */
  readonly adminUserId?: UserId | undefined;
};

export type Organizations = Domains & {
  /** A new tenant. Danger: across tenants, so only the operator's CLI calls it. */
  createRoot(operator: string, input: NewRoot): Promise<Organization>;
  createSub(principal: Principal, parentId: OrganizationId, input: NewSub): Promise<Organization>;
  get(principal: Principal, organizationId: OrganizationId): Promise<Organization>;
  /** The principal's organization and all below it, by depth, then name. */
  list(principal: Principal, page: PageRequest): Promise<Page<Organization>>;
  rename(principal: Principal, organizationId: OrganizationId, name: string): Promise<Organization>;
  /** By id, or by slugs from the root (`contoso/emea`), whatever the tenant. Danger: only the operator's CLI calls it. */
  findAcrossTenants(reference: string): Promise<Found>;
  /** Every root. Danger: across tenants, so only the operator's CLI calls it. */
  listTenants(): Promise<Found[]>;
};

export type OrganizationsDeps = {
  readonly db: Db;
  /** The operator's domain under which every root gets a built-in one, e.g. `rollcall.example`. */
  readonly baseDomain: string;
};

export function createOrganizations(deps: OrganizationsDeps): Organizations {
  const { db } = deps;
  return {
    ...createDomains(deps),
    createRoot: (operator, input) => createRoot(deps, operator, input),
    createSub: (principal, parentId, input) =>
      db.tenant(principal.tenantId, (tx) => createSub(tx, principal, parentId, input)),
    get: (principal, organizationId) =>
      db.tenant(principal.tenantId, async (tx) => {
        await requireReach(tx, principal, organizationId);
        return getOrganization(tx, organizationId);
      }),
    list: (principal, page) => db.tenant(principal.tenantId, (tx) => selectBelow(tx, principal.organizationId, page)),
    rename: (principal, organizationId, name) =>
      db.tenant(principal.tenantId, (tx) => rename(tx, principal, organizationId, name)),
    findAcrossTenants: (reference) => findOrganization(db, reference),
    listTenants: () => db.engine((tx) => selectTenants(tx)),
  };
}

async function getOrganization(tx: TenantTx, id: OrganizationId): Promise<Organization> {
  const organization = await selectOrganization(tx, id);
  if (organization === null) throw notFound('organization');
  return organization;
}

async function createRoot(deps: OrganizationsDeps, operator: string, input: NewRoot): Promise<Organization> {
  const name = checkName(input.name);
  const slug = input.slug === undefined ? slugOf(name) : checkSlug(input.slug);
  const tenantId = newId<TenantId>();
  return deps.db.tenant(tenantId, async (tx) => {
    const organization = await insertOrganization(tx, { id: tenantId, parent: null, name, slug, createdBy: operator });
    if (organization === null) throw slugTaken(slug);
    const domain = builtInDomain(slug, deps.baseDomain);
    if (!(await insertBuiltInDomain(tx, domain))) {
      throw new RollcallError('conflict', `The built-in domain ${domain} belongs to another tenant.`, {
        remedy: 'Choose another slug.',
      });
    }
    const target = `organization:${tenantId}`;
    await recordEvent(tx, { actor: operator, action: 'organization.created', target, details: { name, slug, domain } });
    return organization;
  });
}

async function createSub(
  tx: TenantTx,
  principal: Principal,
  parentId: OrganizationId,
  input: NewSub,
): Promise<Organization> {
  await requireCurrent(tx, principal, parentId);
  const parent = await getOrganization(tx, parentId);
  if (parent.depth >= 8) {
    throw new RollcallError('conflict', 'Organizations can be nested eight levels deep, and this is the eighth.');
  }
  const name = checkName(input.name);
  const slug = input.slug === undefined ? await freeSlug(tx, slugOf(name)) : checkSlug(input.slug);
  const id = newId<OrganizationId>();
  const organization = await insertOrganization(tx, { id, parent, name, slug, createdBy: principal.actor });
  if (organization === null) throw slugTaken(slug);
  const actor = principal.actor;
  const details = { name, slug, organizationId: id, parentId };
  await recordEvent(tx, { actor, action: 'organization.created', target: `organization:${id}`, details });
  // the first Admin by hand becomes the Super Admin (R53, R76, R77); the quota home is left alone (C5)
  if (input.adminUserId !== undefined) await requireUserInReach(tx, principal, input.adminUserId);
  const userId = input.adminUserId ?? principal.userId;
  if (userId !== null) {
    if (!(await userIsActive(tx, userId))) throw notFound('active user');
    await giveManualGrantUnchecked(tx, actor, { organizationId: id, userId, role: 'admin' });
  }
  return organization;
}

async function rename(
  tx: TenantTx,
  principal: Principal,
  organizationId: OrganizationId,
  text: string,
): Promise<Organization> {
  await requireCurrent(tx, principal, organizationId);
  const before = await getOrganization(tx, organizationId);
  const name = checkName(text);
  await updateName(tx, organizationId, name);
  await recordEvent(tx, {
    actor: principal.actor,
    action: 'organization.renamed',
    target: `organization:${organizationId}`,
    details: { organizationId, before: before.name, after: name },
  });
  return { ...before, name };
}

async function freeSlug(tx: TenantTx, wanted: string): Promise<string> {
  const taken = new Set(await takenSlugs(tx, wanted));
  if (!taken.has(wanted)) return wanted;
  for (let at = 2; at <= taken.size + 2; at += 1) {
    if (!taken.has(`${wanted}-${at}`)) return `${wanted}-${at}`;
  }
  throw slugTaken(wanted);
}

function slugTaken(slug: string): RollcallError {
  return new RollcallError('conflict', `The slug "${slug}" is taken.`, { remedy: 'Choose another one.' });
}
