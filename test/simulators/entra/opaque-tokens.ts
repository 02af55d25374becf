/**
 * Opaque, signed tokens for links and access tokens. Hostile to careless URL handling on purpose: they contain
 * `%2B`, `%3D`, `_` and `-` as Graph's do, so a client that decodes or rebuilds a link breaks here first.
 */
import { createHmac } from 'node:crypto';

export type TokenPayload = Readonly<Record<string, string | number>>;

export type OpaqueTokens = {
  /** In the form in which it stands in a URL. */
  seal(payload: TokenPayload): string;
  /** Takes the form in the URL; null when it is not ours. */
  open(urlText: string): TokenPayload | null;
};

export function createOpaqueTokens(key: string): OpaqueTokens {
  const sign = (text: string): string => createHmac('sha256', key).update(text).digest('base64url');
  return {
    seal: (payload) => {
      const body = Buffer.from(JSON.stringify(payload)).toString('base64url');
      return encodeURIComponent(`${body}+_-${sign(body)}=`);
    },
    open: (urlText) => {
      const match = /^([\w-]+)%2B_-([\w-]+)%3D$/.exec(urlText);
      const body = match?.[1];
      if (body === undefined || match?.[2] !== sign(body)) return null;
      return JSON.parse(Buffer.from(body, 'base64url').toString('utf8')) as TokenPayload;
    },
  };
}
