/** access/authenticate: a token's text -> who calls. */
import type postgres from 'postgres';
import type { ConnectionId, OrganizationId, TenantId } from '../core/ids.ts';
import type { GrantableRole } from '../core/roles.ts';
import type { Db, EngineTx } from '../db/db.ts';
import type { Principal } from '../platform/route.ts';
import { isWithin } from './address-ranges.ts';
import { gatherTurn } from './gather-turn.ts';
import { hashToken, isSameHash, parseToken, type ParsedToken } from './token-format.ts';

/** An identity provider speaking for one SCIM connection. */
export type ScimPrincipal = {
  readonly actor: string;
  readonly tokenId: string;
  readonly tenantId: TenantId;
  readonly connectionId: ConnectionId;
  /** What it may do; empty means everything. */
  readonly scopes: readonly string[];
  /** The settings of the connection, read with the token so that no request pays for a look-up of its own. */
  readonly settings: Readonly<Record<string, unknown>>;
};

/** A token that is ours and may not be used: the caller hears what a stranger hears, the admin's log says why. */
export type Refused = {
  readonly tenantId: TenantId;
  readonly tokenId: string;
  readonly connectionId: ConnectionId | null;
  readonly reason: string;
};

export type Authenticated =
  | { readonly kind: 'api'; readonly principal: Principal }
  | { readonly kind: 'scim'; readonly principal: ScimPrincipal }
  | { readonly kind: 'refused'; readonly refused: Refused };

type Row = ParsedToken & {
  readonly tenantId: TenantId;
  readonly hash: Buffer;
  readonly connectionId: ConnectionId | null;
  readonly organizationId: OrganizationId | null;
  readonly role: GrantableRole | null;
  readonly scopes: readonly string[];
  readonly allowedRanges: readonly string[];
  readonly settings: Readonly<Record<string, unknown>> | null;
  readonly isRevoked: boolean;
  readonly isExpired: boolean;
  readonly isUseStale: boolean;
};

/** Null for what is malformed or unknown; `address` is where the request comes from. */
export type Authenticate = (text: string, address?: string) => Promise<Authenticated | null>;

/** Tokens that come in one turn of the event loop share a look-up; none is kept. */
export function createAuthenticate(db: Db, pepper: Buffer): Authenticate {
  const read = gatherTurn((texts: readonly string[]) => db.look((sql) => findByTexts(sql, pepper, texts)));
  return async (text, address) => {
    const row = parseToken(text) === null ? undefined : await read(text);
    // a key buys access tokens at the token endpoint and opens nothing itself
    if (row === undefined || row.kind === 'key') return null;
    const { id } = row;
    const reason = refusalOf(row, address);
    if (reason !== null) {
      const { tenantId, connectionId } = row;
      return { kind: 'refused', refused: { tenantId, tokenId: id, connectionId, reason } };
    }
    if (row.isUseStale) await db.engine((tx) => touch(tx, id));
    return toAuthenticated(row);
  };
}

/** The token of this text, whatever became of it; null when there is none. */
export async function findByText(tx: EngineTx, pepper: Buffer, text: string): Promise<Row | null> {
  return (await findByTexts(tx.sql, pepper, [text])).get(text) ?? null;
}

async function findByTexts(
  sql: postgres.ISql,
  pepper: Buffer,
  texts: readonly string[],
): Promise<ReadonlyMap<string, Row>> {
  const parsed = texts.flatMap((text) => {
    const token = parseToken(text);
    return token === null ? [] : [{ text, ...token }];
  });
  if (parsed.length === 0) return new Map();
  const rows = await selectTokens(sql, [...new Set(parsed.map(({ id }) => id))]);
  const byId = new Map(rows.map((row) => [row.id, row]));
  return new Map(
    parsed.flatMap(({ text, kind, id }) => {
      const row = byId.get(id);
      const isMeant = row !== undefined && row.kind === kind && isSameHash(row.hash, hashToken(text, pepper));
      return isMeant ? [[text, row] as const] : [];
    }),
  );
}

async function selectTokens(sql: postgres.ISql, ids: readonly string[]): Promise<readonly Row[]> {
  // an array is planned anew each time, which takes longer than to find one token
  const areMeant = ids.length === 1 ? sql`t.id = ${ids[0] ?? ''}` : sql`t.id = any(${ids as string[]})`;
  return sql<Row[]>`
    select t.id, t.kind, t.tenant_id as "tenantId", t.hash, t.connection_id as "connectionId", t.organization_id as "organizationId", t.role,
      t.scopes, t.allowed_ranges as "allowedRanges", c.settings,
      t.revoked_at is not null as "isRevoked", coalesce(t.expires_at <= now(), false) as "isExpired",
      (t.last_used_at is null or t.last_used_at < now() - interval '1 minute') as "isUseStale"
    from tokens t
    left join connections c on c.tenant_id = t.tenant_id and c.id = t.connection_id
    where ${areMeant}`;
}

/** In words for the admin's log; null when the token may be used. */
export function refusalOf(row: Row, address: string | undefined): string | null {
  if (row.isRevoked) return 'The token was revoked.';
  if (row.isExpired) return 'The token has expired.';
  if (!isWithin(row.allowedRanges, address)) {
    return `The token may not be used from ${address ?? 'an unknown address'}.`;
  }
  return null;
}

/** At most once a minute, and never waiting for another request that does the same. */
export async function touch(tx: EngineTx, id: string): Promise<void> {
  await tx.sql`
    update tokens set last_used_at = now()
    where id = (select id from tokens where id = ${id} for no key update skip locked)`;
}

function toAuthenticated(row: Row): Authenticated | null {
  const { id, tenantId, connectionId, organizationId, role, scopes } = row;
  const actor = `token:${id}`;
  if (row.kind === 'scim') {
    if (connectionId === null) return null;
    const settings = row.settings ?? {};
    return { kind: 'scim', principal: { actor, tokenId: id, tenantId, connectionId, scopes, settings } };
  }
  if (organizationId === null || role === null) return null;
  return { kind: 'api', principal: { actor, tenantId, organizationId, userId: null, role } };
}
