/**
 * The attributes of a resource type, compiled once from the definitions for look-up by any spelling of a name: SCIM
 * names are case-insensitive (RFC 7643 section 2.1). Look-ups go through Maps, never through an object's keys, so
 * that no name reaches a prototype.
 */
import {
  coreGroupUrn,
  coreUserUrn,
  enterpriseDefinition,
  enterpriseUrn,
  groupDefinition,
  userDefinition,
  type Attribute,
  type SchemaDefinition,
} from './definitions.ts';
import { portalAttributes, portalUrn, type OwnAttribute } from './portal-schema.ts';

export type AttributeType =
  | 'string'
  | 'boolean'
  | 'integer'
  | 'decimal'
  | 'dateTime'
  | 'reference'
  | 'binary'
  | 'complex';

export type AttributeModel = {
  readonly name: string;
  readonly type: AttributeType;
  readonly isMultiValued: boolean;
  readonly isCaseExact: boolean;
  readonly isReadOnly: boolean;
  /** `always`, `default`, `request`, `never` (RFC 7643 section 7). */
  readonly returned: string;
  readonly sub: ReadonlyMap<string, AttributeModel>;
  /** The definition that checks a value last; null for the common attributes, which no client writes. */
  readonly definition: Attribute | null;
};

export type ResourceModel = {
  readonly kind: 'user' | 'group';
  readonly name: 'User' | 'Group';
  readonly endpoint: 'Users' | 'Groups';
  readonly urn: string;
  readonly attributes: ReadonlyMap<string, AttributeModel>;
  /** By URN in lower case. */
  readonly extensions: ReadonlyMap<string, ExtensionModel>;
};

export type ExtensionModel = { readonly urn: string; readonly attributes: ReadonlyMap<string, AttributeModel> };

/** Where an attribute lies in a resource: `extension` is the URN that holds it, null for the core. */
export type AttributePath = {
  readonly extension: string | null;
  readonly attribute: AttributeModel;
  readonly sub: AttributeModel | null;
};

function compile(attribute: Attribute): AttributeModel {
  const { config } = attribute;
  return {
    name: attribute.name,
    type: attribute.type,
    isMultiValued: config.multiValued === true,
    isCaseExact: config.caseExact === true,
    isReadOnly: config.mutable === false || config.mutable === 'readOnly',
    returned: typeof config.returned === 'string' ? config.returned : config.returned === false ? 'never' : 'default',
    sub: byName((attribute.subAttributes ?? []).map(compile)),
    definition: attribute,
  };
}

function byName(models: readonly AttributeModel[]): Map<string, AttributeModel> {
  return new Map(models.map((model) => [model.name.toLowerCase(), model]));
}

function common(
  name: string,
  type: AttributeType,
  more: Partial<Pick<AttributeModel, 'isMultiValued' | 'isReadOnly' | 'isCaseExact' | 'returned' | 'sub'>> = {},
): AttributeModel {
  return {
    name,
    type,
    isMultiValued: false,
    isCaseExact: true,
    isReadOnly: true,
    returned: 'default',
    sub: new Map(),
    definition: null,
    ...more,
  };
}

/** A text that clients write and no definition of the library knows. */
export function textAttribute(name: string): AttributeModel {
  return common(name, 'string', { isReadOnly: false, isCaseExact: false });
}

/** RFC 7643 section 3.1: the attributes every resource has. */
const commonAttributes: readonly AttributeModel[] = [
  common('schemas', 'reference', { isMultiValued: true, returned: 'always' }),
  common('id', 'string', { returned: 'always' }),
  common('externalId', 'string', { isReadOnly: false }),
  common('meta', 'complex', {
    sub: byName([
      common('resourceType', 'string'),
      common('created', 'dateTime'),
      common('lastModified', 'dateTime'),
      common('location', 'reference'),
      common('version', 'string'),
    ]),
  }),
];

function attributesOf(definition: SchemaDefinition): AttributeModel[] {
  // schemas and meta come with every definition of the library; ours stand in commonAttributes
  return definition.attributes
    .map(compile)
    .filter((attribute) => !['schemas', 'id', 'meta', 'externalId'].includes(attribute.name));
}

const enterprise: ExtensionModel = { urn: enterpriseUrn, attributes: byName(attributesOf(enterpriseDefinition)) };

/** Read-only and computed: no definition checks what no client writes. */
function own({ name, type, isMultiValued, sub = [] }: OwnAttribute): AttributeModel {
  return common(name, type, { isMultiValued: isMultiValued === true, returned: 'request', sub: byName(sub.map(own)) });
}

const portal: ExtensionModel = { urn: portalUrn, attributes: byName(portalAttributes.map(own)) };

export const userModel: ResourceModel = {
  kind: 'user',
  name: 'User',
  endpoint: 'Users',
  urn: coreUserUrn,
  attributes: byName([...commonAttributes, ...attributesOf(userDefinition)]),
  extensions: new Map([
    [enterpriseUrn.toLowerCase(), enterprise],
    [portalUrn.toLowerCase(), portal],
  ]),
};

export const groupModel: ResourceModel = {
  kind: 'group',
  name: 'Group',
  endpoint: 'Groups',
  urn: coreGroupUrn,
  attributes: byName([...commonAttributes, ...attributesOf(groupDefinition)]),
  extensions: new Map(),
};

/** What a name in a path stands for: an attribute, or a whole extension (its bare URN). */
export type ResolvedName = AttributePath | { readonly extension: string; readonly attribute: null; readonly sub: null };

/**
 * Resolves `attr`, `attr.sub`, `urn:...:attr.sub`, `urn:...` and Entra's `urn:...:User.attr` in any case; null when
 * the resource type has no such attribute. An enterprise attribute without its URN is found too (Entra sends
 * `manager`), the core first.
 */
export function resolveName(model: ResourceModel, text: string): ResolvedName | null {
  const name = text.toLowerCase();
  if (name.startsWith('urn:')) return resolveUrn(model, name);
  const core = resolveIn(model.attributes, null, name);
  if (core !== null) return core;
  for (const extension of model.extensions.values()) {
    // computed ones are named in full: nobody sends them by accident
    if (extension.urn === portalUrn) continue;
    const found = resolveIn(extension.attributes, extension.urn, name);
    if (found !== null) return found;
  }
  return null;
}

/**
 * URNs of the drafts before RFC 7643, which clients still send: OneLogin's and HelloID's enterprise attributes, paths of
 * Microsoft's library (`urn:scim:schemas:extension:enterprise:1.0.department`).
 */
const draftUrn = /^urn:scim:schemas:(core|extension:enterprise):[12]\.0(?::(?:user|group)(?=$|[:.]))?/;

function ofToday(model: ResourceModel, name: string): string {
  return name.replace(draftUrn, (_urn, part) => (part === 'core' ? model.urn : enterpriseUrn).toLowerCase());
}

function resolveUrn(model: ResourceModel, given: string): ResolvedName | null {
  const name = ofToday(model, given);
  const own = afterUrn(name, model.urn.toLowerCase());
  if (own !== null && own !== '') return resolveIn(model.attributes, null, own);
  for (const [urn, extension] of model.extensions) {
    const rest = afterUrn(name, urn);
    if (rest === '') return { extension: extension.urn, attribute: null, sub: null };
    if (rest !== null) return resolveIn(extension.attributes, extension.urn, rest);
  }
  return null;
}

function afterUrn(name: string, urn: string): string | null {
  if (name === urn) return '';
  if (!name.startsWith(urn)) return null;
  const separator = name[urn.length];
  return separator === ':' || separator === '.' ? name.slice(urn.length + 1) : null;
}

function resolveIn(
  attributes: ReadonlyMap<string, AttributeModel>,
  extension: string | null,
  name: string,
): AttributePath | null {
  const dot = name.indexOf('.');
  const attribute = attributes.get(dot < 0 ? name : name.slice(0, dot));
  if (attribute === undefined) return null;
  if (dot < 0) return { extension, attribute, sub: null };
  const sub = attribute.sub.get(name.slice(dot + 1));
  return sub === undefined ? null : { extension, attribute, sub };
}

/** The path as RFC 7644 section 3.10 writes it. */
export function printPath(path: AttributePath): string {
  const prefix = path.extension === null ? '' : `${path.extension}:`;
  return `${prefix}${path.attribute.name}${path.sub === null ? '' : `.${path.sub.name}`}`;
}
