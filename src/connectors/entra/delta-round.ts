/** A delta round: pages from the first link to the deltaLink, with guards against a round that never ends. */
import { createHash } from 'node:crypto';
import { RollcallError } from '../../core/errors.ts';
import type { PageItem, Resource } from './delta-page.ts';
import { checkPage } from './delta-page.ts';
import type { GraphSession } from './graph-session.ts';

/** 20,000 pages of 200 are four million objects. */
const maxPages = 20_000;

function neverEnding(resource: Resource, why: string): RollcallError {
  return new RollcallError('directory_protocol', `The list of ${resource} does not end: ${why}.`, {
    raw: 'nextLink',
    remedy: 'Nothing was changed; the next run starts again. This is a known fault of the service that passes.',
  });
}

/** Yields what `convert` makes of each page; returns the deltaLink. Throws unless that link was reached. */
export async function* readRound<T>(
  session: GraphSession,
  resource: Resource,
  firstUrl: string,
  convert: (items: readonly PageItem[]) => T | Promise<T>,
): AsyncGenerator<T, string, undefined> {
  const seen = new Set<string>();
  let url = firstUrl;
  for (let pages = 0; pages < maxPages; pages += 1) {
    const mark = createHash('sha256').update(url).digest('base64');
    if (seen.has(mark)) throw neverEnding(resource, 'it sends a page a second time');
    seen.add(mark);
    const { items, link } = checkPage(await session.getPage(url), session.graphUrl, resource);
    yield await convert(items);
    if (link.kind === 'delta') return link.url;
    url = link.url;
  }
  throw neverEnding(resource, `more than ${maxPages} pages`);
}
