/** Where role mappings point: slug paths to organizations, only the connection's own and those below it. */
import { RollcallError } from '../../core/errors.ts';
import type { OrganizationId } from '../../core/ids.ts';
import type { TenantTx } from '../../db/db.ts';
import type { ConnectionDocument, RoleMappingDocument } from './connection-document.ts';
import type { WantedRoleMapping } from './connections-store.ts';

export async function wantedMappings(
  tx: TenantTx,
  document: ConnectionDocument,
  home: OrganizationId,
): Promise<WantedRoleMapping[]> {
  const wanted: WantedRoleMapping[] = [];
  for (const role of document.roles) {
    const organizationId = role.organization === undefined ? home : await resolveOrganization(tx, role.organization);
    await mustBeBelow(tx, home, organizationId, role.organization ?? '');
    wanted.push({ ...mappingTarget(role), organizationId, precedence: role.precedence });
  }
  return wanted;
}

function mappingTarget(role: RoleMappingDocument): Omit<WantedRoleMapping, 'organizationId' | 'precedence'> {
  if ('everyone' in role) return { role: role.everyone, predicate: 'true', groupAnchor: null, groupName: null };
  if ('predicate' in role) return { role: role.role, predicate: role.predicate, groupAnchor: null, groupName: null };
  const isName = typeof role.group === 'string';
  return {
    role: role.role,
    predicate: null,
    groupAnchor: typeof role.group === 'string' ? null : role.group.id.toLowerCase(),
    groupName: isName && typeof role.group === 'string' ? role.group : null,
  };
}

/** Slug path inside the tenant; the path of the root is its slug, e.g. `contoso` or `contoso/emea`. */
export async function resolveOrganization(tx: TenantTx, path: string): Promise<OrganizationId> {
  let parentId: string | null = null;
  for (const slug of path.toLowerCase().split('/')) {
    const rows: { id: string }[] = await tx.sql`
      select id from organizations
      where tenant_id = ${tx.tenantId} and slug = ${slug} and parent_id is not distinct from ${parentId}::uuid`;
    const found = rows[0];
    if (found === undefined) {
      throw new RollcallError(
        'invalid_input',
        `There is no organization ${path} in this tenant (stopped at "${slug}").`,
        {
          remedy: `List them with: rollcall orgs list --org SLUG; make it with: rollcall orgs create ${path} --name NAME`,
        },
      );
    }
    parentId = found.id;
  }
  return parentId as OrganizationId;
}

async function mustBeBelow(
  tx: TenantTx,
  ancestor: OrganizationId,
  descendant: OrganizationId,
  path: string,
): Promise<void> {
  const rows = await tx.sql`
    select 1 from organization_closure
    where tenant_id = ${tx.tenantId} and ancestor_id = ${ancestor} and descendant_id = ${descendant}`;
  if (rows.length > 0) return;
  throw new RollcallError('invalid_input', `${path} does not lie below the connection's organization.`, {
    remedy: 'A connection grants only in its own organization and below.',
  });
}
