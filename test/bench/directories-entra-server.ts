/**
 * Pages of Microsoft Graph that were made beforehand, served from memory by a process of its own: what is measured is
 * the reader, not the simulator. Prints {"url", "bytes", "pages"} as one JSON line; serves until SIGTERM.
 */
import '../../src/first.ts';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { createRandom } from '../simulators/entra/random.ts';

const [usersText = '100000', groupsText = '500'] = process.argv.slice(2);
const users = Number(usersText);
const groups = Number(groupsText);
const usersPerPage = 200;
const groupsPerPage = 20;
const membershipsPerUser = 5;
const random = createRandom(20_261_122);
const certificate = (name: string): Buffer =>
  readFileSync(new URL(`../simulators/entra/certificates/${name}`, import.meta.url));

const userIds = Array.from({ length: users }, () => random.guid());

function userItem(id: string, index: number): object {
  return {
    id,
    accountEnabled: index % 50 !== 0,
    businessPhones: ['+1 425 555 0100'],
    department: `Department ${index % 40}`,
    displayName: `Given${index} Surname${index % 977}`,
    employeeId: `E${String(index).padStart(7, '0')}`,
    givenName: `Given${index}`,
    jobTitle: 'Senior Program Manager',
    mail: `given${index}@contoso.example`,
    mobilePhone: null,
    officeLocation: '18/2111',
    surname: `Surname${index % 977}`,
    usageLocation: 'US',
    userPrincipalName: `given${index}@contoso.example`,
    userType: 'Member',
  };
}

function groupItem(index: number): object {
  const share = groups === 0 ? 0 : Math.floor((users * membershipsPerUser) / groups);
  const members = Array.from({ length: share }, (_, at) => ({
    '@odata.type': '#microsoft.graph.user',
    id: userIds[(index * share + at) % users],
  }));
  return {
    id: random.guid(),
    displayName: `Group ${index}`,
    description: null,
    groupTypes: [],
    securityEnabled: true,
    ...(members.length === 0 ? {} : { 'members@delta': members }),
  };
}

function chunked<T>(items: readonly T[], size: number): T[][] {
  return Array.from({ length: Math.ceil(items.length / size) }, (_, at) => items.slice(at * size, (at + 1) * size));
}

const tls = { key: certificate('server-key.pem'), cert: certificate('server.pem') };
const pages = new Map<string, Buffer>();
const server = createServer(tls, (incoming, outgoing) => {
  incoming.resume();
  const url = incoming.url ?? '';
  const body = url.includes('/oauth2/')
    ? Buffer.from(JSON.stringify({ token_type: 'Bearer', expires_in: 3_599, access_token: 'opaque' }))
    : pages.get(url.includes('skiptoken') ? url : (url.split('?')[0] ?? ''));
  const answer = body ?? Buffer.from('{}');
  const status = body === undefined ? 404 : 200;
  outgoing.writeHead(status, { 'content-type': 'application/json', 'content-length': answer.length }).end(answer);
});

function fill(root: string, resource: 'users' | 'groups', values: readonly (readonly object[])[]): void {
  const path = `/v1.0/${resource}/delta`;
  const shown = values.length === 0 ? [[]] : values;
  for (const [index, value] of shown.entries()) {
    const link =
      index + 1 < shown.length
        ? { '@odata.nextLink': `${root}${path}?$skiptoken=${index + 1}` }
        : { '@odata.deltaLink': `${root}${path}?$deltatoken=end` };
    const body = JSON.stringify({ '@odata.context': `${root}/v1.0/$metadata#${resource}`, ...link, value });
    pages.set(index === 0 ? path : `${path}?$skiptoken=${index}`, Buffer.from(body));
  }
}

await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
const root = `https://127.0.0.1:${(server.address() as AddressInfo).port}`;
fill(
  root,
  'users',
  chunked(userIds, usersPerPage).map((ids, page) => ids.map((id, at) => userItem(id, page * usersPerPage + at))),
);
fill(
  root,
  'groups',
  chunked(
    Array.from({ length: groups }, (_, index) => groupItem(index)),
    groupsPerPage,
  ),
);
process.once('SIGTERM', () => {
  server.closeAllConnections();
  server.close();
});
const bytes = [...pages.values()].reduce((sum, page) => sum + page.length, 0);
process.stdout.write(`${JSON.stringify({ url: root, bytes, pages: pages.size })}\n`);
