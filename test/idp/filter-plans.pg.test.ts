/** Rule 5: filters that an index serves under row-level security, and that they find what they found without. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { TenantTx } from '../../src/db/db.ts';
import { filterSql } from '../../src/scim/filter-sql.ts';
import { parseFilter } from '../../src/scim/filter.ts';
import { userModel, type ResourceModel } from '../../src/scim/schema-model.ts';
import { readPage } from '../../src/scim/store.ts';
import { findHolders } from '../../src/scim/users-store.ts';
import { useDatabase } from '../setup/database.ts';
import { explainWork } from '../setup/explain.ts';
import { fakePushes } from './fake-pushes.ts';
import { startScimServer, type Client, type ScimServer } from './scim-server.ts';
import { createGroup, createUser, patchOf } from './steps.ts';

const database = useDatabase();
let server: ScimServer;
let client: Client;
beforeAll(async () => {
  server = await startScimServer(database.db, fakePushes);
  client = await server.connect();
  const { tenant, connectionId } = client;
  await database.db.tenant(
    tenant.tenantId,
    ({ sql }) => sql`
      insert into mirror_objects (tenant_id, connection_id, kind, anchor, user_name_key, external_id, email_key, display_name,
        display_name_key, source, content_hash, is_pushed)
      select ${tenant.tenantId}, ${connectionId}, 'user', '01900000-0000-7000-8000-' || lpad(n::text, 12, '0'), 'user' || n || '@x',
        'E' || n, 'user' || n || '@x', 'User ' || n, 'user ' || n,
        jsonb_build_object('userName', 'user' || n || '@x', 'displayName', 'User ' || n, 'emails',
          jsonb_build_array(jsonb_build_object('value', 'user' || n || '@x'))), '\\x00', true
      from generate_series(1, 5000) n`,
  );
  await database.db.tenant(
    tenant.tenantId,
    ({ sql }) => sql`
      insert into mirror_objects (tenant_id, connection_id, kind, anchor, display_name, display_name_key, source, content_hash, is_pushed)
      select ${tenant.tenantId}, ${connectionId}, 'group', '01900000-0000-7000-9000-' || lpad(n::text, 12, '0'), 'Group ' || n, 'group ' || n,
        jsonb_build_object('displayName', 'Group ' || n), '\\x00', true
      from generate_series(1, 500) n`,
  );
  // as many connections as make the planner take one for a single object
  const others = await Promise.all(Array.from({ length: 100 }, () => server.connect()));
  await database.db.stage.sql`
    insert into mirror_objects (tenant_id, connection_id, kind, anchor, user_name_key, external_id, display_name_key, source, content_hash, is_pushed)
    select o.tenant_id, o.id, 'user', '01900000-0000-7000-8000-000000000001', 'one@x', 'one', 'one', '{}', '\\x00', true
    from connections o where o.id = any(${others.map(({ connectionId: id }) => id)})`;
  // vacuum: what waits in the pending list of the trigram index goes into it
  await database.db.stage.sql`vacuum analyze mirror_objects`;
});
afterAll(() => server.close());

async function plansOf(model: ResourceModel, filter: string, options: { readonly isKept?: boolean } = {}) {
  const read = (tx: TenantTx) =>
    readPage(tx, { tenantId: client.tenant.tenantId, connectionId: client.connectionId }, model, {
      where: filterSql(tx.sql, model, parseFilter(model, filter), client.connectionId),
      orderBy: null,
      afterAnchor: null,
      offset: 0,
      limit: 100,
      relations: false,
    });
  return explainWork(database.url, client.tenant.tenantId, read, options);
}

describe('rule 5: an index serves', () => {
  it.each<[string, ResourceModel, string]>([
    ['userName eq "USER77@x"', userModel, 'user_name'],
    ['externalId eq "E77"', userModel, 'external_id'],
    ['id eq "01900000-0000-7000-8000-000000000077"', userModel, 'anchor_pk'],
    ['displayName eq "User 77"', userModel, 'display_name_key'],
    ['userName sw "user77"', userModel, 'user_name'],
    ['emails.value eq "user77@x"', userModel, 'email_key'],
    ['emails[type eq "work" and value eq "user77@x"]', userModel, 'email_key'],
  ])('%s', async (filter, model, index) => {
    const plans = await plansOf(model, filter);
    expect(plans).toHaveLength(1);
    for (const { wholeReads, indexes, nodes } of plans) {
      expect(wholeReads, nodes.join('\n')).toEqual([]);
      expect(indexes.join(), nodes.join('\n')).toContain(index);
    }
  });

  it.each<[string, string]>([
    ['userName eq "USER77@x"', 'user_name'],
    ['externalId eq "E77"', 'external_id'],
    ['id eq "01900000-0000-7000-8000-000000000077"', 'anchor_pk'],
    ['displayName eq "User 77"', 'display_name_key'],
  ])('%s with a plan that is kept for any connection, among many small ones', async (filter, index) => {
    const [plan] = await plansOf(userModel, filter, { isKept: true });
    expect(plan?.indexes.join(), plan?.nodes.join('\n')).toContain(index);
  });

  it('the look-up of who has a userName or an externalId, for the sentence of a 409', async () => {
    const place = { tenantId: client.tenant.tenantId, connectionId: client.connectionId };
    const plans = await explainWork(database.url, place.tenantId, (tx) =>
      findHolders(tx, place, { userName: 'user77@x', externalId: 'E78' }),
    );
    expect(plans).toHaveLength(1);
    for (const { wholeReads, indexes, nodes } of plans) {
      expect(wholeReads, nodes.join('\n')).toEqual([]);
      expect(indexes.join(), nodes.join('\n')).toMatch(/user_name.*external_id/);
    }
  });

  it('the page of a walk and its groups, with a plan for any connection: from its place on, each by a look-up', async () => {
    const place = { tenantId: client.tenant.tenantId, connectionId: client.connectionId };
    const plans = await explainWork(
      database.url,
      place.tenantId,
      async (tx) => {
        await tx.sql`set local enable_bitmapscan = off`;
        await tx.sql`set local enable_sort = off`;
        return readPage(tx, place, userModel, {
          where: null,
          orderBy: null,
          afterAnchor: '01900000-0000-7000-8000-000000000100',
          offset: 0,
          limit: 100,
          relations: true,
        });
      },
      { isKept: true },
    );
    const [page, groups] = plans.map(({ nodes }) => nodes.join('\n'));
    expect(page).toMatch(/Index Scan on mirror_objects .*anchor_pk .*\(anchor > \$/);
    expect(page).not.toContain('Sort');
    expect(groups).toMatch(/on mirror_edges .*\(member_anchor = /);
    expect(groups).toMatch(/on mirror_objects .*\(anchor = /);
  });

  it('co through one function, whose own plan uses the trigrams', async () => {
    const [plan] = await plansOf(userModel, 'userName co "ser77@"');
    expect(plan?.wholeReads, plan?.nodes.join('\n')).toEqual([]);
    const rows = await database.db.stage.sql.begin(async (sql) => {
      await sql`set local enable_seqscan = off`;
      return sql`
      explain select anchor from mirror_objects o
      where o.connection_id = ${client.connectionId} and o.is_pushed and o.deleted_at is null
        and (coalesce(o.user_name_key, '') || chr(10) || coalesce(o.display_name_key, '') || chr(10) || coalesce(o.email_key, '')) like '%ser77@%'`;
    });
    expect(JSON.stringify(rows)).toContain('mirror_objects_contains');
  });
});

describe('rule 5: what the keys find', () => {
  const find = async (filter: string) => {
    const answer = await client.send('GET', '/Users', { query: { filter, attributes: 'userName' } });
    expect(answer.status, answer.text).toBe(200);
    return (answer.body['Resources'] as { userName: string }[]).map(({ userName }) => userName);
  };

  it('addresses: the first, another one, one that was changed or taken away, in any case', async () => {
    const emails = (...values: string[]) => ({ emails: values.map((value) => ({ value, type: 'work' })) });
    const id = await createUser(client, 'many', emails('First@y', 'second@y', 'Straße@y'));
    for (const value of ['first@Y', 'SECOND@y', 'Straße@y'])
      expect(await find(`emails.value eq "${value}"`)).toEqual(['many']);
    expect(await find('emails[type eq "work" and value eq "second@y"]')).toEqual(['many']);
    expect(await find('emails[type eq "home" and value eq "second@y"]')).toEqual([]);
    expect(await find('emails.value co "COND@"')).toEqual(['many']);
    await client.send(
      'PATCH',
      `/Users/${id}`,
      patchOf({ op: 'replace', path: 'emails', value: [{ value: 'third@y' }] }),
    );
    expect(await find('emails.value eq "second@y" or emails eq "first@y"')).toEqual([]);
    expect(await find('emails.value eq "third@y"')).toEqual(['many']);
    await client.send('PATCH', `/Users/${id}`, patchOf({ op: 'remove', path: 'emails' }));
    expect(await find('emails.value eq "third@y"')).toEqual([]);
    await client.send('PUT', `/Users/${id}`, { body: { userName: 'many', ...emails(`${'long'.repeat(300)}@y`) } });
    expect(await find(`emails.value eq "${'long'.repeat(300)}@y"`)).toEqual(['many']);
    expect(await find(`emails.value eq "${'long'.repeat(300)}@z"`)).toEqual([]);
    await client.send('DELETE', `/Users/${id}`);
    expect(await find(`emails.value eq "${'long'.repeat(300)}@y"`)).toEqual([]);
    const rows = await database.db.tenant(client.tenant.tenantId, ({ sql }) => sql`select 1 from mirror_emails`);
    expect(rows).toHaveLength(0);
  });

  it('contained texts: signs of LIKE mean themselves, short ones are found too, nothing of another connection or tenant', async () => {
    const odd = await server.connect();
    const names = ['per%cent', 'under_score', 'back\\slash', 'perXcent', 'underXscore'];
    for (const name of names) await createUser(odd, name);
    await createGroup(odd, 'A per%cent group');
    const sibling = await server.connect(odd.tenant);
    await createUser(sibling, 'per%cent');
    const search = async (path: string, filter: string) => {
      const answer = await odd.send('GET', path, { query: { filter } });
      return (answer.body['Resources'] as Record<string, unknown>[]).map(
        (one) => one['userName'] ?? one['displayName'],
      );
    };
    expect(await search('/Users', 'userName co "R%C"')).toEqual(['per%cent']);
    expect(await search('/Users', 'userName co "r_s"')).toEqual(['under_score']);
    expect(await search('/Users', 'userName co "k\\\\s"')).toEqual(['back\\slash']);
    expect(await search('/Users', 'userName co "%"')).toEqual(['per%cent']);
    expect(await search('/Users', 'not (userName co "cent")')).toEqual(['under_score', 'back\\slash', 'underXscore']);
    expect(await search('/Groups', 'displayName co "r%c"')).toEqual(['A per%cent group']);
    expect(await search('/Users', 'displayName co "cent"')).toEqual([]);
  });
});
