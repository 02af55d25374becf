/** What decides whether another page follows, and whether the server goes in circles (RFC 2696). */
import { createHash } from 'node:crypto';
import { RollcallError } from '../../core/errors.ts';
import { controlOids } from './controls.ts';
import type { LdapEntry } from './entry.ts';
import { readPageCookie } from './results.ts';
import type { LdapResult } from './results.ts';
import type { Search } from './search-request.ts';

/** How a page ended, read once: a server may send megabytes of error text. `nextId` asks for the page behind it. */
export type PageEnd = { readonly result: LdapResult; readonly nextId: number | null };

/** The paged search under way: the message by which its last page was asked for, and how the pages before it ended. */
export type Paging = {
  readonly search: Search;
  readonly size: number;
  lastId: number | null;
  readonly ends: Map<number, PageEnd>;
};

const maxEmptyPages = 1_000;
const maxPagesKnown = 200_000;

/** Empty after the last page. A missing control is no answer: the rest of the directory may be missing with it. */
export function nextCookie(result: LdapResult, doing: string): Buffer {
  const value = result.controls.get(controlOids.paged);
  if (value !== undefined) return readPageCookie(value);
  throw new RollcallError(
    'directory_incomplete',
    `The server stopped saying whether more pages follow (while ${doing}).`,
    {
      remedy: 'If this server does not support paged results, set the page size to 0.',
      raw: 'paging control missing',
    },
  );
}

/**
 * Stops a server that hands out the same page for ever. The cookie alone does not tell: 389-ds uses one cookie for all
 * pages of a search. The same cookie before the same first entry does, and so do very many pages without any entry.
 */
export class LoopGuard {
  readonly #doing: string;
  readonly #seen = new Set<string>();
  #firstDn = '';
  #emptyPages = 0;
  #lastCookie = '';

  constructor(doing: string) {
    this.#doing = doing;
  }

  saw(entries: readonly LdapEntry[]): void {
    if (this.#firstDn === '' && entries.length > 0) this.#firstDn = entries[0]?.dn ?? '';
  }

  turnPage(cookie: Buffer): void {
    const page = createHash('sha256').update(`${this.#lastCookie} ${this.#firstDn}`).digest('base64url');
    this.#emptyPages = this.#firstDn === '' ? this.#emptyPages + 1 : 0;
    const isRepeated = this.#firstDn !== '' && this.#seen.has(page);
    if (isRepeated || this.#emptyPages > maxEmptyPages) {
      throw new RollcallError(
        'directory_protocol',
        `The server hands out the same page again and again (while ${this.#doing}).`,
        {
          raw: isRepeated ? 'repeated page' : `${this.#emptyPages} pages without entries`,
        },
      );
    }
    // A circle longer than that is found later, never missed: the set is only begun anew.
    if (this.#seen.size >= maxPagesKnown) this.#seen.clear();
    this.#seen.add(page);
    this.#lastCookie = cookie.toString('base64');
    this.#firstDn = '';
  }
}
