/** Objects by GUID, as far as they lie under a base and match its filter. */
import type { Control } from 'ldapts';
import type { Place } from './directory.ts';
import type { LdapEntry } from './entry.ts';
import { allOf, anyOf, equals } from './filter.ts';
import { anchorOf } from './objects.ts';
import type { ReadOptions } from './objects.ts';
import { pagedWhole } from './ranged.ts';

const guidsPerSearch = 50;

export type LookUp = {
  readonly place: Place;
  readonly attributes: readonly string[];
  readonly controls?: readonly Control[];
  readonly doing: string;
};

export type LookedUp = { readonly found: readonly LdapEntry[]; readonly missing: readonly string[] };

/** Every GUID is in exactly one of the lists, once. */
export async function* lookUpByGuid(
  { directory, pageSize }: ReadOptions,
  { place, ...search }: LookUp,
  guids: readonly string[],
): AsyncGenerator<LookedUp> {
  const { session, anchors, profile } = directory;
  for (let at = 0; at < guids.length; at += guidsPerSearch) {
    const part = guids.slice(at, at + guidsPerSearch);
    const byId = anyOf(
      ...part.flatMap((guid) => anchors.toValue(guid) ?? []).map((id) => equals(profile.idAttribute, id)),
    );
    const found: LdapEntry[] = [];
    const filter = allOf(place.filter, byId);
    const missing = new Set(part);
    for await (const entries of pagedWhole(session, { ...search, base: place.base, scope: 'sub', filter }, pageSize)) {
      for (const entry of entries) if (missing.delete(anchorOf(directory, entry))) found.push(entry);
    }
    yield { found, missing: [...missing] };
  }
}
