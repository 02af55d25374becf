/** What the tests of the service provider say again and again. */
import { expect } from 'vitest';
import type { Answer, Client } from './scim-server.ts';

export async function createUser(
  client: Client,
  userName: string,
  more: Record<string, unknown> = {},
): Promise<string> {
  const answer = await client.send('POST', '/Users', { body: { userName, ...more } });
  expect(answer.status, answer.text).toBe(201);
  return String(answer.body['id']);
}

export async function createGroup(
  client: Client,
  displayName: string,
  memberIds: readonly string[] = [],
): Promise<string> {
  const members = memberIds.map((value) => ({ value }));
  const answer = await client.send('POST', '/Groups', { body: { displayName, members } });
  expect(answer.status, answer.text).toBe(201);
  return String(answer.body['id']);
}

export async function memberIds(client: Client, groupId: string): Promise<string[]> {
  const { body } = await client.send('GET', `/Groups/${groupId}`);
  return ((body['members'] ?? []) as { value: string }[]).map((member) => member.value);
}

export const patchOf = (...operations: unknown[]) => ({ body: { Operations: operations } });
export const idsOf = ({ body }: Answer) => (body['Resources'] as { id: string }[]).map(({ id }) => id);
