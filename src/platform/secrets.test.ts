import { randomBytes } from 'node:crypto';
import { format, inspect } from 'node:util';
import { describe, expect, it } from 'vitest';
import { Secret, SecretBox, type EnvelopePlace } from './secrets.ts';

const place: EnvelopePlace = { tenantId: 't1', table: 'connections', rowId: 'r1', column: 'secret' };
const unreadable = expect.objectContaining({ code: 'secret_unreadable' });

describe('a secret', () => {
  const secret = new Secret('s3cret');

  it.each<[string, string]>([
    ['JSON', JSON.stringify({ secret })],
    ['a template', `${String(secret)}`],
    ['inspect', inspect({ secret }, { depth: 9, showHidden: true })],
    ['a format', format('%s %o %j', secret, secret, secret)],
    ['its keys', Object.entries(secret).flat().join(' ')],
  ])('is not shown by %s', (_what, text) => expect(text).not.toContain('s3cret'));

  it('is given to who asks for it by name', () => expect(secret.reveal()).toBe('s3cret'));
});

describe('an envelope', () => {
  it('opens in its own row only', () => {
    const box = new SecretBox(randomBytes(32));
    const envelope = box.seal('s3cret', place);
    expect(box.open(envelope, place)).toBe('s3cret');
    const others: EnvelopePlace[] = [
      { ...place, tenantId: 't2' },
      { ...place, table: 'webhooks' },
      { ...place, rowId: 'r2' },
      { ...place, column: 'other' },
    ];
    for (const other of others) expect(() => box.open(envelope, other)).toThrow(unreadable);
  });

  it('opens with its own master key only, and not once a bit of it was changed', () => {
    const box = new SecretBox(randomBytes(32));
    const envelope = box.seal('s3cret', place);
    expect(() => new SecretBox(randomBytes(32)).open(envelope, place)).toThrow(unreadable);
    const data = Buffer.from(envelope.data, 'base64');
    data.writeUInt8(data.readUInt8(0) ^ 1, 0);
    expect(() => box.open({ ...envelope, data: data.toString('base64') }, place)).toThrow(unreadable);
  });

  it('is another one each time, so that equal secrets are not seen to be equal', () => {
    const box = new SecretBox(randomBytes(32));
    expect(box.seal('same', place).data).not.toBe(box.seal('same', place).data);
  });
});
