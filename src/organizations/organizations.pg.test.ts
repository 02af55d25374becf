import { beforeAll, describe, expect, it } from 'vitest';
import { addUser, principalOf } from '../../test/setup/people.ts';
import { useDatabase } from '../../test/setup/database.ts';
import { newId, type OrganizationId } from '../core/ids.ts';
import type { Principal } from '../platform/route.ts';
import { createOrganizations, provenDomains, type Organization, type Organizations } from './organizations.ts';

const database = useDatabase();
const refused = (code: string) => expect.objectContaining({ code });

let organizations: Organizations;
beforeAll(() => {
  organizations = createOrganizations({ db: database.db, baseDomain: 'rollcall.example' });
});

const operatorOf = (root: Organization): Principal => ({
  ...principalOf(root.tenantId, 'super_admin'),
  actor: 'operator:test',
});

describe('a root', () => {
  it('is a tenant of its own, with a built-in domain that is its primary', async () => {
    const root = await organizations.createRoot('operator:test', { name: 'Contoso Ltd.' });
    expect(root).toMatchObject({ id: root.tenantId, parentId: null, slug: 'contoso-ltd', depth: 0 });
    expect(await organizations.listDomains(root.tenantId)).toMatchObject([
      { name: 'contoso-ltd.rollcall.example', status: 'built_in', isPrimary: true },
    ]);
  });

  it('has a slug of its own among all tenants, also when two are made at once', async () => {
    const results = await Promise.allSettled(
      Array.from({ length: 5 }, () => organizations.createRoot('operator:test', { name: 'Fabrikam' })),
    );
    expect(results.filter((result) => result.status === 'fulfilled')).toHaveLength(1);
    for (const result of results) if (result.status === 'rejected') expect(result.reason).toEqual(refused('conflict'));
  });
});

describe('a sub-organization', () => {
  it('makes its creator Super Admin and leaves their quota home alone', async () => {
    const root = await organizations.createRoot('operator:test', { name: 'Creator' });
    const userId = await addUser(database.db, root.tenantId);
    const sub = await organizations.createSub(principalOf(root.tenantId, 'admin', { userId }), root.id, {
      name: 'EMEA',
    });
    const [row] = await database.db.tenant(
      root.tenantId,
      ({ sql }) => sql`
        select s.user_id, g.source, u.quota_home_id, (select count(*)::int from memberships) as memberships
        from super_admins s
        join grants g using (tenant_id, organization_id, user_id)
        join users u on u.id = s.user_id
        where s.organization_id = ${sub.id}`,
    );
    expect(row).toEqual({ user_id: userId, source: 'manual', quota_home_id: null, memberships: 1 });
  });

  it('nests eight deep and no deeper', async () => {
    let place = await organizations.createRoot('operator:test', { name: 'Deep' });
    const operator = operatorOf(place);
    for (let depth = 1; depth <= 8; depth += 1) {
      place = await organizations.createSub(operator, place.id, { name: 'Level' });
      expect(place.depth).toBe(depth);
    }
    const ninth = organizations.createSub(operator, place.id, { name: 'Level' });
    await expect(ninth).rejects.toEqual(refused('conflict'));
    const found = await organizations.findAcrossTenants(place.id);
    expect(found.path.split('/')).toEqual(['deep', 'level', ...[2, 3, 4, 5, 6, 7, 8].map((at) => `level-${at}`)]);
    expect(await organizations.findAcrossTenants(found.path)).toEqual(found);
  });

  it('is seen from above and does not see above itself', async () => {
    const root = await organizations.createRoot('operator:test', { name: 'Sight' });
    const [a, b] = [
      await organizations.createSub(operatorOf(root), root.id, { name: 'A' }),
      await organizations.createSub(operatorOf(root), root.id, { name: 'B' }),
    ];
    const asA = principalOf(root.tenantId, 'admin', { organizationId: a.id });
    const first = await organizations.list(principalOf(root.tenantId, 'admin'), { limit: 2 });
    expect(first.items.map((item) => item.name)).toEqual(['Sight', 'A']);
    const second = await organizations.list(principalOf(root.tenantId, 'admin'), {
      limit: 2,
      cursor: first.nextCursor ?? undefined,
    });
    expect(second).toMatchObject({ items: [{ name: 'B' }], nextCursor: null });
    expect((await organizations.list(asA, { limit: 10 })).items.map((item) => item.id)).toEqual([a.id]);
    for (const id of [root.id, b.id, newId<OrganizationId>()]) {
      await expect(organizations.get(asA, id)).rejects.toEqual(refused('not_found'));
    }
  });

  it('of another tenant does not exist', async () => {
    const [one, two] = [
      await organizations.createRoot('operator:test', { name: 'One' }),
      await organizations.createRoot('operator:test', { name: 'Two' }),
    ];
    const asOne = principalOf(one.tenantId, 'super_admin');
    await expect(organizations.get(asOne, two.id)).rejects.toEqual(refused('not_found'));
    await expect(organizations.rename(asOne, two.id, 'Mine')).rejects.toEqual(refused('not_found'));
    await expect(organizations.createSub(asOne, two.id, { name: 'Mine' })).rejects.toEqual(refused('not_found'));
    const stranger = await addUser(database.db, two.tenantId);
    const planted = organizations.createSub(asOne, one.id, { name: 'Mine', adminUserId: stranger });
    await expect(planted).rejects.toEqual(refused('not_found'));
  });
});

describe('the operator finds an organization', () => {
  it('only where every step of the path is a child of the one before', async () => {
    const root = await organizations.createRoot('operator:test', { name: 'Path' });
    const emea = await organizations.createSub(operatorOf(root), root.id, { name: 'EMEA' });
    await organizations.createSub(operatorOf(root), emea.id, { name: 'DE' });
    expect((await organizations.findAcrossTenants('path/emea/de')).name).toBe('DE');
    for (const path of ['path/de', 'emea', 'path/emea/de/x', '', '/', 'path/']) {
      await expect(organizations.findAcrossTenants(path)).rejects.toEqual(refused('not_found'));
    }
    expect((await organizations.listTenants()).map((tenant) => tenant.path)).toContain('path');
  });
});

describe('a proven domain', () => {
  it('belongs to one tenant, also when two prove it at once', async () => {
    const roots = [
      await organizations.createRoot('operator:test', { name: 'Domain A' }),
      await organizations.createRoot('operator:test', { name: 'Domain B' }),
    ];
    const results = await Promise.allSettled(
      roots.map((root) => organizations.proveDomain('operator:test', root.tenantId, 'Shared.example')),
    );
    expect(results.filter((result) => result.status === 'fulfilled')).toHaveLength(1);
    const sets = await Promise.all(roots.map((root) => database.db.tenant(root.tenantId, (tx) => provenDomains(tx))));
    expect(sets.filter((set) => set.has('shared.example'))).toHaveLength(1);
    const again = roots.map((root) => organizations.proveDomain('operator:test', root.tenantId, 'shared.example'));
    expect((await Promise.allSettled(again)).filter((result) => result.status === 'fulfilled')).toHaveLength(1);
  });

  it('is never a built-in domain of somebody else, and can become the primary', async () => {
    const [root, other] = [
      await organizations.createRoot('operator:test', { name: 'Prime' }),
      await organizations.createRoot('operator:test', { name: 'Victim' }),
    ];
    const steal = organizations.proveDomain('operator:test', root.tenantId, `${other.slug}.rollcall.example`);
    await expect(steal).rejects.toEqual(refused('conflict'));
    await organizations.proveDomain('operator:test', root.tenantId, 'prime.example');
    await organizations.setPrimaryDomain('operator:test', root.tenantId, 'prime.example');
    const primary = (await organizations.listDomains(root.tenantId)).filter((domain) => domain.isPrimary);
    expect(primary.map((domain) => domain.name)).toEqual(['prime.example']);
  });
});
