/** The schemas of the discovery types themselves (RFC 7643 section 8.7.2), which some clients read first. */
import type { JsonObject } from './json.ts';

type Shape = {
  readonly type?: string;
  readonly isMultiValued?: boolean;
  readonly isRequired?: boolean;
  readonly sub?: Readonly<Record<string, Shape>>;
};

function attribute(name: string, shape: Shape): JsonObject {
  const type = shape.type ?? (shape.sub === undefined ? 'string' : 'complex');
  return {
    name,
    type,
    multiValued: shape.isMultiValued ?? false,
    description: '',
    required: shape.isRequired ?? false,
    ...(type === 'string' || type === 'reference' ? { caseExact: true, uniqueness: 'none' } : {}),
    ...(type === 'reference' ? { referenceTypes: ['uri'] } : {}),
    mutability: 'readOnly',
    returned: 'default',
    ...(shape.sub === undefined ? {} : { subAttributes: attributes(shape.sub) }),
  };
}

function attributes(shapes: Readonly<Record<string, Shape>>): JsonObject[] {
  return Object.entries(shapes).map(([name, shape]) => attribute(name, shape));
}

const supported: Shape = { isRequired: true, sub: { supported: { type: 'boolean', isRequired: true } } };
const attributeShape: Readonly<Record<string, Shape>> = {
  name: { isRequired: true },
  type: { isRequired: true },
  multiValued: { type: 'boolean', isRequired: true },
  description: {},
  required: { type: 'boolean' },
  canonicalValues: { isMultiValued: true },
  caseExact: { type: 'boolean' },
  mutability: {},
  returned: {},
  uniqueness: {},
  referenceTypes: { isMultiValued: true },
};

function schema(name: string, description: string, shapes: Readonly<Record<string, Shape>>): JsonObject {
  return {
    schemas: ['urn:ietf:params:scim:schemas:core:2.0:Schema'],
    id: `urn:ietf:params:scim:schemas:core:2.0:${name}`,
    name,
    description,
    attributes: attributes(shapes),
  };
}

export const discoverySchemas: readonly JsonObject[] = [
  schema('ServiceProviderConfig', 'What the service provider can do', {
    documentationUri: { type: 'reference' },
    patch: supported,
    bulk: {
      isRequired: true,
      sub: {
        supported: { type: 'boolean', isRequired: true },
        maxOperations: { type: 'integer', isRequired: true },
        maxPayloadSize: { type: 'integer', isRequired: true },
      },
    },
    filter: {
      isRequired: true,
      sub: { supported: { type: 'boolean', isRequired: true }, maxResults: { type: 'integer', isRequired: true } },
    },
    changePassword: supported,
    sort: supported,
    etag: supported,
    pagination: {
      sub: {
        cursor: { type: 'boolean', isRequired: true },
        index: { type: 'boolean', isRequired: true },
        defaultPaginationMethod: {},
        defaultPageSize: { type: 'integer' },
        maxPageSize: { type: 'integer' },
        cursorTimeout: { type: 'integer' },
      },
    },
    securityEvents: {
      sub: { asyncRequest: {}, eventUris: { type: 'reference', isMultiValued: true } },
    },
    authenticationSchemes: {
      isMultiValued: true,
      isRequired: true,
      sub: {
        type: { isRequired: true },
        name: { isRequired: true },
        description: { isRequired: true },
        specUri: { type: 'reference' },
        documentationUri: { type: 'reference' },
        primary: { type: 'boolean' },
      },
    },
  }),
  schema('ResourceType', 'A type of resource', {
    id: {},
    name: { isRequired: true },
    description: {},
    endpoint: { type: 'reference', isRequired: true },
    schema: { type: 'reference', isRequired: true },
    schemaExtensions: {
      isMultiValued: true,
      isRequired: true,
      sub: { schema: { type: 'reference', isRequired: true }, required: { type: 'boolean', isRequired: true } },
    },
  }),
  schema('Schema', 'The definition of a schema', {
    id: { isRequired: true },
    name: {},
    description: {},
    attributes: {
      isMultiValued: true,
      isRequired: true,
      sub: { ...attributeShape, subAttributes: { isMultiValued: true, sub: attributeShape } },
    },
  }),
];
