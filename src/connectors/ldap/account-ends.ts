/** The next moment at which an account ends by itself: a change that no feed of changes tells about. */
import type { LdapEntry } from './entry.ts';
import type { ReadOptions } from './objects.ts';

export class AccountEnds {
  readonly #options: ReadOptions;
  next: Date | null = null;

  constructor(options: ReadOptions) {
    this.#options = options;
  }

  see(entry: LdapEntry): void {
    const end = this.#options.directory.profile.accounts.endsAt(entry);
    if (end !== null) this.add(end);
  }

  /** Ends that have passed are in the objects that were just read. */
  add(end: Date): void {
    if (end > this.#options.now && (this.next === null || end < this.next)) this.next = end;
  }
}
