/**
 * POST /v1.0/$batch (Graph "JSON batching"): up to 20 requests, answered in any order, each with its own status, each
 * throttled on its own; the 200 outside says nothing. A request whose `dependsOn` failed is 424.
 */
import type { GraphRequest } from './graph-request.ts';
import type { Random } from './random.ts';
import type { Reply } from './reply.ts';
import { graphError, json } from './reply.ts';

const mostParts = 20;

type Part = {
  readonly id?: unknown;
  readonly method?: unknown;
  readonly url?: unknown;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: unknown;
  readonly dependsOn?: readonly string[];
};

const failedDependency = (): Reply =>
  graphError(424, 'FailedDependency', 'A request that this one depends on has failed.');

function readParts(body: string): readonly Part[] | null {
  try {
    const { requests } = JSON.parse(body) as { requests?: unknown };
    return Array.isArray(requests) ? (requests as Part[]) : null;
  } catch {
    return null;
  }
}

function toRequest(part: Part): GraphRequest | null {
  if (typeof part.url !== 'string' || !part.url.startsWith('/') || typeof part.method !== 'string') return null;
  const [path = '', query = ''] = part.url.split('?');
  const headers = Object.fromEntries(
    Object.entries(part.headers ?? {}).map(([name, value]) => [name.toLowerCase(), value]),
  );
  const body = part.body === undefined ? '' : JSON.stringify(part.body);
  return { method: part.method, path, query, headers, body };
}

export function answerBatch(body: string, random: Random, answer: (request: GraphRequest) => Reply): Reply {
  const parts = readParts(body);
  if (parts === null) return graphError(400, 'BadRequest', 'Invalid batch payload format.');
  if (parts.length > mostParts) return graphError(400, 'BadRequest', 'The number of requests exceeds 20.');
  const ids = parts.map((part) => part.id);
  if (new Set(ids).size < ids.length || ids.some((id) => typeof id !== 'string')) {
    return graphError(400, 'BadRequest', 'Each request needs an id of its own.');
  }
  const replies = new Map<string, Reply>();
  for (const part of parts) {
    const request = toRequest(part);
    const isBlocked = (part.dependsOn ?? []).some((id) => (replies.get(id)?.status ?? 424) >= 400);
    const reply = isBlocked
      ? failedDependency()
      : request === null
        ? graphError(400, 'BadRequest', 'The url of a request must be relative.')
        : answer(request);
    replies.set(String(part.id), reply);
  }
  const responses = [...replies].map(([id, { status, headers, body: answered }]) => ({
    id,
    status,
    headers: { 'Content-Type': 'application/json', ...headers },
    body: answered,
  }));
  return json({ responses: random.shuffle(responses) });
}
