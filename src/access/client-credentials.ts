/**
 * access/client-credentials: OAuth 2 for identity providers that do not take a long-lived bearer token (RFC 6749 section
 * 4.4). The client is a key of one SCIM connection: its id is the client id, its text the client secret. It buys SCIM
 * tokens that live for an hour and are checked like every other one; they end with the key.
 */
import { scimScopes, type ScimScope } from '../core/vocabulary.ts';
import type { Db } from '../db/db.ts';
import type { Clock } from '../platform/clock.ts';
import { findByText, refusalOf, touch, type Refused } from './authenticate.ts';
import { hashToken, makeToken } from './token-format.ts';

export const accessTokenSeconds = 3_600;

export type TokenRequest = {
  readonly connectionId: string;
  readonly clientId: string;
  readonly clientSecret: string;
  /** Scopes asked for; empty means those of the key. */
  readonly scopes: readonly string[];
  readonly address: string | undefined;
};

export type TokenAnswer =
  | { readonly kind: 'issued'; readonly text: string; readonly seconds: number; readonly scopes: readonly string[] }
  /** `refused` where the key is ours: the admin's log says why. */
  | { readonly kind: 'invalid_client'; readonly refused: Refused | null }
  | { readonly kind: 'invalid_scope' };

type Deps = { readonly db: Db; readonly pepper: Buffer; readonly clock: Pick<Clock, 'now'> };

export async function issueAccessToken(deps: Deps, request: TokenRequest): Promise<TokenAnswer> {
  const { db, pepper } = deps;
  const key = await db.engine(async (tx) => {
    const found = await findByText(tx, pepper, request.clientSecret);
    if (found?.isUseStale === true && refusalOf(found, request.address) === null) await touch(tx, found.id);
    return found;
  });
  const isOurs =
    key !== null &&
    key.kind === 'key' &&
    key.id === request.clientId &&
    key.connectionId === request.connectionId.toLowerCase();
  if (!isOurs) return { kind: 'invalid_client', refused: null };
  const { tenantId, connectionId } = key;
  const reason = refusalOf(key, request.address);
  if (reason !== null) {
    return { kind: 'invalid_client', refused: { tenantId, tokenId: key.id, connectionId, reason } };
  }
  const scopes = grantedScopes(key.scopes, request.scopes);
  if (scopes === null) return { kind: 'invalid_scope' };
  const made = makeToken('scim');
  await db.tenant(tenantId, async ({ sql }) => {
    // by the key's own row: rights and ranges are the key's of this moment, and a key revoked meanwhile gives none
    await sql`
      insert into tokens (id, tenant_id, kind, name, hash, connection_id, organization_id, scopes, allowed_ranges, key_id, created_by,
        expires_at)
      select ${made.id}, k.tenant_id, 'scim', ${`${made.id} of ${key.id}`}, ${hashToken(made.text, pepper)}, k.connection_id,
        k.organization_id, ${JSON.stringify(scopes)}::jsonb, k.allowed_ranges, k.id, 'token:' || k.id,
        least(k.expires_at, ${endOf(deps.clock)}::timestamptz)
      from tokens k where k.tenant_id = ${tenantId} and k.id = ${key.id} and k.revoked_at is null`;
  });
  return { kind: 'issued', text: made.text, seconds: accessTokenSeconds, scopes };
}

function endOf(clock: Pick<Clock, 'now'>): string {
  return new Date(clock.now().getTime() + accessTokenSeconds * 1_000).toISOString();
}

/** Null when more is asked for than the key has, or something that does not exist (RFC 6749 section 5.2). */
function grantedScopes(ofKey: readonly string[], asked: readonly string[]): readonly string[] | null {
  const all = ofKey.length === 0 ? scimScopes : scimScopes.filter((scope) => ofKey.includes(scope));
  if (asked.length === 0) return ofKey;
  return asked.every((scope) => all.includes(scope as ScimScope)) ? [...new Set(asked)] : null;
}

/** Access tokens that ended a day ago are of no use to anybody; one batch, answers how many. */
export async function deleteExpiredAccessTokens(db: Db, limit = 5_000): Promise<number> {
  const result = await db.engine(
    ({ sql }) => sql`
      delete from tokens where id in (
        select id from tokens where key_id is not null and expires_at < now() - interval '1 day' limit ${limit})`,
  );
  return result.count;
}
