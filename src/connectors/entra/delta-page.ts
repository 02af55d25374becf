/**
 * One page of a delta round, checked before anything is made of it. A page that is not exactly as documented (Graph
 * "delta query overview") ends the read: guessing here is how directories lose people.
 */
import { RollcallError } from '../../core/errors.ts';
import type { JsonObject } from './graph-session.ts';

export type Resource = 'users' | 'groups';

export type PageItem = {
  /** Lower case. */
  readonly id: string;
  /** `changed`: in the recycle bin; `deleted`: gone for good; null: alive. */
  readonly removed: 'changed' | 'deleted' | null;
  readonly raw: JsonObject;
};

export type DeltaPage = {
  readonly items: readonly PageItem[];
  readonly link: { readonly kind: 'next' | 'delta'; readonly url: string };
};

const guid = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i;

function fault(message: string, raw: string): RollcallError {
  return new RollcallError('directory_protocol', message, {
    raw: raw.slice(0, 200),
    remedy: 'Nothing was changed. If it happens again, ask for help with the time of this run.',
  });
}

export function checkPage(body: JsonObject, graphUrl: string, resource: Resource): DeltaPage {
  const value = body['value'];
  if (!Array.isArray(value)) throw fault('Microsoft Graph sent a page without the list "value".', typeof value);
  return { items: value.map((item: unknown) => checkItem(item)), link: checkLinks(body, placeOf(graphUrl, resource)) };
}

function checkLinks(body: JsonObject, place: string): DeltaPage['link'] {
  const next = body['@odata.nextLink'];
  const delta = body['@odata.deltaLink'];
  if (typeof next === 'string' && delta === undefined) {
    return { kind: 'next', url: checkLink(next, place) };
  }
  if (typeof delta === 'string' && next === undefined) {
    return { kind: 'delta', url: checkLink(delta, place) };
  }
  const which = next === undefined && delta === undefined ? 'neither' : 'not exactly one';
  throw fault(`Microsoft Graph sent a page with ${which} of nextLink and deltaLink.`, 'nextLink/deltaLink');
}

/**
 * A link elsewhere would carry our token there; it is refused before it is asked (A7). `place` is scheme, host and
 * path that it must begin with, also after `..` segments are resolved.
 */
export function checkLink(link: string, place: string): string {
  const url = URL.parse(link);
  const isOurs = link.startsWith(place) && url?.href.startsWith(place) === true;
  if (!isOurs) {
    throw fault(`Microsoft Graph sent a link to another place (${url?.host ?? 'not an address'}).`, url?.origin ?? '');
  }
  return link;
}

export function placeOf(graphUrl: string, resource: Resource): string {
  return `${graphUrl}/v1.0/${resource}/`;
}

export function isGuid(value: unknown): value is string {
  return typeof value === 'string' && guid.test(value);
}

function checkItem(item: unknown): PageItem {
  if (typeof item !== 'object' || item === null)
    throw fault('Microsoft Graph sent an entry that is no object.', 'value');
  const raw = item as JsonObject;
  const id = raw['id'];
  if (!isGuid(id)) throw fault('Microsoft Graph sent an object without a usable id.', JSON.stringify(id) ?? 'none');
  return { id: id.toLowerCase(), removed: removedReason(raw['@removed']), raw };
}

/** An unknown reason counts as restorable, the milder of the two. */
function removedReason(annotation: unknown): PageItem['removed'] {
  if (typeof annotation !== 'object' || annotation === null) return null;
  return Reflect.get(annotation, 'reason') === 'deleted' ? 'deleted' : 'changed';
}
