/** Users that are pushed in one transaction: only those who have nothing to do with each other, and who only add. */
import { describe, expect, test } from 'vitest';
import { createEngine, type Engine } from '../../../test/fakes/engine.ts';
import { useDatabase } from '../../../test/setup/database.ts';
import { newId, type ConnectionId } from '../../core/ids.ts';
import type { PushedUser, Pushes, UserPush, Written } from './push-types.ts';
import { StartOver } from './whole-way.ts';

const database = useDatabase();

type Provider = Engine & {
  readonly pushes: Pushes;
  user(name: string, more?: Partial<PushedUser> & { readonly email?: string }): PushedUser;
  /** The group "waiting" with these members, whether they are there or not. */
  gather(anchors: readonly string[]): Promise<void>;
  write(users: readonly PushedUser[], expect?: UserPush['expect']): Promise<(Written | null)[]>;
  readonly connectionId: ConnectionId;
  objects(): Promise<string[]>;
  /** The organization that the change row of the user's role names. */
  organizationOf(name: string): Promise<string>;
};

async function createProvider(roles: readonly unknown[] = [{ everyone: 'user' }]): Promise<Provider> {
  const engine = await createEngine(database.db);
  const { reconciliation, tenantId, tenant } = engine;
  const { id } = await reconciliation.createConnection('test', tenantId, {
    name: 'Okta',
    kind: 'scim',
    organization: tenant.slug,
    roles,
  });
  const connectionId: ConnectionId = id;
  const { pushes } = reconciliation;
  const at = (name: string) => `${name}@${tenant.builtInDomain}`;
  return {
    ...engine,
    pushes,
    user: (name, { email, ...more } = {}) => ({
      anchor: newId(),
      userName: at(name),
      externalId: null,
      displayName: name,
      isActive: true,
      attributes: { userName: at(name), displayName: name, email: at(email ?? name) },
      resource: { userName: at(name) },
      ...more,
    }),
    gather: (anchors) =>
      database.db.tenant(tenantId, async (tx) => {
        const context = { tenantId, connectionId, requestId: newId() };
        const group = { anchor: 'waiting', displayName: 'Waiting', externalId: null, resource: {} };
        await pushes.writeGroup(tx, context, group, 'new');
        await pushes.changeMembers(tx, context, 'waiting', { add: anchors });
      }),
    write: async (users, expect = 'new') => {
      const save = () =>
        database.db.tenant(tenantId, (tx) =>
          pushes.writeUsers(
            tx,
            { tenantId, connectionId, requestId: newId() },
            users.map((user) => ({ requestId: newId(), user, expect })),
          ),
        );
      try {
        return await save();
      } catch (error) {
        if (!(error instanceof StartOver)) throw error;
        return save();
      }
    },
    connectionId,
    organizationOf: async (name) => {
      const rows = await database.db.tenant(
        tenantId,
        ({ sql }) => sql<{ name: string }[]>`
          select after ->> 'organization' as name from changes where subject = ${name} and op = 'grant'`,
      );
      return rows.map((row) => row.name).join();
    },
    objects: async () => {
      const rows = await database.db.tenant(
        tenantId,
        ({ sql }) => sql<{ name: string }[]>`
          select display_name as name from mirror_objects where connection_id = ${connectionId} order by 1`,
      );
      return rows.map(({ name }) => name);
    },
  };
}

const names = async (provider: Provider) =>
  (await provider.users()).map((user) => user.name ?? '').toSorted((a, b) => a.localeCompare(b));

describe('users that are pushed together', () => {
  test('are all there, with their portal users', async () => {
    const provider = await createProvider();
    const written = await provider.write([provider.user('ann'), provider.user('bob')]);
    expect(written.map((row) => row?.version)).toEqual([1, 1]);
    expect(await names(provider)).toEqual(['ann', 'bob']);
  });

  test('get the role of a group that waits for them', async () => {
    const provider = await createProvider([{ group: { id: 'waiting' }, role: 'user' }]);
    const [ann, bob] = [provider.user('ann'), provider.user('bob')];
    await provider.gather([ann.anchor]);
    await provider.write([ann, bob]);
    const users = await provider.users();
    expect(users.map(({ name, roles }) => [name, roles.length])).toEqual([
      ['ann', 1],
      ['bob', 0],
    ]);
  });

  test('are decided by what connection, rules and organizations say now', async () => {
    const provider = await createProvider([{ everyone: 'user' }]);
    const { tenantId, reconciliation, connectionId, tenant } = provider;
    await provider.write([provider.user('ann')]);
    await database.db.tenant(
      tenantId,
      ({ sql }) => sql`update organizations set name = 'Renamed' where id = ${tenantId}`,
    );
    await provider.write([provider.user('bob')]);
    expect(await provider.organizationOf('bob')).toBe('Renamed');
    await reconciliation.updateConnection('test', tenantId, connectionId, {
      name: 'Okta',
      kind: 'scim',
      organization: tenant.slug,
      roles: [],
    });
    await provider.write([provider.user('cleo')]);
    const users = await provider.users();
    const rolesOf = new Map(users.map(({ name, roles }) => [name, roles.length]));
    expect(Object.fromEntries(rolesOf)).toEqual({ ann: 1, bob: 1, cleo: 0 });
  });

  test('are not saved by what the connection was a moment ago', async () => {
    const provider = await createProvider([{ everyone: 'user' }]);
    const { tenantId } = provider;
    await provider.write([provider.user('ann')]);
    await database.db.tenant(
      tenantId,
      ({ sql }) => sql`update role_mappings set role = role where tenant_id = ${tenantId}`,
    );
    const { pushes, connectionId } = provider;
    const save = () =>
      database.db.tenant(tenantId, (tx) =>
        pushes.writeUser(tx, { tenantId, connectionId, requestId: newId() }, provider.user('bob'), 'new'),
      );
    await expect(save()).rejects.toThrow(StartOver);
    expect(await provider.objects()).toEqual(['ann']);
    await save();
    expect(await names(provider)).toEqual(['ann', 'bob']);
  });

  test('whose name is taken is left out, and nothing of it is saved', async () => {
    const provider = await createProvider();
    await provider.write([provider.user('ann')]);
    const written = await provider.write([provider.user('ann'), provider.user('bob')]);
    expect(written.map((row) => row?.version ?? null)).toEqual([null, 1]);
    expect(await provider.objects()).toEqual(['ann', 'bob']);
    expect(await names(provider)).toEqual(['ann', 'bob']);
  });

  test('two of whom one could be found for the other do not go together, and nothing is saved', async () => {
    const provider = await createProvider();
    const writing = provider.write([provider.user('ann'), provider.user('bob', { email: 'ann' })]);
    await expect(writing).rejects.toThrow('share a key');
    expect(await provider.objects()).toEqual([]);
  });

  test('two who are found to be the same user do not go together, and nothing is saved', async () => {
    const provider = await createProvider();
    const { tenantId, tenant } = provider;
    const [username, email] = [`ann@${tenant.builtInDomain}`, `anna@${tenant.builtInDomain}`];
    await database.db.tenant(
      tenantId,
      ({ sql }) => sql`
        insert into users (tenant_id, id, username, username_key, email, email_key, display_name)
        values (${tenantId}, ${newId()}, ${username}, ${username}, ${email}, ${email}, 'Ann')`,
    );
    const writing = provider.write([provider.user('ann', { email: 'x' }), provider.user('bob', { email: 'anna' })]);
    await expect(writing).rejects.toThrow('one user');
    expect(await provider.objects()).toEqual([]);
    expect(await names(provider)).toEqual(['Ann']);
  });

  test('one who does more than add takes the others out of the transaction, and nothing is saved', async () => {
    const provider = await createProvider();
    const [ann, bob] = [provider.user('ann'), provider.user('bob')];
    await provider.write([ann, bob]);
    const writing = provider.write(
      [
        { ...ann, isActive: false },
        { ...bob, displayName: 'Bob B' },
      ],
      { version: 1 },
    );
    await expect(writing).rejects.toThrow('more than add');
    expect(await provider.objects()).toEqual(['ann', 'bob']);
  });

  test('one at another version is left out, and what it would have said is not decided', async () => {
    const provider = await createProvider();
    const [ann, bob] = [provider.user('ann'), provider.user('bob')];
    await provider.write([ann, bob]);
    const rename = (user: PushedUser, displayName: string): PushedUser => ({
      ...user,
      displayName,
      attributes: { ...user.attributes, displayName },
    });
    await provider.write([rename(ann, 'Ann B')], { version: 1 });
    const written = await provider.write([rename(ann, 'Ann C'), rename(bob, 'Bob C')], { version: 1 });
    expect(written.map((row) => row?.version ?? null)).toEqual([null, 2]);
    expect(await names(provider)).toEqual(['Ann B', 'Bob C']);
  });
});
