import { describe, expect, it } from 'vitest';
import { z } from 'zod';
import { changesOf, columnsOf, userFields } from './fields.ts';

const stored = {
  username: null,
  email: 'a@example.com',
  displayName: 'Ada',
  givenName: null,
  familyName: null,
  phone: null,
  employeeId: null,
  department: null,
  jobTitle: null,
  attributes: { costCenter: '7' },
  provenance: { email: 'connection:c', displayName: 'connection:c' },
};

describe('an edit by hand', () => {
  it('is only what differs', () => {
    expect(changesOf(stored, { email: 'a@example.com', displayName: 'Ada', attributes: { costCenter: '7' } })).toEqual(
      [],
    );
    expect(changesOf(stored, { email: null, attributes: { costCenter: null, floor: '2' } })).toEqual([
      { target: 'email', before: 'a@example.com', after: null },
      { target: 'attributes.costCenter', before: '7', after: null },
      { target: 'attributes.floor', before: null, after: '2' },
    ]);
  });

  it('becomes manual, with keys, and leaves the provenance of the rest alone', () => {
    const changes = changesOf(stored, { email: 'ADA@Example.com', attributes: { costCenter: null, floor: '2' } });
    expect(columnsOf(stored, changes)).toEqual({
      email: 'ADA@Example.com',
      emailKey: 'ada@example.com',
      attributes: { floor: '2' },
      provenance: {
        email: 'manual',
        displayName: 'connection:c',
        'attributes.costCenter': 'manual',
        'attributes.floor': 'manual',
      },
    });
  });
});

describe('fields', () => {
  const schema = z.strictObject(userFields);

  it('take empty text as no value', () => {
    expect(schema.parse({ email: ' ', phone: '' })).toEqual({ email: null, phone: null });
  });

  it.each([
    { email: 'nobody' },
    { phone: '030 123' },
    { username: 'ada' },
    { status: 'removed' },
    { tenantId: 'x' },
    { attributes: { 'a.b': '1' } },
    { attributes: JSON.parse('{"__proto__x!": "1"}') as Record<string, string> },
  ])('refuse %j', (input) => {
    expect(schema.safeParse(input).success).toBe(false);
  });
});
