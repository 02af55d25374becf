/** Resources as they are answered: id, meta, computed memberships, version (RFC 7643 section 3.1). */
import type { JsonObject } from './json.ts';
import { project, type Projection } from './projection.ts';
import type { ResourceModel } from './schema-model.ts';
import type { Relation, StoredObject } from './store.ts';

/** `https://host/scim/v2/<connection>`, without a slash at its end. */
export type BaseUrl = string;

export function presentResource(
  model: ResourceModel,
  object: StoredObject,
  base: BaseUrl,
  projection: Projection,
): JsonObject {
  const { schemas, ...content } = object.resource;
  const relations = object.relations.map((relation) => presentRelation(model, relation, base));
  const resource: JsonObject = {
    schemas: schemas ?? [model.urn],
    id: object.anchor,
    ...content,
    ...(relations.length === 0 ? {} : { [model.kind === 'user' ? 'groups' : 'members']: relations }),
    meta: {
      resourceType: model.name,
      created: toIso(object.createdAt),
      lastModified: toIso(object.updatedAt),
      location: locationOf(model, object.anchor, base),
      version: etagOf(object.version),
    },
  };
  return project(model, resource, projection);
}

function presentRelation(model: ResourceModel, relation: Relation, base: BaseUrl): JsonObject {
  const isGroup = relation.kind === 'group';
  return {
    value: relation.value,
    $ref: `${base}/${isGroup ? 'Groups' : 'Users'}/${relation.value}`,
    ...(relation.display === null ? {} : { display: relation.display }),
    type: model.kind === 'user' ? 'direct' : isGroup ? 'Group' : 'User',
  };
}

export function locationOf(model: ResourceModel, anchor: string, base: BaseUrl): string {
  return `${base}/${model.endpoint}/${anchor}`;
}

export function etagOf(version: number): string {
  return `W/"${version}"`;
}

/** Weak comparison (RFC 9110 section 8.8.3.2): all our tags are weak. */
export function etagMatches(header: string, version: number): boolean {
  return header
    .split(',')
    .map((tag) => tag.trim().replace(/^W\//, ''))
    .some((tag) => tag === '*' || tag === `"${version}"` || tag === String(version));
}

/** Postgres gives times back as text. */
function toIso(time: string): string {
  return new Date(time).toISOString();
}
