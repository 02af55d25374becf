/**
 * Many small questions in one request (Graph "JSON batching"): up to 20, answered in any order, each with a status of
 * its own; the 200 outside says nothing about them.
 */
import { RollcallError } from '../../core/errors.ts';
import type { JsonObject } from './graph-session.ts';
import type { Patience } from './patience.ts';
import { TryAgain, parseRetryAfter } from './patience.ts';
import { isTransientStatus } from './reply-checks.ts';

export const mostParts = 20;

/** The body, or null for what is not there (404). */
export type PartAnswer = JsonObject | null;
type Post = (body: unknown) => Promise<JsonObject>;

function fault(message: string, raw: string): RollcallError {
  return new RollcallError('directory_protocol', message, { raw, remedy: 'Nothing was changed.' });
}

function readParts(body: JsonObject): readonly JsonObject[] {
  const { responses } = body;
  if (!Array.isArray(responses)) throw fault('Microsoft Graph answered a batch without answers.', 'responses');
  return (responses as unknown[]).filter((part): part is JsonObject => typeof part === 'object' && part !== null);
}

function retryAfterOf(part: JsonObject, now: Date): number | null {
  const headers = (part['headers'] ?? {}) as JsonObject;
  const entry = Object.entries(headers).find(([name]) => name.toLowerCase() === 'retry-after');
  return parseRetryAfter(typeof entry?.[1] === 'string' ? entry[1] : undefined, now);
}

/** Paths below /v1.0, 20 at most; in their order. Parts that were throttled or failed for a moment are asked again. */
export async function getParts(
  paths: readonly string[],
  post: Post,
  patience: Patience,
  now: () => Date,
): Promise<readonly PartAnswer[]> {
  const answers = new Map<string, PartAnswer>();
  await patience.during('$batch', async () => {
    const open = paths
      .map((url, index) => ({ id: String(index), method: 'GET', url }))
      .filter(({ id }) => !answers.has(id));
    let later: { readonly status: number; readonly seconds: number | null } | null = null;
    for (const part of readParts(await post({ requests: open }))) {
      const { id, status, body } = part;
      if (typeof id !== 'string' || typeof status !== 'number')
        throw fault('A part of a batch has no status.', 'status');
      if (isTransientStatus(status)) later = { status, seconds: retryAfterOf(part, now()) };
      else answers.set(id, readPart(status, body, paths[Number(id)] ?? ''));
    }
    if (later !== null) throw new TryAgain(postponed(later));
    const missing = open.find(({ id }) => !answers.has(id));
    if (missing !== undefined) throw new TryAgain(fault('Microsoft Graph left out parts of a batch.', missing.url));
  });
  return paths.map((_path, index) => answers.get(String(index)) ?? null);
}

function readPart(status: number, body: unknown, path: string): PartAnswer {
  if (status === 404) return null;
  if (status === 200 && typeof body === 'object' && body !== null) return body as JsonObject;
  if (status === 403) {
    throw new RollcallError('directory_permission', `The application may not read ${path.split('?')[0] ?? path}.`, {
      raw: 'HTTP 403',
      remedy: 'Add the application permission User.Read.All and grant admin consent.',
    });
  }
  throw fault(`Microsoft Graph refused ${path.split('?')[0] ?? path} (HTTP ${status}).`, `HTTP ${status}`);
}

function postponed({ status, seconds }: { readonly status: number; readonly seconds: number | null }): RollcallError {
  const isThrottled = status === 429;
  return new RollcallError(
    isThrottled ? 'directory_throttled' : 'directory_unreachable',
    isThrottled ? 'Microsoft Graph throttles parts of a batch.' : 'Parts of a batch failed for a moment.',
    { raw: `HTTP ${status}`, ...(seconds === null ? {} : { retryAfterSeconds: Math.max(1, seconds) }) },
  );
}
