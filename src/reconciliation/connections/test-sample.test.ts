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
  const { asked, users } = await run({ mappings, scope: 'object.mail == null' });
  expect(asked).toEqual(['dept', 'mail']);
  expect(users).toEqual([
    {
      name: 'Ann',
      place: 'cn=ann',
      isActive: true,
      inactiveReason: null,
      isInScope: false,
      mapped: { department: 'Sales' },
      problem: null,
    },
  ]);
});

test("without mappings of its own the connector's are applied", async () => {
  const { users } = await run({ mappings: [] });
  expect(users).toMatchObject([{ isInScope: true, mapped: { email: 'ann@example.org' } }]);
});
