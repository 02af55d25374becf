/**
 * Distinguished names (RFC 4514) as keys: two spellings of one name must give one text. Case, spaces around separators,
 * runs of spaces, escapes and the order inside a multi-valued RDN do not count (caseIgnoreMatch, RFC 4518).
 */

/** A name with one of these needs parsing; for all others, nearly every name a server prints, lower case is enough. */
const needsParsing = /[\\"#;+<>\u0080-\uffff]|\s[\s,=]|[,=]\s|^\s|\s$|[^\S ]/;

/** A key for look-up, never for display. A text that is no DN gets a key as well: it just equals no real name. */
export function dnKey(dn: string): string {
  if (!needsParsing.test(dn)) return dn.toLowerCase();
  return splitRdns(dn)
    .map((rdn) => rdn.map(partKey).toSorted().join('+'))
    .join(',');
}

/** True when `dn` is `base` or lies below it; both as keys. */
export function isKeyBelow(key: string, baseKey: string): boolean {
  return baseKey === '' || key === baseKey || key.endsWith(`,${baseKey}`);
}

/** One attribute value for use in a DN (RFC 4514 section 2.4). */
export function escapeRdnValue(value: string): string {
  return value.replace(/^[ #]|[ ]$|[",+;<>\\=\0]/g, (sign) => (sign === '\0' ? '\\00' : `\\${sign}`));
}

type Part = { readonly type: string; readonly value: string };

function partKey({ type, value }: Part): string {
  const folded = value.normalize('NFKC').toLowerCase().replace(/\s+/g, ' ').trim();
  // Whatever separates parts is escaped again, so that a comma in a value is no separator in the key.
  return `${type.trim().toLowerCase()}=${folded.replace(/[\\,+]/g, (sign) => `\\${sign}`)}`;
}

function splitRdns(dn: string): Part[][] {
  const rdns: Part[][] = [];
  let rdn: Part[] = [];
  for (const { text, separator } of splitParts(dn)) {
    rdn.push(readPart(text));
    if (separator === '+') continue;
    rdns.push(rdn);
    rdn = [];
  }
  return rdns;
}

/** Cuts at separators that are neither escaped nor quoted (`;` and quotes: RFC 2253 section 4). */
function splitParts(dn: string): { text: string; separator: string }[] {
  const parts: { text: string; separator: string }[] = [];
  let start = 0;
  let isQuoted = false;
  for (let at = 0; at < dn.length; at += 1) {
    const sign = dn[at] ?? '';
    if (sign === '\\') at += 1;
    else if (sign === '"') isQuoted = !isQuoted;
    else if (!isQuoted && (sign === ',' || sign === ';' || sign === '+')) {
      parts.push({ text: dn.slice(start, at), separator: sign });
      start = at + 1;
    }
  }
  parts.push({ text: dn.slice(start), separator: '' });
  return parts;
}

function readPart(text: string): Part {
  const sign = text.indexOf('=');
  if (sign === -1) return { type: '', value: text };
  return { type: text.slice(0, sign), value: readValue(trimUnescaped(text.slice(sign + 1))) };
}

/** Outer spaces do not count unless the last one is escaped. */
function trimUnescaped(text: string): string {
  const start = text.trimStart();
  const end = start.trimEnd();
  const backslashes = /\\*$/.exec(end)?.[0].length ?? 0;
  return backslashes % 2 === 1 ? `${end} ` : end;
}

/** `#04...` is BER in hexadecimal (RFC 4514 section 2.4): the content of the octets, if it is a text. */
function readValue(text: string): string {
  if (/^#(?:[0-9a-f]{2})+$/i.test(text)) {
    const bytes = Buffer.from(text.slice(1), 'hex');
    return bytes.length >= 2 && bytes.length === 2 + (bytes[1] ?? 0) ? bytes.toString('utf8', 2) : text;
  }
  const bare = text.startsWith('"') && text.endsWith('"') && text.length > 1 ? text.slice(1, -1) : text;
  return bare.replace(/(?:\\[0-9a-f]{2})+|\\([^])/gi, (all, sign: string | undefined) =>
    sign === undefined ? Buffer.from(all.replaceAll('\\', ''), 'hex').toString('utf8') : sign,
  );
}
