/** Goal P8: what a change of a group's members costs, whatever the group holds. */
import postgres from 'postgres';
import { parseDatabaseUrl } from '../../src/db/pools.ts';
import { reportLoad, runLoad, type LoadResult } from './load.ts';
import { tell } from './report.ts';
import { groupSchema, idOf, patchOf, type ScimBench } from './scim-bench.ts';

/** `newIds`: users who are in no group. */
export async function measureGroups(bench: ScimBench, newIds: readonly string[]): Promise<void> {
  const { report } = bench;
  const sql = postgres({ ...parseDatabaseUrl(bench.databaseUrl), max: 1 });
  try {
    const members = async (groupId: string): Promise<string[]> => {
      const rows = await sql<{ anchor: string }[]>`
        select member_anchor as anchor from mirror_edges
        where tenant_id = ${bench.place.tenantId} and connection_id = ${bench.place.connectionId} and group_anchor = ${groupId}`;
      return rows.map(({ anchor }) => anchor);
    };
    const large = await findGroup(bench, 'Group 1');
    const before = await members(large);
    const small = await createGroup(bench, 'Bench small', before.slice(0, 100));
    const single = Math.min(1000, Math.floor(newIds.length / 4));
    tell('one member at a time');
    await addOneByOne(bench, small, newIds.slice(0, 50), 1);
    const intoSmall = await addOneByOne(bench, small, newIds.slice(50, single), 1);
    await addOneByOne(bench, large, newIds.slice(0, 50), 1);
    const intoLarge = await addOneByOne(bench, large, newIds.slice(50, single), 1);
    reportLoad(report, 'member_into_100', intoSmall);
    reportLoad(report, `member_into_${before.length}`, intoLarge, { p50Ms: 3, p99Ms: 20 });
    report('member_large_to_small', intoLarge.percentileMs(50) / intoSmall.percentileMs(50), 'times', 1.3);
    const many = newIds.slice(single, single + Math.min(1000, Math.floor(newIds.length / 4)));
    report(`members_${many.length}_at_once`, await timeOf(() => addMembers(bench, large, many)), 'ms', 25);
    const rest = newIds.slice(single + many.length);
    await measureWriters(bench, large, rest, members);
    await measureReplace(bench, large, await members(large), members);
  } finally {
    await sql.end({ timeout: 2 });
  }
}

async function timeOf(work: () => Promise<unknown>): Promise<number> {
  const startedAt = performance.now();
  await work();
  return performance.now() - startedAt;
}

/** Several at once on one group: every member is there afterwards, and nobody is told of a conflict. */
async function measureWriters(
  bench: ScimBench,
  groupId: string,
  newIds: readonly string[],
  members: (groupId: string) => Promise<string[]>,
): Promise<void> {
  const half = Math.min(500, Math.floor(newIds.length / 2));
  for (const [writers, ids] of [
    [4, newIds.slice(0, half)],
    [8, newIds.slice(half, 2 * half)],
  ] as const) {
    tell(`${writers} writers on one group`);
    const result = await addOneByOne(bench, groupId, ids, writers);
    reportLoad(bench.report, `member_${writers}_writers`, result);
    const there = new Set(await members(groupId));
    const lost = ids.filter((id) => !there.has(id)).length;
    bench.report(`member_${writers}_writers_lost`, lost, 'members', 0);
    if (lost > 0) throw new Error(`${lost} members were lost with ${writers} writers.`);
  }
}

/** All members named anew, five of them gone and five others come. */
async function measureReplace(
  bench: ScimBench,
  groupId: string,
  present: readonly string[],
  members: (groupId: string) => Promise<string[]>,
): Promise<void> {
  tell('all members replaced, ten changes');
  const swap = async (kept: readonly string[], gone: number): Promise<number> => {
    const wanted = kept.slice(gone).concat(present.slice(-gone));
    const body = patchOf({ op: 'replace', path: 'members', value: wanted.map((value) => ({ value })) });
    const took = await timeOf(async () => {
      const answer = await bench.client.send({ method: 'PATCH', path: `/Groups/${groupId}`, body });
      if (answer.status !== 204) throw new Error(`Replace: ${answer.status} ${answer.body.slice(0, 200)}`);
    });
    const now = new Set(await members(groupId));
    if (now.size !== wanted.length || wanted.some((id) => !now.has(id))) throw new Error('The group is not as wanted.');
    return took;
  };
  const base = present.slice(0, -5);
  // first without the last five, then five of the first go and the last five come back: ten changes
  const shrink = patchOf({ op: 'remove', path: 'members', value: present.slice(-5).map((value) => ({ value })) });
  const answer = await bench.client.send({ method: 'PATCH', path: `/Groups/${groupId}`, body: shrink });
  if (answer.status !== 204) throw new Error(`Remove: ${answer.status} ${answer.body.slice(0, 200)}`);
  bench.report(`replace_${present.length}_members_10_changes`, await swap(base, 5), 'ms', 1000);
}

async function findGroup({ client }: ScimBench, displayName: string): Promise<string> {
  const filter = encodeURIComponent(`displayName eq "${displayName}"`);
  const path = `/Groups?filter=${filter}&excludedAttributes=members`;
  const { body } = await client.send({ method: 'GET', path });
  const [group] = (JSON.parse(body) as { Resources?: { id: string }[] }).Resources ?? [];
  if (group === undefined) throw new Error(`There is no group ${displayName}: ${body.slice(0, 200)}`);
  return group.id;
}

async function createGroup(bench: ScimBench, displayName: string, members: readonly string[]): Promise<string> {
  const body = { schemas: [groupSchema], displayName };
  const answer = await bench.client.send({ method: 'POST', path: '/Groups', body });
  if (answer.status !== 201) throw new Error(`Group: ${answer.status} ${answer.body.slice(0, 200)}`);
  await addMembers(bench, idOf(answer), members);
  return idOf(answer);
}

const addition = (members: readonly string[]): unknown =>
  patchOf({ op: 'add', path: 'members', value: members.map((value) => ({ value })) });

async function addMembers({ client }: ScimBench, groupId: string, members: readonly string[]): Promise<void> {
  const answer = await client.send({ method: 'PATCH', path: `/Groups/${groupId}`, body: addition(members) });
  if (answer.status !== 204) throw new Error(`Members: ${answer.status} ${answer.body.slice(0, 200)}`);
}

function addOneByOne(
  { client, pid }: ScimBench,
  groupId: string,
  members: readonly string[],
  connections: number,
): Promise<LoadResult> {
  return runLoad(client, pid, {
    name: 'member',
    count: members.length,
    connections,
    status: 204,
    call: (index) => ({
      method: 'PATCH',
      path: `/Groups/${groupId}`,
      body: addition(members.slice(index, index + 1)),
    }),
  });
}
