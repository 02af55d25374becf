import { describe, expect, it } from 'vitest';
import { scimSettingsSchema, standardAttributes } from '../core/scim-settings.ts';
import { flatten } from './attributes.ts';
import { customNames, customUrn, userModelOf } from './custom-schema.ts';
import { enterpriseUrn } from './definitions.ts';
import { normalizeResource } from './normalize.ts';
import { userModel } from './schema-model.ts';

const full = {
  userName: 'a',
  externalId: 'a',
  displayName: 'a',
  nickName: 'a',
  title: 'a',
  userType: 'a',
  preferredLanguage: 'a',
  locale: 'a',
  timezone: 'a',
  profileUrl: 'a',
  name: { givenName: 'a', familyName: 'a', middleName: 'a', formatted: 'a' },
  emails: [{ value: 'a', type: 'work' }],
  phoneNumbers: [{ value: '1', type: 'mobile' }],
  roles: [{ value: 'a' }],
  entitlements: [{ value: 'a' }],
  [enterpriseUrn]: {
    employeeNumber: 'a',
    costCenter: 'a',
    organization: 'a',
    division: 'a',
    department: 'a',
    manager: { value: 'a' },
  },
};

describe('rule 13: names of custom attributes', () => {
  it('are none that a mapping finds already', () => {
    expect(Object.keys(flatten(normalizeResource(userModel, full))).toSorted()).toEqual(standardAttributes.toSorted());
    for (const name of [...standardAttributes, 'DEPARTMENT']) {
      expect(scimSettingsSchema.safeParse({ customAttributes: [name] }).success, name).toBe(false);
    }
  });

  it.each([['constructor'], ['toString'], ['__proto__'], ['1a'], ['a-b'], ['a.b'], ['']])('are not %j', (name) => {
    expect(scimSettingsSchema.safeParse({ customAttributes: [name] }).success).toBe(false);
  });

  it('are each named once, and at most fifty', () => {
    expect(scimSettingsSchema.safeParse({ customAttributes: ['badge', 'Badge'] }).success).toBe(false);
    const many = Array.from({ length: 51 }, (_, index) => `a${index}`);
    expect(scimSettingsSchema.safeParse({ customAttributes: many }).success).toBe(false);
    expect(scimSettingsSchema.safeParse({ customAttributes: many.slice(1) }).success).toBe(true);
  });

  it('cost a connection without any nothing: it has the one model', () => {
    expect(userModelOf({})).toBe(userModel);
    expect(customNames({ customAttributes: 'badge' })).toEqual([]);
    const settings = { customAttributes: ['badge'] };
    expect(userModelOf(settings)).toBe(userModelOf({ ...settings }));
  });

  it('that left the settings leave the resource with its next write', () => {
    const model = userModelOf({ customAttributes: ['badge'] });
    const stored = normalizeResource(model, { userName: 'a', [customUrn]: { badge: '1' } });
    expect(stored[customUrn]).toEqual({ badge: '1' });
    expect(normalizeResource(userModel, stored)).toEqual({ schemas: [userModel.urn], userName: 'a' });
  });
});
