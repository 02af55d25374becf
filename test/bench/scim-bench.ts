/** What the phases of the SCIM bench share. */
import type { Answer, Client } from './load.ts';
import type { BenchOptions, Report } from './report.ts';

export const userSchema = 'urn:ietf:params:scim:schemas:core:2.0:User';
export const groupSchema = 'urn:ietf:params:scim:schemas:core:2.0:Group';
export const patchSchema = 'urn:ietf:params:scim:api:messages:2.0:PatchOp';

export type ScimBench = {
  readonly client: Client;
  readonly pid: number;
  readonly report: Report;
  readonly options: BenchOptions;
  readonly databaseUrl: string;
  readonly place: { readonly tenantId: string; readonly connectionId: string };
};

export function idOf(answer: Answer): string {
  const { id } = JSON.parse(answer.body) as { id?: unknown };
  if (typeof id !== 'string') throw new Error(`An answer has no id: ${answer.body.slice(0, 200)}`);
  return id;
}

export function newUser(prefix: string, index: number): unknown {
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

export function patchOf(...operations: unknown[]): unknown {
  return { schemas: [patchSchema], Operations: operations };
}
