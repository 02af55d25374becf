/**
 * platform/secrets: a value that can not be printed by accident, and the envelope it rests in.
 *
 * `Secret` hides itself from JSON, templates, util.inspect and pino. The envelope is AES-256-GCM with a key per
 * tenant derived from the master key (HKDF-SHA-256, RFC 5869); the additional data binds tenant, table, row and
 * column, so that an envelope moved to another row does not open (operations.md, Security rules).
 */
import { createCipheriv, createDecipheriv, hkdfSync, randomBytes } from 'node:crypto';
import { inspect } from 'node:util';
import { z } from 'zod';
import { RollcallError } from '../core/errors.ts';

const hidden = '[secret]';

export class Secret {
  readonly #text: string;

  constructor(text: string) {
    this.#text = text;
  }

  /** The only way to the value; grep for it to see every place a secret is used. */
  reveal(): string {
    return this.#text;
  }

  toString(): string {
    return hidden;
  }

  toJSON(): string {
    return hidden;
  }

  [inspect.custom](): string {
    return hidden;
  }
}

/** A zod string that becomes a Secret. */
export const secretText = z
  .string()
  .min(1)
  .transform((text) => new Secret(text));

/** Where an envelope belongs; part of what is authenticated. */
export type EnvelopePlace = {
  readonly tenantId: string;
  readonly table: string;
  readonly rowId: string;
  readonly column: string;
};

export type Envelope = { readonly v: 1; readonly iv: string; readonly tag: string; readonly data: string };

const envelopeSchema = z.strictObject({ v: z.literal(1), iv: z.string(), tag: z.string(), data: z.string() });

/** Seals and opens envelopes with the master key (32 bytes). */
export class SecretBox {
  readonly #masterKey: Buffer;

  constructor(masterKey: Buffer) {
    if (masterKey.length !== 32) {
      throw new RollcallError('invalid_config', `The master key has ${masterKey.length} bytes; it must have 32.`, {
        remedy: 'Make one with: openssl rand -base64 32',
      });
    }
    this.#masterKey = masterKey;
  }

  seal(plain: string, place: EnvelopePlace): Envelope {
    const iv = randomBytes(12);
    const cipher = createCipheriv('aes-256-gcm', this.#tenantKey(place.tenantId), iv);
    cipher.setAAD(additionalData(place));
    const data = Buffer.concat([cipher.update(plain, 'utf8'), cipher.final()]);
    return {
      v: 1,
      iv: iv.toString('base64'),
      tag: cipher.getAuthTag().toString('base64'),
      data: data.toString('base64'),
    };
  }

  open(envelope: unknown, place: EnvelopePlace): string {
    try {
      const sealed = envelopeSchema.parse(envelope);
      const decipher = createDecipheriv(
        'aes-256-gcm',
        this.#tenantKey(place.tenantId),
        Buffer.from(sealed.iv, 'base64'),
      );
      decipher.setAAD(additionalData(place));
      decipher.setAuthTag(Buffer.from(sealed.tag, 'base64'));
      return decipher.update(Buffer.from(sealed.data, 'base64'), undefined, 'utf8') + decipher.final('utf8');
    } catch (cause) {
      throw new RollcallError(
        'secret_unreadable',
        `The stored secret of ${place.table} ${place.rowId} can not be opened.`,
        {
          cause,
          remedy: 'The master key differs from the one it was sealed with: restore the key, or enter the secret again.',
        },
      );
    }
  }

  /** HMAC key for bearer tokens (the "pepper"), derived so that one master key serves both. */
  pepper(): Buffer {
    return Buffer.from(hkdfSync('sha256', this.#masterKey, '', 'rollcall token pepper', 32));
  }

  #tenantKey(tenantId: string): Buffer {
    return Buffer.from(hkdfSync('sha256', this.#masterKey, tenantId, 'rollcall tenant secrets', 32));
  }
}

function additionalData(place: EnvelopePlace): Buffer {
  return Buffer.from([place.tenantId, place.table, place.rowId, place.column].join('\u0000'), 'utf8');
}
