import { describe, expect, it } from 'vitest';
import { z } from 'zod';
import { describeInputFault, inputFaults } from './input-faults.ts';

const role = z.enum(['user', 'admin']);
const schema = z.strictObject({
  name: z.string().min(1),
  port: z.int().max(65_535).optional().describe('Where it listens.'),
  tags: z.array(z.string()).max(2).default([]),
  roles: z
    .array(z.union([z.strictObject({ everyone: role }), z.strictObject({ group: z.string(), role })]))
    .default([]),
  tls: z.strictObject({ isOn: z.boolean() }).optional(),
});

function told(value: unknown): string[] {
  const { error } = schema.safeParse(value);
  return error === undefined ? [] : inputFaults(error, schema).map(describeInputFault);
}

describe('inputFaults', () => {
  it('names every fault at once, each with its path, in plain words', () => {
    expect(told({ port: 70_000, tags: ['a', 'b', 'c'], tls: { isOn: 'yes' }, nmae: 'x' })).toEqual([
      'name: is missing.',
      'port: must be at most 65535. Where it listens.',
      'tags: must have at most 2 entries.',
      'tls.isOn: must be true or false, not text.',
      'nmae: There is no such setting. Did you mean name?',
    ]);
    expect(told({ name: 'x', port: '8080' })).toEqual(['port: must be a number, not text. Where it listens.']);
    expect(told(null)).toEqual(['must be a section of settings, not nothing.']);
  });

  it('of several forms of a value reports the one that was meant', () => {
    expect(told({ name: 'x', roles: [{ everyone: 'king' }, { group: 'a' }] })).toEqual([
      'roles.0.everyone: must be one of user, admin.',
      'roles.1.role: must be one of user, admin.',
    ]);
  });

  it('names what is known where nothing is near', () => {
    expect(told({ name: 'x', tls: { isOn: true, certificate: 'x' } })).toEqual([
      'tls.certificate: There is no such setting. Known here: isOn.',
    ]);
  });
});
