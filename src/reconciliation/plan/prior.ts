/**
 * What stood beside `before` when a plan was made: provenance, standing and link of the subject, and who gave a grant
 * that goes. An undo restores it. It is no part of the digest, because `expected_version` already says whether the user
 * is the one that was looked at, and an applied row therefore had exactly this beside it.
 */
import type { ConnectionId } from '../../core/ids.ts';
import type { TenantTx } from '../../db/db.ts';

/** A jsonb expression over the columns op, user_id, anchor, after, organization_id, role and grant_source of the row being inserted. */
export function priorOf(tx: TenantTx, connectionId: ConnectionId) {
  return tx.sql`case
    when op in ('create', 'update', 'key', 'reactivate', 'suspend', 'remove', 'link', 'unlink', 'quota_home') then jsonb_build_object('user', case when op <> 'create' then ${standingOf(tx)} end,
      'link', ${linkOf(tx, connectionId)})
    when op = 'revoke' then (
      select jsonb_build_object('grant', jsonb_build_object('runId', g.run_id, 'createdAt', g.created_at)) from grants g
      where g.tenant_id = ${tx.tenantId} and g.organization_id = r.organization_id and g.user_id = r.user_id and g.role = r.role
        and g.source = r.grant_source)
    end`;
}

/** The same for objects that nobody could have seen, linked or given anything to before. */
export function priorOfNew(tx: TenantTx) {
  return tx.sql`case when op = 'create' then '{"user": null, "link": null}'::jsonb end`;
}

/** Null for a user that is still to be created. */
export function standingOf(tx: TenantTx) {
  return tx.sql`(
    select jsonb_build_object('status', u.status, 'suspendedBy', u.suspended_by, 'statusReason', u.status_reason, 'username', u.username,
      'usernameKey', u.username_key, 'provenance', u.provenance, 'attributes', u.attributes, 'quotaHomeId', u.quota_home_id)
    from users u where u.tenant_id = ${tx.tenantId} and u.id = r.user_id)`;
}

/** Null where the object has no link yet. */
export function linkOf(tx: TenantTx, connectionId: ConnectionId) {
  return tx.sql`(
    select jsonb_build_object('state', l.state, 'userId', l.user_id, 'matchedBy', l.matched_by, 'applied', l.applied, 'reason', l.reason,
      'endedAt', l.ended_at, 'heldRunId', l.held_run_id, 'heldState', l.held_state)
    from links l where l.tenant_id = ${tx.tenantId} and l.connection_id = ${connectionId} and l.anchor = r.anchor)`;
}
