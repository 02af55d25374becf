/**
 * Goals P6 to P8 over HTTP against a sandbox: create, get, filter, patch with 16 keep-alive connections, then members
 * into a group of 100 and into one that holds every preloaded user (100,000 unless --users says otherwise).
 */
import { createClient, reportLoad, runLoad, type Answer, type Client, type LoadResult } from './load.ts';
import { createReport, tell, type BenchOptions, type Report } from './report.ts';
import { startSandbox } from './sandbox.ts';

const userSchema = 'urn:ietf:params:scim:schemas:core:2.0:User';
const groupSchema = 'urn:ietf:params:scim:schemas:core:2.0:Group';
const patchSchema = 'urn:ietf:params:scim:api:messages:2.0:PatchOp';
const pageSize = 1000;
const warmUpCount = 200;

export async function run(options: BenchOptions): Promise<void> {
  const report = createReport('scim');
  tell(`Starting a sandbox with ${options.users} users ...`);
  const sandbox = await startSandbox(['--users', String(options.users)]);
  const client = createClient(sandbox.scimUrl, sandbox.scimToken, options.connections);
  try {
    const context: Context = { client, pid: sandbox.pid, report, options };
    const userIds = await measureUsers(context);
    await measureGroups(context, userIds);
  } finally {
    client.close();
    await sandbox.stop();
  }
}

type Context = {
  readonly client: Client;
  readonly pid: number;
  readonly report: Report;
  readonly options: BenchOptions;
};

function idOf(answer: Answer): string {
  const { id } = JSON.parse(answer.body) as { id?: unknown };
  if (typeof id !== 'string') throw new Error(`An answer has no id: ${answer.body.slice(0, 200)}`);
  return id;
}

function newUser(prefix: string, index: number): unknown {
  return {
    schemas: [userSchema],
    userName: `${prefix}${index}@contoso.example`,
    externalId: `${prefix}-${index}`,
    name: { givenName: 'Bench', familyName: `User ${index}` },
    displayName: `Bench User ${index}`,
    emails: [{ type: 'work', value: `${prefix}${index}@contoso.example`, primary: true }],
    active: true,
  };
}

/** Returns the ids of the users made here. */
async function measureUsers({ client, pid, report, options }: Context): Promise<string[]> {
  const { requests, connections } = options;
  const ids: string[] = [];
  const pick = (index: number) => (index * 7919) % requests;
  const post = (prefix: string, count: number) =>
    runLoad(client, pid, {
      name: 'post',
      count,
      connections,
      status: 201,
      call: (index) => ({ method: 'POST', path: '/Users', body: newUser(prefix, index) }),
      onAnswer: (answer, index) => {
        if (prefix === 'bench') ids[index] = idOf(answer);
      },
    });
  tell('POST');
  await post('warm', warmUpCount);
  reportLoad(report, 'post', await post('bench', requests), { perSecond: 2000, p99Ms: 30 });

  const get = (count: number) =>
    runLoad(client, pid, {
      name: 'get',
      count,
      connections,
      status: 200,
      call: (index) => ({ method: 'GET', path: `/Users/${ids[pick(index)]}` }),
    });
  tell('GET');
  await get(warmUpCount);
  reportLoad(report, 'get', await get(requests * 2), { perSecond: 5000 });

  const filter = (count: number) =>
    runLoad(client, pid, {
      name: 'filter',
      count,
      connections,
      status: 200,
      call: (index) => {
        const expression = `userName eq "bench${pick(index)}@contoso.example"`;
        return { method: 'GET', path: `/Users?filter=${encodeURIComponent(expression)}` };
      },
      onAnswer: (answer) => {
        const { totalResults } = JSON.parse(answer.body) as { totalResults?: unknown };
        if (totalResults !== 1) throw new Error(`A filter found ${String(totalResults)} users instead of one.`);
      },
    });
  tell('filter');
  await filter(warmUpCount);
  reportLoad(report, 'filter', await filter(requests * 2), { perSecond: 5000 });

  const patch = (round: string, count: number) =>
    runLoad(client, pid, {
      name: 'patch',
      count,
      connections,
      status: 200,
      call: (index) => ({
        method: 'PATCH',
        path: `/Users/${ids[pick(index)]}`,
        body: {
          schemas: [patchSchema],
          Operations: [{ op: 'replace', path: 'displayName', value: `Bench User ${index} ${round}` }],
        },
      }),
    });
  tell('PATCH');
  await patch('warm', Math.min(warmUpCount, requests));
  reportLoad(report, 'patch', await patch('renamed', requests), { perSecond: 1600 });
  return ids;
}

async function measureGroups(context: Context, newIds: readonly string[]): Promise<void> {
  const { report, options } = context;
  tell(`Filling a group with ${options.users} members ...`);
  const preloaded = await listUserIds(context, options.users);
  const small = await createGroup(context, 'Bench small', preloaded.slice(0, 100));
  const large = await createGroup(context, 'Bench large', preloaded);
  const single = Math.min(1000, Math.floor(newIds.length / 2));
  tell('one member at a time');
  const intoSmall = await addOneByOne(context, small, newIds.slice(0, single));
  const intoLarge = await addOneByOne(context, large, newIds.slice(0, single));
  reportLoad(report, 'member_into_100', intoSmall);
  reportLoad(report, `member_into_${preloaded.length}`, intoLarge, { p50Ms: 3, p99Ms: 20 });
  report('member_large_to_small', intoLarge.percentileMs(50) / intoSmall.percentileMs(50), 'times', 1.3);
  const many = newIds.slice(single, single + 1000);
  const startedAt = performance.now();
  await addMembers(context, large, many);
  report(`members_${many.length}_at_once`, performance.now() - startedAt, 'ms', 25);
}

async function listUserIds({ client }: Context, wanted: number): Promise<string[]> {
  const ids: string[] = [];
  while (ids.length < wanted) {
    const path = `/Users?startIndex=${ids.length + 1}&count=${Math.min(pageSize, wanted - ids.length)}&attributes=id`;
    const answer = await client.send({ method: 'GET', path });
    if (answer.status !== 200) throw new Error(`List: ${answer.status} ${answer.body.slice(0, 200)}`);
    const { Resources } = JSON.parse(answer.body) as { Resources?: readonly { readonly id: string }[] };
    if (Resources === undefined || Resources.length === 0) throw new Error(`The list ended after ${ids.length} users.`);
    ids.push(...Resources.map((resource) => resource.id));
  }
  return ids;
}

async function createGroup(context: Context, displayName: string, members: readonly string[]): Promise<string> {
  const body = { schemas: [groupSchema], displayName };
  const answer = await context.client.send({ method: 'POST', path: '/Groups', body });
  if (answer.status !== 201) throw new Error(`Group: ${answer.status} ${answer.body.slice(0, 200)}`);
  const id = idOf(answer);
  for (let at = 0; at < members.length; at += 5000) await addMembers(context, id, members.slice(at, at + 5000));
  return id;
}

function addition(members: readonly string[]): unknown {
  return {
    schemas: [patchSchema],
    Operations: [{ op: 'add', path: 'members', value: members.map((value) => ({ value })) }],
  };
}

async function addMembers({ client }: Context, groupId: string, members: readonly string[]): Promise<void> {
  const answer = await client.send({ method: 'PATCH', path: `/Groups/${groupId}`, body: addition(members) });
  if (answer.status !== 204) throw new Error(`Members: ${answer.status} ${answer.body.slice(0, 200)}`);
}

function addOneByOne(context: Context, groupId: string, members: readonly string[]): Promise<LoadResult> {
  return runLoad(context.client, context.pid, {
    name: 'member',
    count: members.length,
    connections: 1,
    status: 204,
    call: (index) => ({
      method: 'PATCH',
      path: `/Groups/${groupId}`,
      body: addition(members.slice(index, index + 1)),
    }),
  });
}
