/**
 * Positive proof of a deletion: POST /directoryObjects/getByIds returns the objects that live; soft-deleted ones are
 * not among them. Only an answered request proves anything.
 */
import { RollcallError } from '../../core/errors.ts';
import type { ObjectKind } from '../../core/vocabulary.ts';
import type { AbsenceVerdict } from '../contract/contract.ts';
import { isGuid } from './delta-page.ts';
import type { GraphSession } from './graph-session.ts';

/** Graph "directoryObject: getByIds": up to 1,000 ids. */
const batchSize = 1_000;

export async function* proveByIds(
  session: GraphSession,
  kind: ObjectKind,
  anchors: readonly string[],
): AsyncGenerator<AbsenceVerdict> {
  const unique = [...new Set(anchors)];
  // Not an id of this directory: asking would make Graph refuse the whole batch.
  for (const anchor of unique) if (!isGuid(anchor)) yield { anchor, verdict: 'unknown' };
  const ids = unique.filter(isGuid);
  for (let from = 0; from < ids.length; from += batchSize) {
    const batch = ids.slice(from, from + batchSize);
    const url = `${session.graphUrl}/v1.0/directoryObjects/getByIds`;
    const page = await session.postForPage(url, { ids: batch, types: [kind] });
    if (page['@odata.nextLink'] !== undefined) {
      // Documented to come whole. A part of it would turn the living into the deleted.
      throw new RollcallError('directory_protocol', 'Microsoft Graph answered a question about ids only in part.', {
        raw: '@odata.nextLink',
        remedy: 'Nothing was changed.',
      });
    }
    const living = new Set((page['value'] as readonly unknown[]).map(idOf));
    for (const anchor of batch) yield { anchor, verdict: living.has(anchor.toLowerCase()) ? 'present' : 'deleted' };
  }
}

function idOf(entry: unknown): string | null {
  const id: unknown = typeof entry === 'object' && entry !== null ? Reflect.get(entry, 'id') : null;
  return isGuid(id) ? id.toLowerCase() : null;
}
