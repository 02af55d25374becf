/**
 * access/tokens: bearer tokens. Stored: id and HMAC. Authentication is one indexed read as rollcall_engine, with no
 * cache, so that a revocation holds from the next request on.
 */
import { and, asc, eq, gt, isNull, sql } from 'drizzle-orm';
import { z } from 'zod';
import { recordEvent } from '../audit/audit.ts';
import { RollcallError } from '../core/errors.ts';
import type { ConnectionId, OrganizationId } from '../core/ids.ts';
import { toIso, toIsoOrNull } from '../core/instant.ts';
import { notFound } from '../core/require-id.ts';
import type { GrantableRole } from '../core/roles.ts';
import type { ScimScope, TokenKind } from '../core/vocabulary.ts';
import type { Db, TenantTx } from '../db/db.ts';
import { tokens } from '../db/schema/access.ts';
import { organizationClosure } from '../db/schema/organizations.ts';
import type { Clock } from '../platform/clock.ts';
import { cutPage, decodeCursor, type Page, type PageRequest } from '../platform/page.ts';
import type { Principal } from '../platform/route.ts';
import { isInReach, requireCurrent, requireOwnLevel, requireReach } from './permissions.ts';
import { parseRanges } from './address-ranges.ts';
import { hashToken, makeToken } from './token-format.ts';
import { daysUntil, reminderAt } from './token-reminders.ts';

export type NewToken = {
  readonly name: string;
  /** ISO 8601; null never expires. */
  readonly expiresAt?: string | null | undefined;
  /** CIDR ranges a request must come from; none means from anywhere. */
  readonly allowedRanges?: readonly string[] | undefined;
} & (
  | { readonly kind: 'api'; readonly organizationId: OrganizationId; readonly role: GrantableRole }
  | {
      /** `key`: the client secret of OAuth 2, see client-credentials. */
      readonly kind: 'scim' | 'key';
      readonly connectionId: ConnectionId;
      readonly scopes?: readonly ScimScope[] | undefined;
    }
);

export type TokenView = {
  readonly id: string;
  readonly kind: TokenKind;
  readonly name: string;
  readonly organizationId: OrganizationId | null;
  readonly connectionId: ConnectionId | null;
  readonly role: GrantableRole | null;
  readonly scopes: string[];
  readonly allowedRanges: string[];
  readonly createdBy: string;
  readonly createdAt: string;
  readonly expiresAt: string | null;
  readonly lastUsedAt: string | null;
  readonly revokedAt: string | null;
};

export type Tokens = {
  /** `text` is the token itself: in this answer and nowhere else. */
  createToken(principal: Principal, input: NewToken): Promise<{ readonly token: TokenView; readonly text: string }>;
  /**
   * A new text under the same name and rights; the old one ends after the overlap. It lives as long as the old one was
   * made for, unless told otherwise: whoever rotates what is about to end wants no second one that is.
   */
  rotateToken(
    principal: Principal,
    tokenId: string,
    overlapMinutes: number,
    expiresAt?: string | null,
  ): Promise<{ readonly token: TokenView; readonly text: string }>;
  listTokens(principal: Principal, page: PageRequest): Promise<Page<TokenView>>;
  revokeToken(principal: Principal, tokenId: string): Promise<TokenView>;
};

export type TokenDeps = { readonly db: Db; readonly pepper: Buffer; readonly clock: Clock };

export function createTokens(deps: TokenDeps): Tokens {
  const { db } = deps;
  return {
    createToken: (principal, input) => db.tenant(principal.tenantId, (tx) => createToken(tx, deps, principal, input)),
    rotateToken: (principal, tokenId, overlapMinutes, expiresAt) =>
      db.tenant(principal.tenantId, (tx) => rotateToken(tx, deps, principal, tokenId, { overlapMinutes, expiresAt })),
    listTokens: (principal, page) => db.tenant(principal.tenantId, (tx) => listTokens(tx, principal, page)),
    revokeToken: (principal, tokenId) => db.tenant(principal.tenantId, (tx) => revokeToken(tx, principal, tokenId)),
  };
}

type Row = typeof tokens.$inferSelect;
type Grant = Pick<
  Row,
  'kind' | 'name' | 'organizationId' | 'connectionId' | 'role' | 'expiresAt' | 'scopes' | 'allowedRanges'
>;

async function createToken(tx: TenantTx, deps: TokenDeps, principal: Principal, input: NewToken) {
  const expiresAt = checkExpiry(input.expiresAt ?? null, deps.clock);
  const common = { name: input.name.trim(), expiresAt, allowedRanges: parseRanges(input.allowedRanges ?? []) };
  if (input.kind === 'api') {
    await requireCurrent(tx, principal, input.organizationId);
    requireOwnLevel(principal, input.role);
    const { organizationId, role } = input;
    return issue(tx, deps, principal, { ...common, kind: 'api', organizationId, role, connectionId: null, scopes: [] });
  }
  const organizationId = await organizationOfScim(tx, input.connectionId);
  await requireReach(tx, principal, organizationId);
  const { connectionId, kind } = input;
  const scopes = [...new Set(input.scopes)];
  return issue(tx, deps, principal, { ...common, kind, organizationId, role: null, connectionId, scopes });
}

function checkExpiry(text: string | null, clock: Clock): string | null {
  if (text === null) return null;
  // anything else a Date would read in the time zone and the order of day and month of this machine
  const isTime = z.union([z.iso.datetime({ offset: true }), z.iso.date()]).safeParse(text).success;
  const at = new Date(text);
  if (isTime && at.getTime() > clock.now().getTime()) return at.toISOString();
  const fault = isTime ? 'lies in the past' : 'is no point in time';
  throw new RollcallError('invalid_input', `The expiry "${text.slice(0, 50)}" ${fault}.`, {
    remedy: 'Write it as 2027-01-31T00:00:00Z.',
    details: { path: 'expiresAt' },
  });
}

async function organizationOfScim(tx: TenantTx, connectionId: ConnectionId): Promise<OrganizationId> {
  const [row] = await tx.sql<{ organizationId: OrganizationId; kind: string }[]>`
    select organization_id as "organizationId", kind from connections
    where tenant_id = ${tx.tenantId} and id = ${connectionId}`;
  if (row === undefined) throw notFound('connection');
  if (row.kind === 'scim') return row.organizationId;
  throw new RollcallError('conflict', `A SCIM token needs a connection of kind scim; this one is ${row.kind}.`);
}

async function issue(tx: TenantTx, deps: TokenDeps, principal: Principal, grant: Grant) {
  const made = makeToken(grant.kind as TokenKind);
  const daysLeft = grant.expiresAt === null ? null : daysUntil(grant.expiresAt, deps.clock.now());
  const [row] = await tx.query
    .insert(tokens)
    .values({
      ...grant,
      id: made.id,
      tenantId: principal.tenantId,
      hash: hashToken(made.text, deps.pepper),
      createdBy: principal.actor,
      // whoever chooses a short life knows of it: only what comes later is told of
      remindedDays: daysLeft === null ? null : reminderAt(daysLeft),
    })
    .onConflictDoNothing()
    .returning();
  if (row === undefined) {
    throw new RollcallError('conflict', `There already is a ${grant.kind} token named "${grant.name}".`, {
      remedy: 'Choose another name, rotate that token, or revoke it first.',
    });
  }
  await recordEvent(tx, {
    actor: principal.actor,
    action: 'token.created',
    target: `token:${row.id}`,
    details: { ...grant },
  });
  return { token: toView(row), text: made.text };
}

async function rotateToken(
  tx: TenantTx,
  deps: TokenDeps,
  principal: Principal,
  tokenId: string,
  { overlapMinutes, expiresAt }: { readonly overlapMinutes: number; readonly expiresAt: string | null | undefined },
) {
  const old = await findToken(tx, principal, tokenId);
  if (old.revokedAt !== null) throw new RollcallError('conflict', 'This token was revoked; create a new one.');
  const newEnd = expiresAt === undefined ? sameLife(old, deps.clock) : checkExpiry(expiresAt, deps.clock);
  const end = new Date(deps.clock.now().getTime() + overlapMinutes * 60_000).toISOString();
  await tx.query
    .update(tokens)
    .set({
      name: sql`left(${tokens.name}, 150) || ' (rotated out, ' || ${tokens.id} || ')'`,
      expiresAt: sql`least(${tokens.expiresAt}, ${end}::timestamptz)`,
      // its end is wanted: nobody has to be told of it
      remindedDays: 0,
    })
    .where(and(eq(tokens.tenantId, principal.tenantId), eq(tokens.id, old.id)));
  await endAccessTokens(tx, old.id, end);
  await recordEvent(tx, {
    actor: principal.actor,
    action: 'token.rotated',
    target: `token:${old.id}`,
    details: { overlapMinutes },
  });
  const { kind, name, organizationId, connectionId, role, scopes, allowedRanges } = old;
  const grant = { kind, name, organizationId, connectionId, role, expiresAt: newEnd, scopes, allowedRanges };
  return issue(tx, deps, principal, grant);
}

function sameLife({ createdAt, expiresAt }: Row, clock: Clock): string | null {
  if (expiresAt === null) return null;
  return new Date(clock.now().getTime() + Date.parse(expiresAt) - Date.parse(createdAt)).toISOString();
}

async function listTokens(tx: TenantTx, principal: Principal, page: PageRequest): Promise<Page<TokenView>> {
  const after = decodeCursor(page.cursor, z.tuple([z.string()]));
  const rows = await tx.query
    .select({ token: tokens })
    .from(tokens)
    .innerJoin(
      organizationClosure,
      and(
        eq(organizationClosure.tenantId, tokens.tenantId),
        eq(organizationClosure.descendantId, tokens.organizationId),
        eq(organizationClosure.ancestorId, principal.organizationId),
      ),
    )
    .where(
      and(
        eq(tokens.tenantId, principal.tenantId),
        // what OAuth clients fetch by the hour is no token that anybody made
        isNull(tokens.keyId),
        after === null ? undefined : gt(tokens.id, after[0]),
      ),
    )
    .orderBy(asc(tokens.id))
    .limit(page.limit + 1);
  return cutPage(
    rows,
    page.limit,
    (row) => [row.token.id],
    (row) => toView(row.token),
  );
}

async function revokeToken(tx: TenantTx, principal: Principal, tokenId: string): Promise<TokenView> {
  const found = await findToken(tx, principal, tokenId);
  const [row] = await tx.query
    .update(tokens)
    .set({ revokedAt: sql`now()` })
    .where(and(eq(tokens.tenantId, principal.tenantId), eq(tokens.id, found.id), isNull(tokens.revokedAt)))
    .returning();
  // revoked before: the caller's wish is fulfilled, and nothing new happened
  if (row === undefined) return toView(found);
  await endAccessTokens(tx, found.id, new Date(0).toISOString());
  await recordEvent(tx, { actor: principal.actor, action: 'token.revoked', target: `token:${found.id}` });
  return toView(row);
}

/** What was bought with a key ends with it, or with its overlap. */
async function endAccessTokens(tx: TenantTx, keyId: string, end: string): Promise<void> {
  await tx.sql`
    update tokens set expires_at = least(expires_at, ${end}::timestamptz)
    where tenant_id = ${tx.tenantId} and key_id = ${keyId} and expires_at > ${end}::timestamptz`;
}

async function findToken(tx: TenantTx, principal: Principal, tokenId: string): Promise<Row> {
  const [row] = await tx.query
    .select()
    .from(tokens)
    .where(and(eq(tokens.tenantId, principal.tenantId), eq(tokens.id, tokenId)));
  if (row === undefined || row.organizationId === null) throw notFound('token');
  if (!(await isInReach(tx, principal, row.organizationId as OrganizationId))) throw notFound('token');
  // rotating shows a text: whoever could rotate a token above their own level would have that level
  if (row.role !== null) requireOwnLevel(principal, row.role as GrantableRole);
  return row;
}

/** Revokes what a user created, as part of their suspension or removal (design.md section 5.12); answers how many. */
export async function revokeTokensCreatedBy(tx: TenantTx, userIds: readonly string[]): Promise<number> {
  const creators = userIds.map((id) => `user:${id}`);
  const result = await tx.sql`
    update tokens set revoked_at = now()
    where tenant_id = ${tx.tenantId} and revoked_at is null
      and (created_by = any(${creators}::text[])
        or key_id in (select id from tokens where tenant_id = ${tx.tenantId} and created_by = any(${creators}::text[])))`;
  return result.count;
}

function toView(row: Row): TokenView {
  return {
    id: row.id,
    kind: row.kind as TokenKind,
    name: row.name,
    organizationId: row.organizationId as OrganizationId | null,
    connectionId: row.connectionId as ConnectionId | null,
    role: row.role as GrantableRole | null,
    scopes: row.scopes,
    allowedRanges: row.allowedRanges,
    createdBy: row.createdBy,
    createdAt: toIso(row.createdAt),
    expiresAt: toIsoOrNull(row.expiresAt),
    lastUsedAt: toIsoOrNull(row.lastUsedAt),
    revokedAt: toIsoOrNull(row.revokedAt),
  };
}
