/**
 * Managers, where a mapping reads `object.manager`: the id of the manager, or nothing. A delta page names it only when
 * it changed, also where everything else of a user comes whole (microsoft-graph-explorer issue 4018), so in a delta
 * read the manager of a user whose page does not say is asked for. In a full round it is said once, perhaps on another
 * page than the rest of the user (microsoft-graph-docs issue 6786).
 */
import type { PageItem } from './delta-page.ts';
import { isGuid } from './delta-page.ts';
import { mostParts } from './graph-batch.ts';
import type { GraphSession, JsonObject } from './graph-session.ts';

export type Managers = (items: readonly PageItem[]) => Promise<ReadonlyMap<string, string | null>>;

/** What the page says: an id, null when the manager was taken away, undefined when it does not say. */
export function managerIn(raw: JsonObject): string | null | undefined {
  const changes = raw['manager@delta'];
  if (!Array.isArray(changes)) return undefined;
  let manager: string | null = null;
  for (const change of changes as unknown[]) {
    const { id, '@removed': removed } = (change ?? {}) as JsonObject;
    if (removed === undefined && isGuid(id)) manager = id.toLowerCase();
  }
  return manager;
}

export function managersOf(session: GraphSession, isFull: boolean): Managers {
  const known = new Map<string, string | null>();
  return async (items) => {
    const living = items.filter((item) => item.removed === null);
    for (const { id, raw } of living) {
      const said = managerIn(raw);
      if (said !== undefined) known.set(id, said);
    }
    const unknown = isFull ? [] : [...new Set(living.map(({ id }) => id))].filter((id) => !known.has(id));
    for (let from = 0; from < unknown.length; from += mostParts) {
      const ids = unknown.slice(from, from + mostParts);
      const answers = await session.getParts(ids.map((id) => `/users/${id}/manager?$select=id`));
      for (const [index, id] of ids.entries()) {
        const manager = answers[index]?.['id'];
        known.set(id, isGuid(manager) ? manager.toLowerCase() : null);
      }
    }
    return new Map(living.map(({ id }) => [id, known.get(id) ?? null]));
  };
}
