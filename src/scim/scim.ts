/**
 * scim/: the SCIM 2.0 service provider (RFC 7643, RFC 7644). A SCIM connection is a directory whose content is pushed:
 * each resource is a mirror object of the connection, reads answer what was pushed, and writes go through
 * reconciliation's Pushes, which decide and apply in the same transaction.
 *
 * Way of a request: `http.ts` (authentication, bounds, errors) -> `users.ts`, `groups.ts`, `list.ts`, `discovery.ts`
 * -> pure parts (`filter.ts`, `patch.ts`, `normalize.ts`, `projection.ts`) and `store.ts`.
 */
import { Router } from 'express';
import type { ConnectionId, TenantId } from '../core/ids.ts';
import type { Db } from '../db/db.ts';
import type { Clock } from '../platform/clock.ts';
import type { Logger } from '../platform/logger.ts';
import type { Pushes } from '../reconciliation/reconciliation.ts';
import { createBulk, maxBulkBytes } from './bulk.ts';
import { createCursors } from './cursors.ts';
import { resourceTypes, schemas, serviceProviderConfig } from './discovery.ts';
import { createGroups } from './groups.ts';
import { mountEndpoints, type Endpoint } from './http.ts';
import { createList } from './list.ts';
import { createListMarks } from './list-marks.ts';
import { groupModel, userModel } from './schema-model.ts';
import { createSearch, createSearchAll } from './search.ts';
import { createUsers } from './users.ts';
import { createWalks } from './walks.ts';

export type ScimCaller = {
  readonly tenantId: TenantId;
  readonly connectionId: ConnectionId;
  readonly tokenId: string;
};

export type ScimOptions = {
  readonly db: Db;
  readonly pushes: Pushes;
  /** Whom a bearer token of kind scim speaks for; null when it is unknown, revoked or expired. */
  readonly authenticate: (bearer: string) => Promise<ScimCaller | null>;
  /** Key material of this installation, the same on every replica: cursors are sealed with a key derived from it. */
  readonly pepper: Buffer;
  readonly clock: Clock;
  readonly log: Logger;
  /** Address clients use, without a slash at its end; taken from each request when absent. */
  readonly publicUrl?: string;
};

const mebibyte = 1_048_576;

/** The router to be mounted at /scim/v2. Answers everything below it, errors too. */
export function createScim(options: ScimOptions): Router {
  const users = createUsers(options);
  const groups = createGroups(options);
  const { clock } = options;
  const reads = {
    db: options.db,
    walks: createWalks(clock),
    marks: createListMarks(() => clock.now()),
    cursors: createCursors(options.pepper, clock),
  };
  const listUsers = createList(reads, userModel);
  const listGroups = createList(reads, groupModel);
  const endpoints: readonly Endpoint[] = [
    { path: '/Users', maxBodyBytes: mebibyte, methods: { GET: listUsers, POST: users.create } },
    { path: '/Users/.search', maxBodyBytes: mebibyte, methods: { POST: createSearch(listUsers) } },
    {
      path: '/Users/:id',
      maxBodyBytes: mebibyte,
      methods: { GET: users.get, PUT: users.replace, PATCH: users.patch, DELETE: users.remove },
    },
    {
      path: '/Groups',
      maxBodyBytes: 16 * mebibyte,
      methods: { GET: listGroups, POST: groups.create },
    },
    { path: '/Groups/.search', maxBodyBytes: mebibyte, methods: { POST: createSearch(listGroups) } },
    {
      path: '/Groups/:id',
      maxBodyBytes: 16 * mebibyte,
      methods: { GET: groups.get, PUT: groups.replace, PATCH: groups.patch, DELETE: groups.remove },
    },
    { path: '/.search', maxBodyBytes: mebibyte, methods: { POST: createSearchAll(listUsers, listGroups) } },
    { path: '/Bulk', maxBodyBytes: maxBulkBytes, methods: { POST: createBulk(users, groups) } },
    { path: '/ServiceProviderConfig', maxBodyBytes: 0, methods: { GET: serviceProviderConfig } },
    { path: '/ResourceTypes', maxBodyBytes: 0, methods: { GET: resourceTypes.list } },
    { path: '/ResourceTypes/:id', maxBodyBytes: 0, methods: { GET: resourceTypes.get } },
    { path: '/Schemas', maxBodyBytes: 0, methods: { GET: schemas.list } },
    { path: '/Schemas/:id', maxBodyBytes: 0, methods: { GET: schemas.get } },
  ];
  const router = Router({ caseSensitive: false, strict: false });
  mountEndpoints(router, options, endpoints);
  return router;
}
