/** One tenant in which a scenario is told: its organizations, people made by hand, connections and their directories. */
import { createAccess, type Access } from '../../src/access/access.ts';
import type { ConnectionId, OrganizationId, RunId, TenantId, UserId } from '../../src/core/ids.ts';
import { newId } from '../../src/core/ids.ts';
import type { GrantableRole } from '../../src/core/roles.ts';
import { grantableRoles } from '../../src/core/roles.ts';
import type { Db } from '../../src/db/db.ts';
import { systemClock } from '../../src/platform/clock.ts';
import type { Principal } from '../../src/platform/route.ts';
import type { Change, RunSummary } from '../../src/reconciliation/reconciliation.ts';
import { createUsers, type Users } from '../../src/users/users.ts';
import { createEngine, type Connected, type Engine } from '../fakes/engine.ts';
import { MemoryDirectory } from '../fakes/memory-directory.ts';
import { createTenant, type TestTenant } from '../setup/database.ts';
import { principalOf } from '../setup/people.ts';
import { expandKeys } from './crowds.ts';
import type { HandMade, Scenario, Way } from './schema.ts';
import { watchDb, type WatchedDb } from './watched-db.ts';

/** A connection of the story: pulled from a directory in memory, or pushed to from it. */
export type Wired = {
  readonly name: string;
  readonly isPushed: boolean;
  readonly connectionId: ConnectionId;
  readonly directory: MemoryDirectory;
  document: Readonly<Record<string, unknown>>;
  /** Versions of pushed objects, as an identity provider remembers them; key: kind and anchor. */
  readonly versions: Map<string, number>;
};

export type World = {
  readonly scenario: Scenario;
  readonly way: Way;
  readonly db: Db;
  readonly watched: WatchedDb;
  readonly tenant: TestTenant;
  readonly tenantId: TenantId;
  readonly engine: Engine;
  readonly access: Access;
  readonly users: Users;
  readonly operator: Principal;
  readonly wired: Wired[];
  readonly organizations: Map<string, OrganizationId>;
  /** People made by hand, by the name the story gives them. */
  readonly byHand: Map<string, UserId>;
  /** Which user a name stood for when it was looked at last. */
  readonly known: Map<string, string>;
  /** The rows a person was shown, by run. */
  readonly shown: Map<RunId, readonly Change[]>;
  lastRun: RunSummary | null;
  /** The last run that applied anything. */
  lastApplied: RunId | null;
  lastMessage: number;
};

export async function createWorld(db: Db, scenario: Scenario, way: Way): Promise<World> {
  const tenant = await createTenant(db, { name: 'Contoso' });
  const organizations = await createOrganizations(db, tenant, scenario.given.organizations);
  const watched = watchDb(db);
  const directory = new MemoryDirectory();
  const document = documentOf(tenant, scenario.given.connection, way);
  const engine = await createEngine(watched.db, { tenant, directory, document });
  const world: World = {
    scenario,
    way,
    db,
    watched,
    tenant,
    tenantId: tenant.tenantId,
    engine,
    access: createAccess({ db, pepper: Buffer.alloc(32, 7), clock: systemClock }),
    users: createUsers({ db }),
    operator: { ...principalOf(tenant.tenantId, 'super_admin'), actor: 'operator:test' },
    wired: [wire('Directory', document, engine)],
    organizations,
    byHand: new Map(),
    known: new Map(),
    shown: new Map(),
    lastRun: null,
    lastApplied: null,
    lastMessage: 0,
  };
  for (const [name, made] of expandKeys(scenario.given.users)) await makeByHand(world, name, made);
  if (scenario.given.second !== undefined) {
    const second = documentOf(tenant, { kind: 'entra', name: 'Second', ...scenario.given.second.connection }, null);
    world.wired.push(wire('Second', second, await engine.connect(second)));
  }
  return world;
}

function wire(name: string, document: Readonly<Record<string, unknown>>, connected: Connected): Wired {
  return {
    name,
    isPushed: document['kind'] === 'scim',
    connectionId: connected.connectionId,
    directory: connected.directory,
    document,
    versions: new Map(),
  };
}

/** The connection document as Rollcall takes it: organizations of the story become slug paths of this tenant. */
export function documentOf(
  tenant: TestTenant,
  given: Readonly<Record<string, unknown>>,
  way: Way | null,
): Readonly<Record<string, unknown>> {
  const path = (organization: unknown) =>
    typeof organization === 'string' ? `${tenant.slug}/${organization}` : tenant.slug;
  const roles = Array.isArray(given['roles']) ? (given['roles'] as Record<string, unknown>[]) : [];
  return {
    name: 'Directory',
    ceiling: 'admin',
    ...given,
    kind: way === 'push' ? 'scim' : (given['kind'] ?? 'ldap'),
    organization: path(given['organization']),
    roles: roles.map((role) => ('organization' in role ? { ...role, organization: path(role['organization']) } : role)),
  };
}

export function findWired(world: World, name: string | null): Wired {
  const found = name === null ? world.wired[0] : world.wired.find((one) => one.name === name);
  if (found === undefined) throw new Error(`The story has no connection ${name}.`);
  return found;
}

async function createOrganizations(
  db: Db,
  tenant: TestTenant,
  paths: readonly string[],
): Promise<Map<string, OrganizationId>> {
  const made = new Map<string, OrganizationId>([['', tenant.organizationId]]);
  for (const path of paths) {
    const slug = path.split('/').at(-1) ?? path;
    const parentId = made.get(path.split('/').slice(0, -1).join('/'));
    if (parentId === undefined) throw new Error(`${path}: name the organization above it first.`);
    const id = newId<OrganizationId>();
    await db.tenant(tenant.tenantId, async ({ sql, tenantId }) => {
      await sql`insert into organizations (tenant_id, id, parent_id, name, name_key, slug, depth, created_by)
        select ${tenantId}, ${id}, id, ${slug}, ${slug}, ${slug}, depth + 1, 'system' from organizations where id = ${parentId}`;
      await sql`insert into organization_closure (tenant_id, ancestor_id, descendant_id, depth)
        select tenant_id, ancestor_id, ${id}, depth + 1 from organization_closure where descendant_id = ${parentId}
        union all select ${tenantId}::uuid, ${id}::uuid, ${id}::uuid, 0`;
    });
    made.set(path, id);
  }
  return made;
}

// ------------------------------------------------------------------ words of the story

/** `admin@emea` -> the role and the organization. */
export function readRole(world: World, text: string): { role: GrantableRole; organizationId: OrganizationId } {
  const [name, path = ''] = text.split('@');
  const role = grantableRoles.find((known) => known === name);
  const organizationId = world.organizations.get(path);
  if (role === undefined || organizationId === undefined) throw new Error(`"${text}" is no role of this story.`);
  return { role, organizationId };
}

/** `ann` -> ann@<the tenant's domain>; what has a domain keeps it. */
export function inDomain(world: World, value: string | null): string | null {
  return value === null || value.includes('@') ? value : `${value}@${world.tenant.builtInDomain}`;
}

export function outOfDomain(world: World, value: string | null): string | null {
  const suffix = `@${world.tenant.builtInDomain}`;
  return value?.endsWith(suffix) === true ? value.slice(0, -suffix.length) : value;
}

export function fieldsOf(world: World, set: Partial<HandMade>) {
  const { name, username, email, title, department, employeeId } = set;
  return {
    ...(name === undefined ? {} : { displayName: name }),
    ...(username === undefined ? {} : { username: inDomain(world, username) }),
    ...(email === undefined ? {} : { email: inDomain(world, email) }),
    ...(department === undefined ? {} : { department }),
    ...(employeeId === undefined ? {} : { employeeId }),
    ...(title === undefined ? {} : { jobTitle: title }),
  };
}

export async function makeByHand(world: World, name: string, made: HandMade): Promise<void> {
  const [first = 'user', ...more] = made.roles;
  const user = await world.users.create(world.operator, {
    displayName: titled(name),
    ...fieldsOf(world, made),
    ...readRole(world, first),
  });
  world.byHand.set(name, user.id);
  for (const role of more) {
    await world.access.grantManually(world.operator, { ...readRole(world, role), userId: user.id });
  }
  if (made.protected === true) await world.users.setProtection(world.operator, user.id, true);
}

export function titled(name: string): string {
  return `${name.charAt(0).toUpperCase()}${name.slice(1)}`;
}

/**
 * The user a name of the story stands for: whom somebody made by hand, or whom the directory object of that id is
 * linked to. `Second/ann` asks for the object of the second connection.
 */
export async function findUserId(world: World, name: string): Promise<UserId | null> {
  const [anchor = name, connection = null] = name.split('/').toReversed();
  const made = connection === null ? world.byHand.get(name) : undefined;
  if (made !== undefined) return made;
  const ids =
    connection === null ? world.wired.map((one) => one.connectionId) : [findWired(world, connection).connectionId];
  const rows = await world.db.tenant(
    world.tenantId,
    (tx) => tx.sql<{ userId: UserId }[]>`
      select distinct user_id as "userId" from links
      where tenant_id = ${tx.tenantId} and anchor = ${anchor} and connection_id = any(${ids as string[]}::uuid[]) and user_id is not null`,
  );
  if (rows.length > 1)
    throw new Error(`${name} stands for several users here; say of which connection: Second/${name}.`);
  return rows[0]?.userId ?? null;
}

export async function mustFindUserId(world: World, name: string): Promise<UserId> {
  const id = await findUserId(world, name);
  if (id === null) throw new Error(`Nobody in the portal is called ${name} yet.`);
  return id;
}
