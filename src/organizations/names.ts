/** organizations/names: names, slugs and domains as text. Pure. */
import { RollcallError } from '../core/errors.ts';
import { textKey } from '../core/text-keys.ts';

/** A DNS label, because the slug is one in the built-in domain (RFC 1035 section 2.3.1, RFC 1123 section 2.1). */
const label = /^[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?$/;

export function checkName(text: string): string {
  const name = text.trim();
  if (name !== '' && name.length <= 200) return name;
  throw new RollcallError('invalid_input', 'An organization needs a name of 1 to 200 characters.', {
    details: { path: 'name' },
  });
}

export function checkSlug(text: string): string {
  if (label.test(text)) return text;
  throw new RollcallError('invalid_input', `"${text}" can not be a slug.`, {
    remedy: 'Use a-z, 0-9 and -, at most 63 characters, beginning and ending with a letter or digit.',
    details: { path: 'slug' },
  });
}

/** `Contoso Ltd. (EMEA)` -> `contoso-ltd-emea`; a name without any Latin letter or digit must bring its slug. */
export function slugOf(name: string): string {
  const slug = name
    .normalize('NFKD')
    .replaceAll(/\p{M}/gu, '')
    .toLowerCase()
    .replaceAll(/[^a-z0-9]+/g, '-')
    .slice(0, 50)
    .replaceAll(/^-+|-+$/g, '');
  if (slug !== '') return slug;
  throw new RollcallError('invalid_input', `No slug can be made of the name "${name}".`, {
    remedy: 'Give a slug of a-z, 0-9 and -.',
    details: { path: 'slug' },
  });
}

export function builtInDomain(slug: string, baseDomain: string): string {
  return `${slug}.${checkDomain(baseDomain)}`;
}

/** Lower case, A-labels, at least two labels, no trailing dot. */
export function checkDomain(text: string): string {
  const name = textKey(text)?.replace(/\.$/, '') ?? '';
  const labels = name.split('.');
  const isWhole = labels.length >= 2 && name.length <= 253 && labels.every((part) => label.test(part));
  if (isWhole && !/^\d+$/.test(labels.at(-1) ?? '')) return name;
  throw new RollcallError('invalid_input', `"${text}" is not a domain name.`, {
    remedy: 'Write it like contoso.com; an internationalized name in its xn-- form.',
    details: { path: 'name' },
  });
}
