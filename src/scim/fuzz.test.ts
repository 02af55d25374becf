/**
 * Bad input, without a database: whatever a filter, a path or a body holds, the answer is a value or a 400 with a
 * keyword; nothing reaches a prototype, and nothing takes long. The full suite (`npm run test:full`) does so far more.
 */
import fc from 'fast-check';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { scale } from '../../test/setup/full.ts';
import { isRollcallError } from '../core/errors.ts';
import { parseFilter, printFilter } from './filter.ts';
import { parseBody, type JsonObject } from './json.ts';
import { normalizeResource } from './normalize.ts';
import { applyPatch, readOperations } from './patch.ts';
import { readProjection } from './projection.ts';
import { redactBody } from './redact.ts';
import { groupModel, userModel, type ResourceModel } from './schema-model.ts';

// 250,000 documents take their time, and so does a busy machine
vi.setConfig({ testTimeout: scale(60_000, 1_200_000) });

const pristine = [Object.prototype, Array.prototype, Function.prototype].map((one) => JSON.stringify(describeAll(one)));
afterEach(() => {
  expect(
    [Object.prototype, Array.prototype, Function.prototype].map((one) => JSON.stringify(describeAll(one))),
  ).toEqual(pristine);
});

function describeAll(object: object): string[] {
  return Reflect.ownKeys(object).map((key) => {
    const { value } = Reflect.getOwnPropertyDescriptor(object, key) ?? {};
    return `${String(key)} ${typeof value}`;
  });
}

/** The value, or null where it was refused as it should be. */
function tried<T>(work: () => T): T | null {
  try {
    return work();
  } catch (error) {
    if (!isRollcallError(error)) throw error;
    expect(error.httpStatus).toBe(400);
    expect(error.scimType).toMatch(/^(invalid(Filter|Path|Value|Syntax)|noTarget|mutability|tooMany)$/);
    expect(error.message).toMatch(/[.)]$/);
    return null;
  }
}

const names = [
  'userName',
  'displayName',
  'emails',
  'emails.value',
  'emails.type',
  'name.givenName',
  'active',
  'meta.created',
  'members',
  'members.value',
  'groups',
  'manager',
  'roles',
  'id',
  'externalId',
  'schemas',
  '__proto__',
  'constructor.prototype',
  'emails.__proto__',
  'toString',
  'urn:ietf:params:scim:schemas:core:2.0:User:userName',
  'urn:ietf:params:scim:schemas:extension:enterprise:2.0:User:department',
  'urn:x',
  'x'.repeat(300),
];
const oddText = fc.oneof(
  fc.string({ unit: 'binary', maxLength: 12 }),
  fc.constantFrom(
    '',
    '\u0000',
    '\ud800',
    '"',
    '\\',
    '{"a":1}',
    '__proto__',
    "' or 1=1 --",
    'İ',
    '2026-01-01T00:00:00Z',
    'True',
  ),
);
const word = fc.oneof(
  fc.constantFrom(
    ...names,
    'eq',
    'ne',
    'co',
    'sw',
    'ew',
    'gt',
    'ge',
    'lt',
    'le',
    'pr',
    'and',
    'or',
    'not',
    '(',
    ')',
    '[',
    ']',
  ),
  fc.constantFrom('"a"', '"\\u0041"', '"\\"', '"\\x"', 'true', 'null', '1e999', '-0', '.value', '.', ' ', '\t'),
  oddText,
);
/** Filters that are nearly right are more dangerous than noise. */
const filter = fc.oneof(
  { weight: 4, arbitrary: fc.array(word, { maxLength: 14 }).map((words) => words.join(' ')) },
  { weight: 2, arbitrary: fc.array(word, { maxLength: 14 }).map((words) => words.join('')) },
  { weight: 1, arbitrary: fc.string({ unit: 'binary', maxLength: 60 }) },
  {
    weight: 3,
    arbitrary: fc
      .tuple(fc.constantFrom(...names), fc.constantFrom('eq', 'co', 'gt', 'PR', 'Sw'), oddText)
      .map(([name, op, text]) => `${name} ${op} ${JSON.stringify(text)}`),
  },
);

describe('hostile filters', () => {
  it('are parsed or refused, and what was parsed says the same when it is printed', () => {
    fc.assert(
      fc.property(filter, fc.constantFrom<ResourceModel>(userModel, groupModel), (text, model) => {
        const parsed = tried(() => parseFilter(model, text));
        if (parsed === null) return;
        const printed = printFilter(parsed);
        if (printed.length <= 2_000) expect(printFilter(parseFilter(model, printed))).toBe(printed);
      }),
      { numRuns: scale(2_000, 200_000) },
    );
  });

  it.each([
    ['deep', '('.repeat(1_999)],
    ['long', `userName eq "${'a'.repeat(65_000)}"`],
    ['many terms', Array.from({ length: 400 }, () => 'a').join(' or ')],
    ['nested', 'not ('.repeat(300)],
    ['brackets', 'emails['.repeat(250)],
    ['no end', '"'.repeat(1_999)],
    ['escapes', `userName eq "${'\\\\'.repeat(900)}`],
  ])('that are %s take no time', (_name, text) => {
    expect(cpuMs(() => tried(() => parseFilter(userModel, text)))).toBeLessThan(50);
  });
});

const { value } = fc.letrec<{ value: unknown }>((tie) => ({
  value: fc.oneof(
    { depthSize: 'small', maxDepth: 4 },
    oddText,
    fc.double(),
    fc.boolean(),
    fc.constant(null),
    fc.array(tie('value'), { maxLength: 5 }),
    fc.dictionary(
      fc.constantFrom('value', 'type', 'primary', 'display', '$ref', 'givenName', '__proto__', 'constructor', ...names),
      tie('value'),
      { maxKeys: 5 },
    ),
  ),
}));
const path = fc.oneof(
  fc.constantFrom(...names, 'emails[type eq "work"].value', 'emails[type eq "work"]', 'members[value eq "x"]', 'name'),
  filter.map((text) => `emails[${text}].value`),
  oddText,
);
const operation = fc.record(
  { op: fc.constantFrom('add', 'Replace', 'REMOVE', 'move', 1), path, value },
  { requiredKeys: ['op'] },
);
const patchText = fc
  .record({
    Operations: fc.oneof(
      { weight: 9, arbitrary: fc.array(operation, { minLength: 1, maxLength: 5 }) },
      { weight: 1, arbitrary: value },
    ),
  })
  .map((body) => JSON.stringify(body));

const userBefore = (): JsonObject => ({
  schemas: [userModel.urn],
  userName: 'a',
  active: true,
  emails: [{ value: 'a@b', type: 'work', primary: true }, { value: 'c@d' }],
});

describe('hostile bodies', () => {
  it('of PATCH are applied or refused, leave the stored document as it was, and can be logged', () => {
    fc.assert(
      fc.property(patchText, fc.boolean(), (text, isUser) => {
        const model = isUser ? userModel : groupModel;
        const before = isUser ? userBefore() : { schemas: [groupModel.urn], displayName: 'g' };
        const untouched = JSON.stringify(before);
        const patched = tried(() => applyPatch(model, before, readOperations(parseBody(text))));
        expect(JSON.stringify(before)).toBe(untouched);
        const body = tried(() => parseBody(text));
        if (body !== null) redactBody([userModel, groupModel], body);
        if (patched === null) return;
        const { document } = patched;
        expect(document[isUser ? 'userName' : 'displayName']).toEqual(expect.any(String));
        // a document that was stored once is stored again: nothing can be written that could not be written back
        expect(normalizeResource(model, structuredClone(document))).toMatchObject({ schemas: document['schemas'] });
      }),
      { numRuns: scale(2_000, 50_000) },
    );
  });

  it('of POST and PUT, and lists of attributes, are read or refused', () => {
    fc.assert(
      fc.property(fc.dictionary(fc.constantFrom(...names, 'password'), value), oddText, (body, list) => {
        const text = JSON.stringify(body);
        tried(() => normalizeResource(userModel, parseBody(text)));
        tried(() => normalizeResource(groupModel, parseBody(text)));
        readProjection(userModel, list, list);
        readProjection(userModel, names.join(','), undefined);
      }),
      { numRuns: scale(1_000, 20_000) },
    );
  });

  const longList = Array.from({ length: 500 }, (_, index) => ({
    value: `mail${index}@example.com`,
    type: `t${index}`,
  }));
  const ops = (count: number, make: (index: number) => object) => ({
    Operations: Array.from({ length: count }, (_, index) => make(index)),
  });
  it.each<[string, object]>([
    ['operations on each value of a long list', ops(1_000, () => ({ op: 'add', path: 'emails.display', value: 'x' }))],
    [
      'operations that look through a long list',
      ops(900, (n) => ({ op: 'replace', path: `emails[type eq "t${n}"].value`, value: 'x' })),
    ],
    [
      'a long list added to a long list',
      ops(1, () => ({ op: 'add', path: 'emails', value: longList.map((one) => ({ ...one, display: 'd' })) })),
    ],
    ['a long list taken from a long list', ops(1, () => ({ op: 'remove', path: 'emails', value: longList }))],
    ['the same list again and again', ops(20, () => ({ op: 'replace', path: 'emails', value: longList.slice(0, 50) }))],
    [
      'keys that are paths',
      ops(1, () => ({
        op: 'add',
        value: Object.fromEntries(Array.from({ length: 1_500 }, (_, n) => [`emails[type eq "n${n}"].value`, 'x'])),
      })),
    ],
    [
      'names that nobody has',
      ops(1, () => ({ op: 'add', value: Object.fromEntries(Array.from({ length: 6_000 }, (_, n) => [`n${n}`, 1])) })),
    ],
    [
      'filters of fifty terms',
      ops(40, () => ({
        op: 'remove',
        path: `emails[${Array.from({ length: 50 }, () => 'value co "zz"').join(' or ')}]`,
      })),
    ],
  ])('of 64 kB take no more than 50 ms: %s', (_name, body) => {
    const before = { ...userBefore(), emails: longList };
    const text = JSON.stringify(body);
    expect(text.length).toBeLessThan(80_000);
    expect(cpuMs(() => tried(() => applyPatch(userModel, before, readOperations(parseBody(text)))))).toBeLessThan(50);
  });

  it('of any depth and width are cleaned or refused in no time', () => {
    for (const text of [
      `{"a":${'['.repeat(30_000)}${']'.repeat(30_000)}}`,
      `{"a":${'{"a":'.repeat(10_000)}1${'}'.repeat(10_000)}}`,
      `{${Array.from({ length: 6_000 }, (_, n) => `"k${n}":1`).join(',')}}`,
      `[${'1,'.repeat(30_000)}1]`,
    ]) {
      expect(cpuMs(() => tried(() => normalizeResource(userModel, parseBody(text))))).toBeLessThan(50);
    }
  });
});

/** The best of a few: what the machine does besides is not ours. */
function cpuMs(work: () => unknown): number {
  const runs = Array.from({ length: 4 }, () => {
    const start = process.cpuUsage();
    work();
    const { user, system } = process.cpuUsage(start);
    return (user + system) / 1_000;
  });
  return Math.min(...runs);
}
