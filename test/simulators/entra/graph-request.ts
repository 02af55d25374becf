/** A request to Graph, on its own or as a part of a batch. */
import type { Reply } from './reply.ts';

export type GraphRequest = {
  readonly method: string;
  /** Below /v1.0, without the query. */
  readonly path: string;
  readonly query: string;
  readonly headers: Readonly<Record<string, string | undefined>>;
  readonly body: string;
};

export function isEventual(request: GraphRequest): boolean {
  return request.headers['consistencylevel']?.toLowerCase() === 'eventual';
}

/** What `/$count` answers. */
export const plain = (count: number): Reply => ({
  status: 200,
  headers: { 'content-type': 'text/plain' },
  body: String(count),
});
