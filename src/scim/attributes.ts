/** The flat view of a SCIM user that mappings, correlation and scope read (PushedUser.attributes). */
import type { PushedUser } from '../reconciliation/reconciliation.ts';
import { customUrn } from './custom-schema.ts';
import { enterpriseUrn } from './definitions.ts';
import { isRecord, type Json, type JsonObject } from './json.ts';

type AttributeValue = PushedUser['attributes'][string];

const plain = [
  'userName',
  'externalId',
  'displayName',
  'nickName',
  'title',
  'userType',
  'preferredLanguage',
  'locale',
  'timezone',
  'profileUrl',
] as const;
const ofEnterprise = ['employeeNumber', 'costCenter', 'organization', 'division', 'department'] as const;

/** Absent means no value. */
export function flatten(resource: JsonObject): Record<string, AttributeValue> {
  const flat: Record<string, AttributeValue> = {};
  const set = (name: string, value: AttributeValue | undefined) => {
    if (value !== undefined && value !== null && value !== '') flat[name] = value;
  };
  for (const name of plain) set(name, scalar(resource[name]));
  const name = isRecord(resource['name']) ? resource['name'] : {};
  for (const part of ['givenName', 'familyName', 'middleName', 'formatted']) {
    set(part === 'formatted' ? 'formattedName' : part, scalar(name[part]));
  }
  const enterprise = isRecord(resource[enterpriseUrn]) ? resource[enterpriseUrn] : {};
  for (const part of ofEnterprise) set(part, scalar(enterprise[part]));
  const manager = enterprise['manager'];
  set('manager', isRecord(manager) ? scalar(manager['value']) : undefined);
  set('email', best(resource['emails']));
  set('phone', best(resource['phoneNumbers']));
  set('mobile', ofType(resource['phoneNumbers'], 'mobile'));
  for (const list of ['emails', 'phoneNumbers', 'roles', 'entitlements']) set(list, values(resource[list]));
  const custom = resource[customUrn];
  if (isRecord(custom)) for (const [key, value] of Object.entries(custom)) set(key, scalar(value));
  return flat;
}

function scalar(value: Json | undefined): AttributeValue | undefined {
  return typeof value === 'string' || typeof value === 'number' || typeof value === 'boolean' ? value : undefined;
}

function records(value: Json | undefined): JsonObject[] {
  return Array.isArray(value) ? value.filter(isRecord) : [];
}

/** Primary, else of type work, else the first. */
function best(value: Json | undefined): AttributeValue | undefined {
  const all = records(value).filter((one) => typeof one['value'] === 'string' && one['value'] !== '');
  const chosen = all.find((one) => one['primary'] === true) ?? all.find((one) => isType(one, 'work')) ?? all[0];
  return chosen === undefined ? undefined : scalar(chosen['value']);
}

function ofType(value: Json | undefined, type: string): AttributeValue | undefined {
  const found = records(value).find((one) => isType(one, type));
  return found === undefined ? undefined : scalar(found['value']);
}

function isType(value: JsonObject, type: string): boolean {
  return typeof value['type'] === 'string' && value['type'].toLowerCase() === type;
}

function values(value: Json | undefined): string[] | undefined {
  const texts = records(value)
    .map((one) => one['value'])
    .filter((one): one is string => typeof one === 'string' && one !== '');
  return texts.length === 0 ? undefined : texts;
}
