/**
 * Normalized keys for look-up and uniqueness. Stored beside the text they come from, in collation "C", because under
 * row-level security Postgres uses an index only for leakproof operators (design.md section 5).
 */

/** NFKC, trimmed, lower case: the form in which two spellings of one name are equal. Empty becomes null. */
export function textKey(text: string | null | undefined): string | null {
  if (text === null || text === undefined) return null;
  const key = text.normalize('NFKC').trim().toLowerCase();
  return key === '' ? null : key;
}

/** The part after the last @ of an address, as a key; null when there is none. */
export function domainOf(address: string | null | undefined): string | null {
  const key = textKey(address);
  if (key === null) return null;
  const at = key.lastIndexOf('@');
  return at > 0 && at < key.length - 1 ? key.slice(at + 1) : null;
}
