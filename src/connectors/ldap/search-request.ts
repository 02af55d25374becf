/** What a search asks for, and its request on the wire (RFC 4511 section 4.5.1). */
import { PagedResultsControl, SearchRequest } from 'ldapts';
import type { Control } from 'ldapts';
import type { LdapFilter } from './filter.ts';

export type Search = {
  readonly base: string;
  readonly scope: 'base' | 'one' | 'sub';
  readonly filter: LdapFilter;
  readonly attributes: readonly string[];
  readonly controls?: readonly Control[];
  /** 0 lets the server decide. */
  readonly sizeLimit?: number;
  /** Sees each message of a search that is not paged, whole and in order, before its entries are handed on. */
  readonly observe?: (tag: number, message: Buffer) => void;
  /** Completes "while ..." in errors, e.g. "reading users". */
  readonly doing: string;
};

export function searchRequest(messageId: number, search: Search, more: readonly Control[] = []): SearchRequest {
  return new SearchRequest({
    messageId,
    baseDN: search.base,
    scope: search.scope,
    filter: search.filter,
    attributes: [...search.attributes],
    sizeLimit: search.sizeLimit ?? 0,
    timeLimit: 0,
    controls: [...more, ...(search.controls ?? [])],
  });
}

/** RFC 2696. */
export function pageControl(size: number, cookie: Buffer): Control {
  return new PagedResultsControl({ critical: true, value: { size, cookie } });
}
