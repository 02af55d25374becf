import { expect, test } from 'vitest';
import { z } from 'zod';
import type { Connector, DirectoryObject, TestStep } from '../../connectors/contract/contract.ts';
import { mappingSchema } from '../../core/policy.ts';
import { testWithRules } from './test-sample.ts';

const ann: DirectoryObject = {
  kind: 'user',
  anchor: '1',
  name: 'Ann',
  locator: 'cn=ann',
  isActive: true,
  inactiveReason: null,
  attributes: { mail: 'ann@example.org', dept: 'Sales' },
};

function connectorThatSamples(asked: string[]): Connector {
  return {
    kind: 'ldap',
    settingsSchema: z.looseObject({}),
    secretsSchema: z.looseObject({}),
    target: () => '',
    defaultMappings: () => [{ target: 'email', expression: 'object.mail' }],
    async *test({ attributes }): AsyncGenerator<TestStep> {
      await Promise.resolve();
      asked.push(...attributes);
      yield { step: 'bind', outcome: 'ok', message: 'Signed in.' };
      yield { step: 'read_users', outcome: 'ok', message: 'One user.', facts: { count: 1 }, sample: [ann] };
    },
    read: () => nothing(),
    proveAbsent: () => nothing(),
    readObject: () => Promise.resolve([]),
  };
}

async function* nothing(): AsyncGenerator<never> {
  // only tested here
}

async function run(rules: Parameters<typeof testWithRules>[2]): Promise<{ asked: string[]; users: unknown }> {
  const asked: string[] = [];
  const request = { settings: {}, secrets: {}, signal: new AbortController().signal };
  const steps: TestStep[] = [];
  for await (const step of testWithRules(connectorThatSamples(asked), request, rules)) steps.push(step);
  expect(steps.map(({ step }) => step)).toEqual(['bind', 'read_users']);
  expect(steps[1]?.facts).toMatchObject({ count: 1 });
  return { asked, users: steps[1]?.facts?.['users'] };
}

test('a connection test asks for what unsaved mappings and scope read, and shows what they make of people', async () => {
  const mappings = [mappingSchema.parse({ target: 'department', expression: 'object.dept' })];
  const { asked, users } = await run({ mappings, scope: 'object.mail == null', domains: new Set() });
  expect(asked).toEqual(['dept', 'mail']);
  expect(users).toEqual([
    {
      name: 'Ann',
      place: 'cn=ann',
      isActive: true,
      inactiveReason: null,
      isInScope: false,
      mapped: { department: 'Sales' },
      hasUsername: false,
      problem: null,
    },
  ]);
});

test("without mappings of its own the connector's are applied", async () => {
  const { users } = await run({ mappings: [], domains: new Set() });
  expect(users).toMatchObject([{ isInScope: true, mapped: { email: 'ann@example.org' } }]);
});

test("mappings that extend the connector's come on top of them, and take the place of those with the same target", async () => {
  const mappings = [
    { target: 'department', expression: 'object.dept' },
    { target: 'email', expression: '"ann@elsewhere.example"' },
  ].map((mapping) => mappingSchema.parse(mapping));
  const { users } = await run({ mappings, extendMappings: true, domains: new Set() });
  expect(users).toMatchObject([{ mapped: { department: 'Sales', email: 'ann@elsewhere.example' } }]);
  const other = await run({ mappings: mappings.slice(0, 1), extendMappings: true, domains: new Set() });
  expect(other.users).toMatchObject([{ mapped: { department: 'Sales', email: 'ann@example.org' } }]);
});

test('who would join without a username, because it lies in none of the domains, is shown as such', async () => {
  const mappings = [mappingSchema.parse({ target: 'username', expression: 'object.mail' })];
  const { users: outside } = await run({ mappings, domains: new Set(['contoso.example']) });
  expect(outside).toMatchObject([{ mapped: { username: 'ann@example.org' }, hasUsername: false }]);
  const { users: inside } = await run({ mappings, domains: new Set(['example.org']) });
  expect(inside).toMatchObject([{ hasUsername: true }]);
});
