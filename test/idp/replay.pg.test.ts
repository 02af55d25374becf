/**
 * The dialogues the vendors document, and what public reports say of their clients (the files name the source of each),
 * replayed one by one, each in a fresh organization.
 */
import { readFileSync } from 'node:fs';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { useDatabase } from '../setup/database.ts';
import { startPortalServer } from './portal-server.ts';
import type { Answer, Client, ScimServer } from './scim-server.ts';

type Check = {
  readonly path?: readonly (string | number | Readonly<Record<string, unknown>>)[];
  readonly header?: string;
  readonly exists?: boolean;
  readonly equals?: unknown;
  readonly contains?: unknown;
  readonly length?: number;
  readonly falsy?: boolean;
  readonly emptyOrAbsent?: boolean;
  readonly startsWith?: string;
  readonly equalsBody?: readonly string[];
};
type Expected = { readonly status: readonly number[]; readonly body?: readonly Check[] };
type Sent = {
  readonly method: string;
  readonly path: string;
  readonly query?: Readonly<Record<string, string>>;
  readonly body?: unknown;
};
type Trace = {
  readonly id: string;
  readonly name: string;
  readonly kind: string;
  readonly given?: Readonly<Record<string, Readonly<Record<string, unknown>>>>;
  readonly bind?: Readonly<Record<string, string>>;
  readonly request: Sent;
  readonly expect: Expected;
  readonly then?: readonly (Pick<Sent, 'method' | 'path'> & Expected)[];
};

function readTraces(name: string): Trace[] {
  return (JSON.parse(readFileSync(new URL(name, import.meta.url), 'utf8')) as { traces: Trace[] }).traces;
}

const traces = readTraces('scim-traces.json');
const further = readTraces('scim-traces-further.json');
const replayed = [...traces, ...further].filter((trace) => trace.kind !== 'outbound');

describe('documented dialogues', () => {
  const database = useDatabase();
  let server: ScimServer;
  const pristine = Object.getOwnPropertyNames(Object.prototype).toSorted();
  beforeAll(async () => {
    server = await startPortalServer(database.db);
  });
  afterAll(() => server.close());
  afterEach(() => {
    expect(Object.getOwnPropertyNames(Object.prototype).toSorted()).toEqual(pristine);
  });

  it('has dialogues to replay', () => {
    expect(traces).toHaveLength(65);
    expect(further.length).toBeGreaterThan(40);
    expect(new Set(replayed.map(({ id }) => id)).size).toBe(replayed.length);
  });

  for (const trace of replayed) {
    it(`${trace.id}: ${trace.name}`, async () => {
      const client = await server.connect();
      const ids = await makeGiven(client, trace);
      await exchange(client, ids, trace.request, trace.expect);
      for (const { method, path, ...expected } of trace.then ?? [])
        await exchange(client, ids, { method, path }, expected);
    });
  }
});

/** Creates what the dialogue presupposes; gives literal text of the dialogue -> id. */
async function makeGiven(client: Client, trace: Trace): Promise<Map<string, string>> {
  const ids = new Map<string, string>();
  for (const [name, resource] of Object.entries(trace.given ?? {})) {
    const isGroup = name.startsWith('group:');
    const members = Array.isArray(resource['members'])
      ? { members: (resource['members'] as string[]).map((member) => ({ value: ids.get(`{{${member}}}`) })) }
      : {};
    const urn = `urn:ietf:params:scim:schemas:core:2.0:${isGroup ? 'Group' : 'User'}`;
    const answer = await client.send('POST', isGroup ? '/Groups' : '/Users', {
      body: { schemas: [urn], ...resource, ...members },
    });
    expect(answer.status, answer.text).toBe(201);
    ids.set(`{{${name}}}`, String(answer.body['id']));
  }
  for (const [literal, name] of Object.entries(trace.bind ?? {})) ids.set(literal, ids.get(`{{${name}}}`) ?? '');
  return ids;
}

async function exchange(client: Client, ids: Map<string, string>, sent: Sent, expected: Expected): Promise<void> {
  const fill = (text: string) => [...ids].reduce((all, [literal, id]) => all.replaceAll(literal, id), text);
  const answer = await client.send(sent.method, fill(sent.path), {
    ...(sent.query === undefined
      ? {}
      : { query: JSON.parse(fill(JSON.stringify(sent.query))) as Record<string, string> }),
    ...(sent.body === undefined ? {} : { body: fill(JSON.stringify(sent.body)) }),
  });
  expect(expected.status, answer.text).toContain(answer.status);
  for (const check of expected.body ?? []) {
    expectCheck(answer, JSON.parse(fill(JSON.stringify(check))) as Check);
  }
}

function expectCheck(answer: Answer, check: Check): void {
  const label = `${JSON.stringify(check)} in ${answer.text}`;
  const found = check.header === undefined ? at(answer.body, check.path ?? []) : answer.headers.get(check.header);
  if (check.exists !== undefined) expect(found !== undefined, label).toBe(check.exists);
  if ('equals' in check) expect(found, label).toEqual(check.equals);
  if ('contains' in check) expect(found, label).toContain(check.contains);
  if (check.length !== undefined) expect(found, label).toHaveLength(check.length);
  if (check.falsy === true) expect(found, label).toBeFalsy();
  if (check.emptyOrAbsent === true) expect(found ?? [], label).toEqual([]);
  if (check.startsWith !== undefined) expect(String(found).startsWith(check.startsWith), label).toBe(true);
  if (check.equalsBody !== undefined) expect(found, label).toBe(at(answer.body, check.equalsBody));
}

/** Keys, indexes, or `{key: value}` for the element of a list that has it. */
function at(value: unknown, path: NonNullable<Check['path']>): unknown {
  let current: unknown = value;
  for (const step of path) {
    if (typeof current !== 'object' || current === null) return undefined;
    if (typeof step !== 'object') current = (current as Record<string, unknown>)[step];
    else {
      current = (current as unknown[]).find((one) =>
        Object.entries(step).every(([key, wanted]) => (one as Record<string, unknown>)[key] === wanted),
      );
    }
  }
  return current;
}
