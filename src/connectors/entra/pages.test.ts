/**
 * Payloads as Microsoft documents them (microsoft-graph-docs-contrib: concepts/delta-query-users.md,
 * concepts/delta-query-groups.md, api-reference/v1.0/api/user-delta.md), tokens shortened.
 */
import { describe, expect, test } from 'vitest';
import { isRollcallError } from '../../core/errors.ts';
import { checkLink, checkPage, placeOf } from './delta-page.ts';
import { groupObject, memberChanges, tombstone, userObject } from './objects.ts';

const graph = 'https://graph.microsoft.com';
const nextLink = `${graph}/v1.0/users/delta?$skiptoken=oEBwdSP6uehIAxQOWq_3Ksh_TLol6KIm3stvdc6hGhZRi1hQ7Spe__dpvm3U4zReE4`;
const deltaLink = `${graph}/v1.0/users/delta?$deltatoken=oEcOySpF_hWYmTIUZBOIfPzcwisr_rPe8o9M54L45qEXQGmvQC6T2dbL-9O7nSU`;

const firstPage = {
  '@odata.context': `${graph}/v1.0/$metadata#users(displayName,givenName,surname)`,
  '@odata.nextLink': nextLink,
  value: [
    {
      displayName: 'Cameron White',
      givenName: 'Cameron',
      surname: 'White',
      id: 'ffff7b1a-13b6-477b-8c0c-380905cd99f7',
    },
    { id: '86462606-fde0-4fc4-9e0c-a20eb73e54c6', '@removed': { reason: 'deleted' } },
    { id: '8ffff70c-1c63-4860-b963-e34ec660931d', '@removed': { reason: 'changed' } },
    { displayName: 'Conf Room Adams', id: '6EA91A8D-E32E-41A1-B7BD-D2D185EED0E0' },
  ],
};
const lastPage = { '@odata.context': `${graph}/v1.0/$metadata#users`, '@odata.deltaLink': deltaLink, value: [] };

const codeOf = (work: () => unknown): string => {
  try {
    work();
  } catch (error) {
    return isRollcallError(error) ? error.code : String(error);
  }
  return 'no error';
};

describe('a documented page', () => {
  test('gives its items, its deletions and its link as they are', () => {
    const { items, link } = checkPage(firstPage, graph, 'users');
    expect(link).toEqual({ kind: 'next', url: nextLink });
    expect(items.map((item) => item.removed)).toEqual([null, 'deleted', 'changed', null]);
    expect(items.at(-1)?.id).toBe('6ea91a8d-e32e-41a1-b7bd-d2d185eed0e0');
    expect(checkPage(lastPage, graph, 'users').link).toEqual({ kind: 'delta', url: deltaLink });
  });

  test('a removal that can be undone is told from one that can not', () => {
    const [, gone, binned] = checkPage(firstPage, graph, 'users').items;
    expect(gone && tombstone(gone, 'user')).toMatchObject({ type: 'tombstone', isRestorable: false });
    expect(binned && tombstone(binned, 'user')).toMatchObject({ type: 'tombstone', isRestorable: true });
  });

  test('a user without accountEnabled is not guessed to be enabled', () => {
    const [user] = checkPage(firstPage, graph, 'users').items;
    expect(user && userObject(user)).toBeNull();
    expect(user && userObject({ ...user, raw: { ...user.raw, accountEnabled: false } })).toMatchObject({
      kind: 'user',
      name: 'Cameron White',
      isActive: false,
      inactiveReason: 'disabled',
      attributes: { givenName: 'Cameron', surname: 'White', accountEnabled: false },
    });
  });

  test('members are merged from additions and removals; a group without members has none', () => {
    const group = {
      displayName: 'LargeGroup',
      description: 'A group containing thousands of users',
      id: '2e5807ce-58f3-4a94-9b37-ffff2e085957',
      'members@delta': [
        {
          '@odata.type': '#microsoft.graph.user',
          id: '632f6bb2-3ec8-4c1f-9073-0027a8c68593',
          '@removed': { reason: 'deleted' },
        },
        { '@odata.type': '#microsoft.graph.user', id: '37de1ae3-408f-4702-8636-20824abda004' },
        { '@odata.type': '#microsoft.graph.device', id: '47de1ae3-408f-4702-8636-20824abda004' },
        { '@odata.type': '#microsoft.graph.group', id: null },
      ],
    };
    expect(memberChanges(group['members@delta'])).toEqual({
      added: ['37de1ae3-408f-4702-8636-20824abda004'],
      removed: ['632f6bb2-3ec8-4c1f-9073-0027a8c68593'],
      ignored: 2,
    });
    expect(memberChanges(undefined)).toEqual({ added: [], removed: [], ignored: 0 });
    expect(groupObject({ id: group.id, removed: null, raw: group })).toEqual({
      kind: 'group',
      anchor: group.id,
      name: 'LargeGroup',
      locator: null,
      isActive: true,
      inactiveReason: null,
      attributes: { displayName: 'LargeGroup', description: 'A group containing thousands of users' },
    });
  });

  test('cleared and never set are the same; lists stay lists; extension attributes stand beside the others', () => {
    const raw = {
      id: '6ea91a8d-e32e-41a1-b7bd-d2d185eed0e0',
      accountEnabled: true,
      mobilePhone: null,
      businessPhones: ['+1 555 0100'],
      onPremisesExtensionAttributes: { extensionAttribute1: 'blue', extensionAttribute2: null },
    };
    expect(userObject({ id: raw.id, removed: null, raw })?.attributes).toEqual({
      accountEnabled: true,
      businessPhones: ['+1 555 0100'],
      extensionAttribute1: 'blue',
    });
  });
});

describe('a page that is not as documented', () => {
  test.each([
    ['no value', { ...lastPage, value: undefined }],
    ['a value that is no list', { ...lastPage, value: {} }],
    ['neither link', { value: [] }],
    ['both links', { ...lastPage, '@odata.nextLink': nextLink }],
    ['a link that is no text', { value: [], '@odata.nextLink': 7 }],
    ['an item that is null', { ...lastPage, value: [null] }],
    ['an id that is null', { ...lastPage, value: [{ id: null }] }],
    ['an id that is no GUID', { ...lastPage, value: [{ id: 'conf-room' }] }],
  ])('%s: directory_protocol', (_what, body) => {
    expect(codeOf(() => checkPage(body, graph, 'users'))).toBe('directory_protocol');
  });

  test.each([
    'https://graph.microsoft.com.attacker.test/v1.0/users/delta?x',
    'https://graph.microsoft.com@attacker.test/v1.0/users/delta?x',
    'http://graph.microsoft.com/v1.0/users/delta?x',
    'https://graph.microsoft.com:444/v1.0/users/delta?x',
    'https://graph.microsoft.com/v1.0/groups/delta?x',
    'https://graph.microsoft.com/v1.0/users/../me/delta?x',
    'https://graph.microsoft.com/v1.0/users/%2e%2e/me/delta?x',
    'https://graph.microsoft.com/beta/users/delta?x',
    '/v1.0/users/delta?x',
    '',
  ])('a link to %j is refused', (link) => {
    expect(codeOf(() => checkLink(link, placeOf(graph, 'users')))).toBe('directory_protocol');
  });

  test('the function spelling of the link is accepted', () => {
    const link = `${graph}/v1.0/users/microsoft.graph.delta()?$skiptoken=a%2Bb_-c%3D`;
    expect(checkLink(link, placeOf(graph, 'users'))).toBe(link);
  });
});
