/** The schemas of our own and of Okta's that no library has: the portal extension of User, Role, Entitlement. */
import type { JsonObject } from './json.ts';

export const portalUrn = 'urn:rollcall:scim:schemas:extension:portal:1.0:User';
/** As Okta names what it discovers (developer.okta.com, "Build a SCIM 2.0 server with entitlements"). */
export const roleUrn = 'urn:okta:scim:schemas:core:1.0:Role';
export const entitlementUrn = 'urn:okta:scim:schemas:core:1.0:Entitlement';

export type OwnAttribute = {
  readonly name: string;
  readonly type: 'string' | 'boolean' | 'complex';
  readonly isMultiValued?: true;
  readonly description: string;
  readonly sub?: readonly OwnAttribute[];
};

const value = (description: string): OwnAttribute => ({ name: 'value', type: 'string', description });
const display: OwnAttribute = { name: 'display', type: 'string', description: 'Name of the organization.' };

export const portalAttributes: readonly OwnAttribute[] = [
  { name: 'userId', type: 'string', description: 'The user of the portal that this resource is linked to.' },
  { name: 'state', type: 'string', description: 'State of that link: linked, disputed, suspended and so on.' },
  { name: 'caseId', type: 'string', description: 'The open case a person has to decide.' },
  { name: 'effectiveActive', type: 'boolean', description: 'Whether the user may sign in to the portal now.' },
  {
    name: 'effectiveRoles',
    type: 'complex',
    isMultiValued: true,
    description: 'Roles the user has, whatever gave them.',
    sub: [
      value('The role.'),
      display,
      { name: 'organization', type: 'string', description: 'Id of the organization it is held in.' },
    ],
  },
  {
    name: 'organizations',
    type: 'complex',
    isMultiValued: true,
    description: 'Organizations the user is a member of.',
    sub: [value('Id of the organization.'), display],
  },
  {
    name: 'quotaHome',
    type: 'complex',
    description: 'The organization whose quotas the user draws from.',
    sub: [value('Id of the organization.'), display],
  },
];

const grantAttributes: readonly OwnAttribute[] = [
  { name: 'displayName', type: 'string', description: 'What an admin reads.' },
  { name: 'type', type: 'string', description: 'What kind of thing it is.' },
  { name: 'description', type: 'string', description: 'What it gives.' },
];

/** What all attributes of a schema have in common (RFC 7643 section 7). */
type Traits = { readonly mutability: string; readonly returned: string; readonly caseExact: boolean };
const readOnly: Traits = { mutability: 'readOnly', returned: 'default', caseExact: true };

export const ownSchemas: readonly JsonObject[] = [
  describeSchema(portalUrn, 'PortalUser', 'What the portal made of the user', portalAttributes, {
    ...readOnly,
    returned: 'request',
  }),
  describeSchema(roleUrn, 'Role', 'A role of the portal', grantAttributes, readOnly),
  describeSchema(entitlementUrn, 'Entitlement', 'A role in one organization of the portal', grantAttributes, readOnly),
];

export function describeSchema(
  id: string,
  name: string,
  description: string,
  attributes: readonly OwnAttribute[],
  traits: Traits,
): JsonObject {
  return {
    schemas: ['urn:ietf:params:scim:schemas:core:2.0:Schema'],
    id,
    name,
    description,
    attributes: attributes.map((one) => describeAttribute(one, traits)),
  };
}

function describeAttribute({ name, type, isMultiValued, description, sub }: OwnAttribute, traits: Traits): JsonObject {
  const { mutability, returned, caseExact } = traits;
  return {
    name,
    type,
    multiValued: isMultiValued === true,
    description,
    required: false,
    ...(type === 'string' ? { caseExact, uniqueness: 'none' } : {}),
    mutability,
    returned,
    ...(sub === undefined ? {} : { subAttributes: sub.map((one) => describeAttribute(one, traits)) }),
  };
}
