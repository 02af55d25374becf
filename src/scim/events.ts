/**
 * Events of RFC 9967: what happened to a resource, as the claims of a security event token (RFC 8417), told to the
 * webhooks of the tenant that want `scim.event`. Notices: they name the attributes that changed and carry none of their
 * values, so that personal data stays where it is and the receiver reads what it may read.
 *
 * They leave through the outbox, exactly when the write commits, under the signature of the webhook (Standard
 * Webhooks), which stands in the place of the token's own.
 */
import { newId } from '../core/ids.ts';
import type { TenantTx } from '../db/db.ts';
import { enqueueIfWanted } from '../outbox/outbox.ts';
import { isRecord, sameJson, type JsonObject } from './json.ts';
import type { ScimRequest } from './request.ts';
import type { ResourceModel } from './schema-model.ts';

const prefix = 'urn:ietf:params:scim:event:prov:';

export type EventName = 'create' | 'put' | 'patch' | 'delete';

/** RFC 9967 section 2.4, as announced in ServiceProviderConfig. */
export const eventUris = [
  `${prefix}create:notice`,
  `${prefix}put:notice`,
  `${prefix}patch:notice`,
  `${prefix}delete`,
  `${prefix}activate`,
  `${prefix}deactivate`,
] as const;

export type Told = {
  readonly model: ResourceModel;
  readonly name: EventName;
  readonly anchor: string;
  readonly before: JsonObject | null;
  readonly after: JsonObject | null;
  /** Attributes that lie outside of the document: members. */
  readonly more?: readonly string[];
};

/**
 * Sends the statement and does not wait for it: it goes out with the commit. Should it fail, the transaction has failed,
 * and the commit says so.
 */
export function tell(tx: TenantTx, request: ScimRequest, told: Told): void {
  tellAll(tx, [{ request, told }]);
}

/** The same for several, in one statement. */
export function tellAll(tx: TenantTx, all: readonly { readonly request: ScimRequest; readonly told: Told }[]): void {
  const payloads = all.flatMap(({ request, told }) => {
    const events = eventsOf(told);
    return Object.keys(events).length === 0 ? [] : [payloadOf(request, told, events)];
  });
  if (payloads.length > 0) enqueueIfWanted(tx, 'scim.event', payloads).catch(() => undefined);
}

function payloadOf(request: ScimRequest, { model, anchor, before, after }: Told, events: JsonObject): JsonObject {
  const externalId = (after ?? before)?.['externalId'];
  return {
    iss: request.base,
    iat: Math.floor(Date.now() / 1_000),
    jti: newId(),
    txn: request.context.requestId,
    sub_id: {
      format: 'scim',
      uri: `/${model.endpoint}/${anchor}`,
      ...(typeof externalId === 'string' ? { externalId } : {}),
    },
    events,
  };
}

function eventsOf({ name, before, after, more = [] }: Told): JsonObject {
  if (name === 'delete') return { [`${prefix}delete`]: {} };
  const attributes = [...changedAttributes(before ?? {}, after ?? {}), ...more];
  if (attributes.length === 0) return {};
  const wasActive = before?.['active'];
  const isActive = after?.['active'];
  return {
    [`${prefix}${name}:notice`]: { attributes },
    ...(before !== null && wasActive !== false && isActive === false ? { [`${prefix}deactivate`]: {} } : {}),
    ...(before !== null && wasActive === false && isActive === true ? { [`${prefix}activate`]: {} } : {}),
  };
}

/** Names as a PATCH path writes them. */
function changedAttributes(before: JsonObject, after: JsonObject): string[] {
  const names = new Set([...Object.keys(before), ...Object.keys(after)]);
  names.delete('schemas');
  return [...names].toSorted().flatMap((name) => {
    const [left, right] = [before[name], after[name]];
    if (sameJson(left, right)) return [];
    if (!name.startsWith('urn:')) return [name];
    return changedAttributes(isRecord(left) ? left : {}, isRecord(right) ? right : {}).map((one) => `${name}:${one}`);
  });
}
