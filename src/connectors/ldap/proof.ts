/**
 * What became of objects that a full read did not show. Looked up by immutable id from the root of the tree, so that a
 * move or a changed filter is told from a deletion. Whatever can not be asked is `unknown`, and nobody acts on that.
 */
import type { ObjectKind } from '../../core/vocabulary.ts';
import { isRollcallError } from '../../core/errors.ts';
import type { AbsenceVerdict } from '../contract/contract.ts';
import type { Directory, Place } from './directory.ts';
import { dnKey, isKeyBelow } from './dn.ts';
import { allOf, anyOf, equals, isPresent } from './filter.ts';
import type { LdapFilter } from './filter.ts';
import { pagedWhole } from './ranged.ts';

const anchorsPerSearch = 50;

export async function* proveBySearch(
  directory: Directory,
  kind: ObjectKind,
  anchors: readonly string[],
  pageSize: number,
): AsyncGenerator<AbsenceVerdict> {
  const place = kind === 'user' ? directory.users : directory.groups;
  const asked = [...new Set(anchors)];
  if (!(await isVisible(directory, place))) {
    for (const anchor of asked) yield { anchor, verdict: 'unknown' };
    return;
  }
  if (!directory.anchors.isSearchable) {
    yield* proveBySweep(directory, place, asked, pageSize);
    return;
  }
  for (let at = 0; at < asked.length; at += anchorsPerSearch) {
    const part = asked.slice(at, at + anchorsPerSearch);
    const byId = anyOf(...part.flatMap((anchor) => idFilter(directory, anchor)));
    yield* verdictsOf(directory, place, part, byId, pageSize);
  }
}

function idFilter({ anchors, profile }: Directory, anchor: string): LdapFilter[] {
  const value = anchors.toValue(anchor);
  return value === null ? [] : [equals(profile.idAttribute, value)];
}

/** An account that lost its rights sees an empty tree: then the base itself is gone too, and nothing is proven. */
async function isVisible({ session }: Directory, { base }: Place): Promise<boolean> {
  try {
    const filter = isPresent('objectClass');
    const found = await session.find({
      base,
      scope: 'base',
      filter,
      attributes: ['1.1'],
      doing: 'looking at the base',
    });
    return found.length === 1;
  } catch (error) {
    if (isRollcallError(error, 'directory_not_found') || isRollcallError(error, 'directory_permission')) return false;
    throw error;
  }
}

async function* verdictsOf(
  directory: Directory,
  place: Place,
  part: readonly string[],
  byId: LdapFilter,
  pageSize: number,
): AsyncGenerator<AbsenceVerdict> {
  const anywhere = await seen(directory, { base: rootOf(directory, place.base), filter: byId }, pageSize);
  const inScope = await seen(directory, { base: place.base, filter: allOf(place.filter, byId) }, pageSize);
  for (const anchor of part) yield { anchor, verdict: verdictOf(directory, anchor, anywhere, inScope) };
}

function verdictOf(
  directory: Directory,
  anchor: string,
  anywhere: ReadonlySet<string>,
  inScope: ReadonlySet<string>,
): AbsenceVerdict['verdict'] {
  if (inScope.has(anchor)) return 'present';
  if (anywhere.has(anchor)) return 'out_of_scope';
  // Not an id of this directory at all (another idAttribute before): nothing is proven about it.
  if (directory.anchors.toValue(anchor) === null) return 'unknown';
  // A server that does not tell where its trees begin was searched below the base only.
  return directory.rootDse.namingContexts.length === 0 ? 'out_of_scope' : 'deleted';
}

/** Ids whose matching rule may mind the case of our lower-case anchors: one complete pass over all ids instead. */
async function* proveBySweep(
  directory: Directory,
  place: Place,
  asked: readonly string[],
  pageSize: number,
): AsyncGenerator<AbsenceVerdict> {
  const hasId = isPresent(directory.profile.idAttribute);
  yield* verdictsOf(directory, place, asked, hasId, pageSize);
}

async function seen(directory: Directory, place: Place, pageSize: number): Promise<Set<string>> {
  const found = new Set<string>();
  const search = {
    base: place.base,
    scope: 'sub' as const,
    filter: place.filter,
    attributes: [directory.profile.idAttribute],
    doing: 'looking for absent objects by id',
  };
  for await (const entries of pagedWhole(directory.session, search, pageSize)) {
    for (const entry of entries) {
      const anchor = directory.anchors.read(entry);
      if (anchor !== null) found.add(anchor);
    }
  }
  return found;
}

/** The topmost naming context above the base; the base itself when the server names none. */
export function rootOf(directory: Directory, base: string): string {
  return contextsAbove(directory, base)[0] ?? base;
}

/** The naming context that holds the base. */
export function contextOf(directory: Directory, base: string): string | null {
  return contextsAbove(directory, base).at(-1) ?? null;
}

function contextsAbove({ rootDse }: Directory, base: string): string[] {
  const key = dnKey(base);
  const above = rootDse.namingContexts.filter((context) => context !== '' && isKeyBelow(key, dnKey(context)));
  return above.toSorted((a, b) => a.length - b.length);
}
