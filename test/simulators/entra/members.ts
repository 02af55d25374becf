/** Members of a group: direct and transitive, by type, counted; transitive ones come from the lagging index. */
import type { DeltaContext } from './delta-rounds.ts';
import type { GraphRequest } from './graph-request.ts';
import { isEventual, plain } from './graph-request.ts';
import type { ListItem } from './list-pages.ts';
import { answerPage, refuseAdvanced } from './list-pages.ts';
import type { Reply } from './reply.ts';
import { graphError } from './reply.ts';
import type { DirectoryEntry, Edge, MemberType } from './tenant-state.ts';

type Member = { readonly id: string; readonly type: MemberType };

function directMembers(context: DeltaContext, group: DirectoryEntry, seen: number): Member[] {
  const isShown = (edge: Edge): boolean =>
    // an edge younger than what the index knows is not in it; one that ended after that still is
    (edge.changedAt <= seen ? edge.isPresent : !edge.isPresent) &&
    (context.state.isLive(edge.memberId) || !context.state.entries.has(edge.memberId));
  return [...group.edges.values()].filter(isShown).map((edge) => ({ id: edge.memberId, type: edge.type }));
}

/** Flat, each once, safe against cycles; a group is not its own member. */
function transitiveMembers(context: DeltaContext, group: DirectoryEntry, seen: number): Member[] {
  const found = new Map<string, Member>();
  const queue = [group];
  for (let next = queue.shift(); next !== undefined; next = queue.shift()) {
    for (const member of directMembers(context, next, seen)) {
      if (found.has(member.id) || member.id === group.id) continue;
      found.set(member.id, member);
      const nested = context.state.entries.get(member.id);
      if (nested?.type === 'group') queue.push(nested);
    }
  }
  return [...found.values()];
}

export function answerMembers(context: DeltaContext, request: GraphRequest): Reply {
  const [, , id = '', relation, ...rest] = request.path.split('/');
  const group = context.state.entries.get(id);
  if (group?.type !== 'group' || group.deletion !== null) {
    return graphError(404, 'Request_ResourceNotFound', 'Resource does not exist.');
  }
  const isCount = rest.at(-1) === '$count';
  const cast = rest.find((part) => part.startsWith('microsoft.graph.'))?.replace('microsoft.graph.', '');
  const parameters = new URLSearchParams(request.query);
  const needsIndex = isCount || cast !== undefined;
  const isCounted = isCount || parameters.get('$count') === 'true';
  if (needsIndex && !(isEventual(request) && isCounted)) {
    return graphError(400, 'Request_UnsupportedQuery', 'Unsupported Query.');
  }
  const refused = refuseAdvanced(request.query, isEventual(request));
  if (refused !== null) return refused;
  const lag = isEventual(request) ? context.behavior.indexLag : 0;
  const seen = context.state.sequence() - lag;
  const list = relation === 'members' ? directMembers : transitiveMembers;
  const members = list(context, group, seen).filter((member) => cast === undefined || member.type === cast);
  if (isCount) return plain(members.length);
  const items = members
    .toSorted((a, b) => (a.id < b.id ? -1 : 1))
    .map((member): ListItem => ({
      key: member.id,
      render: () => ({ '@odata.type': `#microsoft.graph.${member.type}`, id: member.id }),
    }));
  return answerPage(context, request, items);
}

/** The groups a user is a direct member of; both halves are asked for permission by the route. */
export function answerMemberOf(context: DeltaContext, request: GraphRequest): Reply {
  const [, , id = ''] = request.path.split('/');
  if (!context.state.isLive(id)) return graphError(404, 'Request_ResourceNotFound', 'Resource does not exist.');
  const groups = [...context.state.entries.values()].filter(
    (entry) => entry.type === 'group' && entry.deletion === null && entry.edges.get(id)?.isPresent === true,
  );
  const items = groups.map((group): ListItem => ({
    key: group.id,
    render: () => ({ '@odata.type': '#microsoft.graph.group', id: group.id }),
  }));
  return answerPage(
    context,
    request,
    items.toSorted((a, b) => (a.key < b.key ? -1 : 1)),
  );
}
