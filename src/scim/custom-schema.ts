/**
 * Custom attributes of a connection as an extension of User (rule 13): their names stand in its settings, so that each
 * organization has its own. Described by discovery, written, read, filtered and sorted like any other extension.
 */
import { readSettings } from './settings.ts';
import type { JsonObject } from './json.ts';
import { describeSchema, type OwnAttribute } from './portal-schema.ts';
import { textAttribute, userModel, type AttributeModel, type ResourceModel } from './schema-model.ts';

export const customUrn = 'urn:rollcall:scim:schemas:extension:custom:1.0:User';

type Settings = Readonly<Record<string, unknown>>;

/** Names as the settings spell them. */
export function customNames(settings: Settings): readonly string[] {
  // nearly every connection has none: nothing is parsed for it
  const given = settings['customAttributes'];
  return Array.isArray(given) && given.length > 0 ? readSettings(settings).customAttributes : [];
}

const mostKept = 500;
const kept = new Map<string, ResourceModel>();

/** User as this connection has it. */
export function userModelOf(settings: Settings): ResourceModel {
  const names = customNames(settings);
  if (names.length === 0) return userModel;
  const key = names.join(' ');
  const found = kept.get(key);
  if (found !== undefined) return found;
  const attributes = new Map<string, AttributeModel>(names.map((name) => [name.toLowerCase(), textAttribute(name)]));
  const extensions = new Map([...userModel.extensions, [customUrn.toLowerCase(), { urn: customUrn, attributes }]]);
  const model: ResourceModel = { ...userModel, extensions };
  if (kept.size >= mostKept) kept.clear();
  kept.set(key, model);
  return model;
}

/** The description of the extension for /Schemas; null where the connection has none. */
export function customSchema(settings: Settings): JsonObject | null {
  const names = customNames(settings);
  if (names.length === 0) return null;
  const attributes = names.map((name): OwnAttribute => ({ name, type: 'string', description: 'Custom attribute.' }));
  return describeSchema(customUrn, 'CustomUser', 'Custom attributes of the organization', attributes, {
    mutability: 'readWrite',
    returned: 'default',
    caseExact: false,
  });
}
