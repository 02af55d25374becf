import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { isRollcallError } from '../core/errors.ts';
import { enterpriseUrn } from './definitions.ts';
import { parseBody, type Json, type JsonObject } from './json.ts';
import { normalizeResource } from './normalize.ts';
import { applyPatch, readOperations } from './patch.ts';
import { groupModel, userModel } from './schema-model.ts';

const before = normalizeResource(userModel, {
  userName: 'babs@example.com',
  active: true,
  name: { givenName: 'Barbara', familyName: 'Jensen' },
  emails: [{ type: 'work', value: 'babs@example.com', primary: true }],
});

function patchUser(operations: Json[], document: JsonObject = before): JsonObject {
  return applyPatch(userModel, document, readOperations({ Operations: operations })).document;
}

function refusal(work: () => unknown): string | undefined {
  try {
    work();
    return undefined;
  } catch (error) {
    if (!isRollcallError(error)) throw error;
    return error.scimType;
  }
}

describe('rule 7: PATCH of a user', () => {
  it.each([['Add'], ['replace']])(
    '%s of a filtered sub-attribute creates the value that is not there (Entra)',
    (op) => {
      const after = patchUser([{ op, path: 'phoneNumbers[type eq "mobile"].value', value: '1' }]);
      expect(after['phoneNumbers']).toEqual([{ type: 'mobile', value: '1' }]);
    },
  );

  it('collects several sub-attributes of one missing value in one value', () => {
    const after = patchUser([
      { op: 'Add', path: 'addresses[type eq "work"].locality', value: 'Bonn' },
      { op: 'Add', path: 'addresses[type eq "work"].country', value: 'DE' },
    ]);
    expect(after['addresses']).toEqual([{ type: 'work', locality: 'Bonn', country: 'DE' }]);
  });

  it('drops a value whose content is cleared (Entra sends an empty text or null)', () => {
    for (const value of ['', null]) {
      const after = patchUser([{ op: 'Replace', path: 'emails[type eq "work"].value', value }]);
      expect(after['emails']).toBeUndefined();
    }
  });

  it.each([
    ['"True"', 'True', true],
    ['"False"', 'False', false],
    ['false', false, false],
    ['a list of one', ['False'], false],
  ])('reads active as %s', (_label, value, expected) => {
    expect(patchUser([{ op: 'Replace', path: 'active', value }])['active']).toBe(expected);
  });

  it.each<[string, Json]>([
    ['text', '42'],
    ['object', { value: '42' }],
    ['list', [{ value: '42', $ref: '../Users/42' }]],
  ])('reads the manager as %s', (_label, value) => {
    const after = patchUser([{ op: 'Add', path: `${enterpriseUrn}:manager`, value }]);
    expect(after[enterpriseUrn]).toMatchObject({ manager: { value: '42' } });
    expect(after['schemas']).toContain(enterpriseUrn);
  });

  it('takes dotted and URN keys without a path, and leaves out what it does not know or must not change', () => {
    const after = patchUser([
      {
        op: 'replace',
        value: {
          'name.givenName': 'Babs',
          [`${enterpriseUrn}:department`]: 'Tours',
          'emails[type eq "home"].value': 'b@home.example',
          id: 'other',
          groups: [{ value: 'x' }],
          nonsense: 1,
        },
      },
    ]);
    expect(after['name']).toEqual({ givenName: 'Babs', familyName: 'Jensen' });
    expect(after[enterpriseUrn]).toEqual({ department: 'Tours' });
    expect(after['emails']).toHaveLength(2);
    expect(after['id']).toBeUndefined();
  });

  it('drops the extension and its URN when its last attribute goes', () => {
    const with_ = patchUser([{ op: 'add', path: 'department', value: 'Tours' }]);
    const after = patchUser([{ op: 'remove', path: `${enterpriseUrn}:department` }], with_);
    expect(after[enterpriseUrn]).toBeUndefined();
    expect(after['schemas']).not.toContain(enterpriseUrn);
  });

  it('adds no value twice', () => {
    const value = [{ type: 'work', value: 'babs@example.com', primary: true }];
    expect(patchUser([{ op: 'add', path: 'emails', value }])['emails']).toHaveLength(1);
  });

  it('leaves one primary: the one this operation wrote', () => {
    const after = patchUser([
      { op: 'add', path: 'emails', value: [{ type: 'home', value: 'h@x.example', primary: true }] },
    ]);
    expect(after['emails']).toEqual([
      { type: 'work', value: 'babs@example.com', primary: false },
      { type: 'home', value: 'h@x.example', primary: true },
    ]);
  });

  it('removes only the listed values where a remove carries a value (Entra)', () => {
    const two = patchUser([{ op: 'add', path: 'roles', value: [{ value: 'a' }, { value: 'b' }] }]);
    expect(patchUser([{ op: 'Remove', path: 'roles', value: [{ value: 'a' }] }], two)['roles']).toEqual([
      { value: 'b' },
    ]);
    expect(patchUser([{ op: 'Remove', path: 'roles' }], two)['roles']).toBeUndefined();
  });

  it('unpacks a role that is JSON as text', () => {
    const role = JSON.stringify({ id: '1', value: 'Admin', displayName: 'Administrators' });
    const expected = [{ value: 'Admin', display: 'Administrators' }];
    expect(patchUser([{ op: 'Add', path: 'roles', value: [{ value: role }] }])['roles']).toEqual(expected);
    expect(patchUser([{ op: 'Add', path: 'roles', value: role }])['roles']).toEqual(expected);
    const primary = patchUser([{ op: 'Add', path: 'roles[primary eq "True"].value', value: role }])['roles'];
    expect(primary).toEqual([{ primary: true, ...expected[0] }]);
  });

  it('ignores a password and never stores it', () => {
    expect(patchUser([{ op: 'replace', path: 'password', value: 'secret' }])).toEqual(before);
    expect(JSON.stringify(normalizeResource(userModel, { userName: 'x', password: 'secret' }))).not.toContain('secret');
  });

  it.each<[string, Json, string]>([
    ['a read-only path', { op: 'replace', path: 'id', value: 'x' }, 'mutability'],
    ['computed groups', { op: 'add', path: 'groups', value: [] }, 'mutability'],
    ['an unknown path', { op: 'replace', path: 'nonsense', value: 'x' }, 'invalidPath'],
    ['a prototype', { op: 'add', path: '__proto__.polluted', value: 'x' }, 'invalidPath'],
    ['a remove without path', { op: 'remove' }, 'noTarget'],
    ['an unknown op', { op: 'move', path: 'title' }, 'invalidSyntax'],
    ['no value', { op: 'add', path: 'title' }, 'invalidValue'],
    ['a wrong type', { op: 'add', path: 'active', value: 'perhaps' }, 'invalidValue'],
    ['an object for a text', { op: 'add', path: 'title', value: { a: 1 } }, 'invalidValue'],
    ['losing the user name', { op: 'remove', path: 'userName' }, 'invalidValue'],
    ['a wrong filter', { op: 'remove', path: 'emails[nonsense eq 1]' }, 'invalidFilter'],
    ['a filter without end', { op: 'remove', path: 'emails[type eq "work"' }, 'invalidPath'],
    ['a target no equality describes', { op: 'add', path: 'ims[type co "x"].value', value: '1' }, 'noTarget'],
  ])('refuses %s', (_label, operation, scimType) => {
    expect(refusal(() => patchUser([operation]))).toBe(scimType);
  });

  it('leaves the document it was given as it is', () => {
    const copy = structuredClone(before);
    patchUser([
      { op: 'replace', path: 'name.givenName', value: 'X' },
      { op: 'remove', path: 'emails' },
    ]);
    expect(before).toEqual(copy);
  });

  it('ends in a document or a refusal for any operations, and never reaches Object.prototype', () => {
    const pristine = Object.getOwnPropertyNames(Object.prototype).toSorted();
    const paths = fc.constantFrom(
      'emails',
      'emails[type eq "work"]',
      'emails[type eq "work"].value',
      'emails.value',
      'name',
      'name.givenName',
      'active',
      'manager',
      'roles',
      '__proto__',
      'constructor.prototype.x',
      'emails.__proto__',
      enterpriseUrn,
      `${enterpriseUrn}.manager`,
    );
    const operation = fc.record({
      op: fc.constantFrom('add', 'Remove', 'REPLACE'),
      path: fc.option(paths, { nil: undefined }),
      value: fc.oneof(fc.jsonValue({ maxDepth: 3 }), fc.constant({ type: 'work', value: 'x', primary: true })),
    });
    fc.assert(
      fc.property(fc.array(operation, { minLength: 1, maxLength: 5 }), (operations) => {
        const body = parseBody(JSON.stringify({ Operations: operations }));
        refusal(() => applyPatch(userModel, before, readOperations(body)));
      }),
      { numRuns: 500 },
    );
    expect(Object.getOwnPropertyNames(Object.prototype).toSorted()).toEqual(pristine);
  });
});

describe('rule 7: PATCH of a group', () => {
  const group = normalizeResource(groupModel, { displayName: 'Tours' });
  const [a, b, c] = ['a', 'b', 'c'].map((letter) => `0190a000-0000-7000-8000-00000000000${letter}`) as [
    string,
    string,
    string,
  ];
  const patchGroup = (operations: Json[]) => applyPatch(groupModel, group, readOperations({ Operations: operations }));
  const change = (...operations: Json[]) => patchGroup(operations).members.result;

  it('folds operations into one change without reading the members', () => {
    expect(
      change(
        { op: 'add', path: 'members', value: [{ value: a }, { value: b }, { value: a }] },
        { op: 'remove', path: `members[value eq "${b}"]` },
        { op: 'remove', path: 'members', value: [{ value: c, $ref: null }] },
      ),
    ).toEqual({ add: [a], remove: [b, c] });
  });

  it('empties by a remove without filter and value, and by nothing else', () => {
    expect(change({ op: 'remove', path: 'members' })).toEqual({ replace: [] });
    expect(change({ op: 'remove', path: 'members', value: [] })).toEqual({ add: [], remove: [] });
    expect(change({ op: 'remove', path: 'members', value: [{ value: 'not ours' }] })).toEqual({ add: [], remove: [] });
  });

  it('touches no members by a null among other attributes (authentik), but empties by one at their path', () => {
    const value = { displayName: 'New', members: null };
    expect(change({ op: 'replace', value })).toEqual({ add: [], remove: [] });
    expect(change({ op: 'replace', path: 'members', value: null })).toEqual({ replace: [] });
  });

  it('touches no members by a replace that does not name them (Okta renames)', () => {
    const patched = patchGroup([{ op: 'replace', value: { id: 'x', displayName: 'New' } }]);
    expect(patched.members.isEmpty).toBe(true);
    expect(patched.document['displayName']).toBe('New');
  });

  it('changes at most 200,000 members: more is 413', () => {
    const ids = Array.from({ length: 200_001 }, (_, n) => ({
      value: `0190a000-0000-7000-8000-${String(n).padStart(12, '0')}`,
    }));
    expect(() => change({ op: 'replace', path: 'members', value: ids })).toThrow(
      expect.objectContaining({ code: 'too_large', httpStatus: 413 }),
    );
    expect(change({ op: 'replace', path: 'members', value: ids.slice(1) })).toMatchObject({
      replace: expect.any(Array),
    });
  });

  it('replaces, then goes on from there', () => {
    expect(
      change(
        { op: 'replace', path: 'members', value: [{ value: a }] },
        { op: 'add', path: 'members', value: [{ value: b }] },
      ),
    ).toEqual({ replace: [a, b] });
    expect(change({ op: 'replace', value: { members: [{ value: c }] } })).toEqual({ replace: [c] });
  });

  it('takes several values in one filter, and refuses filters that would need the members read', () => {
    expect(change({ op: 'remove', path: `members[value eq "${a}" or value eq "${b}"]` })).toEqual({
      add: [],
      remove: [a, b],
    });
    expect(refusal(() => change({ op: 'remove', path: 'members[type eq "User"]' }))).toBe('invalidFilter');
  });

  it('can not be widened to a removal of all by what a value holds', () => {
    expect(change({ op: 'remove', path: 'members', value: [{ value: '" or value pr or value eq "' }] })).toEqual({
      add: [],
      remove: [],
    });
  });
});

describe('bodies', () => {
  it('refuse what is not an object, too deep, or not storable', () => {
    expect(refusal(() => parseBody('['))).toBe('invalidSyntax');
    expect(refusal(() => parseBody('[]'))).toBe('invalidSyntax');
    expect(refusal(() => parseBody(`${'{"a":'.repeat(30)}1${'}'.repeat(30)}`))).toBe('invalidSyntax');
    expect(refusal(() => parseBody('{"a":"\\u0000"}'))).toBe('invalidValue');
  });

  it('lose the keys that lead to a prototype, and halves of surrogate pairs', () => {
    const body = parseBody('{"__proto__":{"x":1},"name":{"constructor":1,"givenName":"\\ud800"}}');
    expect(Object.keys(body)).toEqual(['name']);
    expect(body['name']).toEqual({ givenName: '\ufffd' });
  });
});

describe('rule 8: whole resources', () => {
  it('keep what the schema knows in its spelling, drop nulls, unknown names and what is read-only', () => {
    const document = normalizeResource(userModel, {
      SCHEMAS: ['urn:scim:schemas:core:1.0'],
      USERNAME: 'x',
      title: null,
      Emails: [{ Primary: 'True', VALUE: 'x@example.com', type: 'anything' }],
      groups: [{ value: '1' }],
      meta: { version: '1' },
      id: '7',
      adreses: [1],
      [enterpriseUrn.toUpperCase()]: { Department: 'D', manager: null },
    });
    expect(document).toEqual({
      schemas: ['urn:ietf:params:scim:schemas:core:2.0:User', enterpriseUrn],
      userName: 'x',
      emails: [{ primary: true, value: 'x@example.com', type: 'anything' }],
      [enterpriseUrn]: { department: 'D' },
    });
  });

  it('need their name', () => {
    expect(refusal(() => normalizeResource(userModel, {}))).toBe('invalidValue');
    expect(refusal(() => normalizeResource(groupModel, { displayName: ' ' }))).toBe('invalidValue');
  });
});
