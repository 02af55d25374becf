/** platform/send-stream: an answer of unknown length, no faster than its client reads it. */
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import type { Request, Response } from 'express';
import type { StreamedAnswer } from './route.ts';

/** A client that takes nothing for this long is gone; streams that have nothing to say send comments more often. */
const silentClientMs = 60_000;

/** Throws what the body throws: the caller cuts the connection then, so that half an answer is never taken for a whole one. */
export async function sendStream(request: Request, response: Response, answer: StreamedAnswer): Promise<void> {
  response.set(answer.headers);
  if (answer.body === null) {
    response.status(204).end();
    return;
  }
  response.status(200);
  if (request.method === 'HEAD') {
    response.end();
    return;
  }
  response.flushHeaders();
  response.setTimeout(silentClientMs, () => {
    response.destroy();
  });
  try {
    await pipeline(Readable.from(answer.body, { objectMode: true, highWaterMark: 1 }), response);
  } catch (error) {
    // a client that went away is no fault of anybody's, and there is nobody left to tell
    if (!isPremature(error)) throw error;
  }
}

function isPremature(error: unknown): boolean {
  return error instanceof Error && 'code' in error && error.code === 'ERR_STREAM_PREMATURE_CLOSE';
}
