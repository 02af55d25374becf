/** access/authenticate: a token's text -> who calls. */
import type { ConnectionId, OrganizationId, TenantId } from '../core/ids.ts';
import type { GrantableRole } from '../core/roles.ts';
import type { Db, EngineTx } from '../db/db.ts';
import type { Principal } from '../platform/route.ts';
import { hashToken, isSameHash, parseToken, type ParsedToken } from './token-format.ts';

/** An identity provider speaking for one SCIM connection. */
export type ScimPrincipal = {
  readonly actor: string;
  readonly tokenId: string;
  readonly tenantId: TenantId;
  readonly connectionId: ConnectionId;
};

export type Authenticated =
  | { readonly kind: 'api'; readonly principal: Principal }
  | { readonly kind: 'scim'; readonly principal: ScimPrincipal };

type Row = {
  readonly tenantId: TenantId;
  readonly hash: Buffer;
  readonly connectionId: ConnectionId | null;
  readonly organizationId: OrganizationId | null;
  readonly role: GrantableRole | null;
  readonly isUseStale: boolean;
};

/** Null for every token that is malformed, unknown, revoked or expired; the caller is not told which. */
export async function authenticate(db: Db, pepper: Buffer, text: string): Promise<Authenticated | null> {
  const parsed = parseToken(text);
  if (parsed === null) return null;
  const hash = hashToken(text, pepper);
  return db.engine(async (tx) => {
    const row = await selectLive(tx, parsed);
    if (row === null || !isSameHash(row.hash, hash)) return null;
    if (row.isUseStale) await touch(tx, parsed.id);
    return toAuthenticated(parsed, row);
  });
}

async function selectLive(tx: EngineTx, parsed: ParsedToken): Promise<Row | null> {
  const [row] = await tx.sql<Row[]>`
    select tenant_id as "tenantId", hash, connection_id as "connectionId", organization_id as "organizationId", role,
      (last_used_at is null or last_used_at < now() - interval '1 minute') as "isUseStale"
    from tokens
    where id = ${parsed.id} and kind = ${parsed.kind} and revoked_at is null
      and (expires_at is null or expires_at > now())`;
  return row ?? null;
}

/** At most once a minute, and never waiting for another request that does the same. */
async function touch(tx: EngineTx, id: string): Promise<void> {
  await tx.sql`
    update tokens set last_used_at = now()
    where id = (select id from tokens where id = ${id} for no key update skip locked)`;
}

function toAuthenticated(parsed: ParsedToken, row: Row): Authenticated | null {
  const { tenantId, connectionId, organizationId, role } = row;
  const actor = `token:${parsed.id}`;
  if (parsed.kind === 'scim') {
    if (connectionId === null) return null;
    return { kind: 'scim', principal: { actor, tokenId: parsed.id, tenantId, connectionId } };
  }
  if (organizationId === null || role === null) return null;
  return { kind: 'api', principal: { actor, tenantId, organizationId, userId: null, role } };
}
