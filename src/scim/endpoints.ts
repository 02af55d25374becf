/** What each connection offers, as one table: where, how large, and which use case answers. */
import type { Db } from '../db/db.ts';
import type { Clock } from '../platform/clock.ts';
import type { Pushes } from '../reconciliation/reconciliation.ts';
import { createBulk, maxBulkBytes } from './bulk.ts';
import { createCursors } from './cursors.ts';
import { userModelOf } from './custom-schema.ts';
import { resourceTypes, schemas, serviceProviderConfig } from './discovery.ts';
import { createGrantable } from './grantable.ts';
import { createGroups } from './groups.ts';
import { createList } from './list.ts';
import { createListMarks } from './list-marks.ts';
import type { Handler } from './request.ts';
import { groupModel } from './schema-model.ts';
import { createSearch, createSearchAll } from './search.ts';
import { createSharedReads } from './shared-reads.ts';
import { createUsers } from './users.ts';
import { createWalks } from './walks.ts';

export type Method = 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE';

export type Endpoint = {
  /** Below the connection's base path; matched in any case, as clients spell it. */
  readonly path: string;
  readonly maxBodyBytes: number;
  /** What a token with scopes needs a scope of. */
  readonly objects: readonly ('users' | 'groups')[];
  readonly methods: Readonly<Partial<Record<Method, Handler>>>;
};

export type EndpointDeps = {
  readonly db: Db;
  readonly pushes: Pushes;
  /** Key material of this installation, the same on every replica: cursors are sealed with a key derived from it. */
  readonly pepper: Buffer;
  readonly clock: Clock;
};

const mebibyte = 1_048_576;

export function createEndpoints(deps: EndpointDeps): readonly Endpoint[] {
  const { clock } = deps;
  const sharedReads = createSharedReads(deps.db);
  const users = createUsers({ ...deps, reads: sharedReads });
  const groups = createGroups(deps);
  const reads = {
    db: deps.db,
    sharedReads,
    walks: createWalks(clock),
    marks: createListMarks(() => clock.now()),
    cursors: createCursors(deps.pepper, clock),
  };
  const listUsers = createList(reads, userModelOf);
  const listGroups = createList(reads, () => groupModel);
  const one = (path: string, maxBodyBytes: number, handlers: typeof users, object: 'users' | 'groups'): Endpoint => ({
    path,
    maxBodyBytes,
    objects: [object],
    methods: { GET: handlers.get, PUT: handlers.replace, PATCH: handlers.patch, DELETE: handlers.remove },
  });
  const post = (path: string, objects: Endpoint['objects'], handler: Handler, maxBodyBytes = mebibyte): Endpoint => ({
    path,
    maxBodyBytes,
    objects,
    methods: { POST: handler },
  });
  return [
    {
      path: '/Users',
      maxBodyBytes: mebibyte,
      objects: ['users'],
      methods: { GET: listUsers, POST: users.create },
    },
    post('/Users/.search', ['users'], createSearch(listUsers)),
    one('/Users/:id', mebibyte, users, 'users'),
    {
      path: '/Groups',
      maxBodyBytes: 16 * mebibyte,
      objects: ['groups'],
      methods: { GET: listGroups, POST: groups.create },
    },
    post('/Groups/.search', ['groups'], createSearch(listGroups)),
    one('/Groups/:id', 16 * mebibyte, groups, 'groups'),
    post('/.search', ['users', 'groups'], createSearchAll(listUsers, listGroups)),
    post('/Bulk', ['users', 'groups'], createBulk(users, groups), maxBulkBytes),
    ...createDiscovery(deps.db),
  ];
}

/** What is told to every token, whatever its scopes. */
function createDiscovery(db: Db): readonly Endpoint[] {
  const { roles, entitlements } = createGrantable(db);
  const read = (path: string, handler: Handler): Endpoint => ({
    path,
    maxBodyBytes: 0,
    objects: [],
    methods: { GET: handler },
  });
  return [
    read('/Roles', roles.list),
    read('/Roles/:id', roles.get),
    read('/Entitlements', entitlements.list),
    read('/Entitlements/:id', entitlements.get),
    read('/ServiceProviderConfig', serviceProviderConfig),
    read('/ResourceTypes', resourceTypes.list),
    read('/ResourceTypes/:id', resourceTypes.get),
    read('/Schemas', schemas.list),
    read('/Schemas/:id', schemas.get),
  ];
}
