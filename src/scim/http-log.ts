/** From a finished request to its entry in the request log: when, who, what, the answer, and why. */
import type { Request, Response } from 'express';
import { isUuid, newId } from '../core/ids.ts';
import { userModelOf } from './custom-schema.ts';
import type { JsonObject } from './json.ts';
import { redactBody, redactFilter, redactReason, scrubText } from './redact.ts';
import type { RequestLog } from './request-log.ts';
import type { ScimCaller, ScimOptions, ScimRefusal } from './scim.ts';
import { groupModel, type ResourceModel } from './schema-model.ts';

/** Filled as the request goes its way; what is missing was not reached. */
type Facts = {
  requestId?: string;
  body?: JsonObject;
  /** What a taken request left out or set aside. */
  notes?: readonly string[];
  scimType?: string | null;
  reason?: string | null;
};

const facts = new WeakMap<Response, Facts>();
/** Longer bodies (a group with all its members) are not kept. */
const maxBodyBytes = 65_536;

export function setFacts(response: Response, more: Facts): void {
  facts.set(response, { ...facts.get(response), ...more });
}

/** Begins to watch a request; nothing is kept of one whose token is not ours. */
export function observe(
  { clock, requestLog }: Pick<ScimOptions, 'clock' | 'requestLog'>,
  request: Request,
  response: Response,
): { by(caller: ScimCaller | ScimRefusal): void } {
  const at = clock.now();
  const startedAt = performance.now();
  return {
    by: (caller) => {
      response.once('close', () => {
        if (requestLog === undefined || !requestLog.admits(caller, response.statusCode)) return;
        requestLog.add(entryOf(request, response, caller, { at, durationMs: performance.now() - startedAt }));
      });
    },
  };
}

function entryOf(
  request: Request,
  response: Response,
  caller: ScimCaller | ScimRefusal,
  { at, durationMs }: { readonly at: Date; readonly durationMs: number },
): Parameters<RequestLog['add']>[0] {
  const { requestId, body, notes = [], scimType, reason } = facts.get(response) ?? {};
  const bodyBytes = Buffer.isBuffer(request.body) ? request.body.length : 0;
  const models = [userModelOf('settings' in caller ? caller.settings : {}), groupModel];
  const refusal = 'refusal' in caller ? caller.refusal : null;
  return {
    id: requestId !== undefined && isUuid(requestId) ? requestId : newId(),
    tenantId: caller.tenantId,
    connectionId: caller.connectionId,
    at: at.toISOString(),
    tokenId: caller.tokenId,
    method: request.method,
    path: pathOf(request, models),
    status: response.statusCode,
    scimType: scimType ?? null,
    reason: storable(redactReason(refusal ?? reason ?? notes.join(' '))),
    durationMs: Math.round(durationMs),
    clientAddress: request.ip ?? null,
    userAgent: storable(scrubText(request.get('user-agent') ?? '')),
    body: body === undefined || bodyBytes === 0 || bodyBytes > maxBodyBytes ? null : redactBody(models, body),
    bodyBytes,
  };
}

/** Postgres takes no U+0000 and no half of a surrogate pair; an empty text says nothing. */
function storable(text: string): string | null {
  return text === '' ? null : text.replaceAll('\u0000', '?').toWellFormed();
}

const keptParameters: ReadonlySet<string> = new Set([
  'startindex',
  'count',
  'sortby',
  'sortorder',
  'attributes',
  'excludedattributes',
]);
const maxPathLength = 4_000;

/** Below the base path, with the parameters SCIM knows; what a client adds may be anything. */
function pathOf(request: Request, models: readonly ResourceModel[]): string {
  // behind the router and its `/:connectionId`
  const [path = '', text = ''] = request.originalUrl.slice(request.baseUrl.length).split('?', 2);
  const query = new URLSearchParams();
  for (const [name, value] of new URLSearchParams(text)) {
    const lower = name.toLowerCase();
    if (lower === 'filter') query.append(name, redactFilter(models, value));
    else if (lower === 'cursor') query.append(name, value === '' ? '' : `${value.slice(0, 8)}…`);
    else if (keptParameters.has(lower)) query.append(name, scrubText(value));
  }
  const kept = scrubText(path.replace(/^\/[^/]*/, ''));
  const all = query.size === 0 ? kept : `${kept}?${query.toString()}`;
  return storable(all.slice(0, maxPathLength)) ?? '/';
}
