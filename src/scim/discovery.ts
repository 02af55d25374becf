/** Discovery (RFC 7644 section 4, RFC 7643 sections 5 to 7): what this service can do, told to clients that ask. */
import { RollcallError } from '../core/errors.ts';
import { maxBulkBytes, maxBulkOperations } from './bulk.ts';
import { customNames, customSchema, customUrn } from './custom-schema.ts';
import { publishedDefinitions, enterpriseUrn } from './definitions.ts';
import { eventUris } from './events.ts';
import { isRecord, type Json, type JsonObject } from './json.ts';
import { cursorTimeoutSeconds } from './cursors.ts';
import { listResponse } from './list.ts';
import { defaultCount, maxCount } from './list-query.ts';
import type { ScimAnswer, ScimRequest } from './request.ts';
import { groupModel, userModel } from './schema-model.ts';
import { discoverySchemas } from './discovery-schemas.ts';
import { entitlementUrn, ownSchemas, portalUrn, roleUrn } from './portal-schema.ts';
import { notFound } from './scim-error.ts';

const configUrn = 'urn:ietf:params:scim:schemas:core:2.0:ServiceProviderConfig';
const resourceTypeUrn = 'urn:ietf:params:scim:schemas:core:2.0:ResourceType';

/** RFC 7643 section 5. */
export function serviceProviderConfig(request: ScimRequest): Promise<ScimAnswer> {
  return Promise.resolve({
    status: 200,
    body: {
      schemas: [configUrn],
      patch: { supported: true },
      bulk: { supported: true, maxOperations: maxBulkOperations, maxPayloadSize: maxBulkBytes },
      filter: { supported: true, maxResults: maxCount },
      changePassword: { supported: false },
      sort: { supported: true },
      etag: { supported: true },
      pagination: {
        cursor: true,
        index: true,
        defaultPaginationMethod: 'index',
        defaultPageSize: defaultCount,
        maxPageSize: maxCount,
        cursorTimeout: cursorTimeoutSeconds,
      },
      // RFC 9967 section 4: what the webhooks of a tenant are told; requests are never answered later
      securityEvents: { asyncRequest: 'none', eventUris: [...eventUris] },
      authenticationSchemes: [
        {
          type: 'oauthbearertoken',
          name: 'OAuth Bearer Token',
          description: 'A token of this connection in the Authorization header.',
          specUri: 'https://www.rfc-editor.org/info/rfc6750',
          primary: true,
        },
      ],
      meta: { resourceType: 'ServiceProviderConfig', location: `${request.base}/ServiceProviderConfig` },
    },
  });
}

type Discovered = Pick<ScimRequest, 'base' | 'settings'>;
type Described = { readonly name: string; readonly endpoint: string; readonly urn: string };

/** RFC 7643 section 6. */
function resourceTypesOf({ base, settings }: Discovered): JsonObject[] {
  const describe = (model: Described, description: string, schemaExtensions: JsonObject[]): JsonObject => ({
    schemas: [resourceTypeUrn],
    id: model.name,
    name: model.name,
    endpoint: `/${model.endpoint}`,
    description,
    schema: model.urn,
    schemaExtensions,
    meta: { resourceType: 'ResourceType', location: `${base}/ResourceTypes/${model.name}` },
  });
  return [
    describe(userModel, 'User Account', [
      { schema: enterpriseUrn, required: false },
      { schema: portalUrn, required: false },
      ...(customNames(settings).length > 0 ? [{ schema: customUrn, required: false }] : []),
    ]),
    describe(groupModel, 'Group', []),
    describe({ name: 'Role', endpoint: 'Roles', urn: roleUrn }, 'Role of the portal', []),
    describe({ name: 'Entitlement', endpoint: 'Entitlements', urn: entitlementUrn }, 'Role in an organization', []),
  ];
}

function schemasOf({ base, settings }: Discovered): JsonObject[] {
  const custom = customSchema(settings);
  const all = [...coreSchemas, ...ownSchemas, ...(custom === null ? [] : [custom]), ...discoverySchemas];
  return all.map((schema) => ({
    ...schema,
    meta: { resourceType: 'Schema', location: `${base}/Schemas/${idOf(schema)}` },
  }));
}

/** scimmy's descriptions, as plain JSON; an empty list of canonical values says nothing and is left out. */
const coreSchemas: readonly JsonObject[] = publishedDefinitions.map((definition) => {
  const described = JSON.parse(JSON.stringify(definition.describe())) as JsonObject;
  const attributes = described['attributes'];
  return { ...described, attributes: Array.isArray(attributes) ? attributes.map(tidy) : [] };
});

function tidy(attribute: Json): Json {
  if (!isRecord(attribute)) return attribute;
  const { canonicalValues, subAttributes, ...rest } = attribute;
  return {
    ...rest,
    ...(Array.isArray(canonicalValues) && canonicalValues.length > 0 ? { canonicalValues } : {}),
    ...(Array.isArray(subAttributes) ? { subAttributes: subAttributes.map(tidy) } : {}),
  };
}

export const resourceTypes = collection(resourceTypesOf);
export const schemas = collection(schemasOf);

/** A discovery list, and one of its members by id. Filters are forbidden on them (RFC 7644 section 4). */
function collection(all: (request: Discovered) => JsonObject[]): {
  readonly list: (request: ScimRequest) => Promise<ScimAnswer>;
  readonly get: (request: ScimRequest) => Promise<ScimAnswer>;
} {
  return {
    list: async (request) => {
      if (request.query.has('filter')) throw new RollcallError('forbidden', 'Discovery lists can not be filtered.');
      const items = all(request);
      return Promise.resolve({ status: 200, body: listResponse(items, items.length, 1) });
    },
    get: async (request) => {
      const wanted = request.id.toLowerCase();
      const found = all(request).find((item) => idOf(item).toLowerCase() === wanted);
      if (found === undefined) throw notFound();
      return Promise.resolve({ status: 200, body: found });
    },
  };
}

function idOf(item: JsonObject): string {
  return typeof item['id'] === 'string' ? item['id'] : '';
}
