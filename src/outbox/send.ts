/** outbox/send: one POST over node:https. It follows no redirect, checks the peer's address, reads no more than it must. */
import { request as httpsRequest, type Agent } from 'node:https';
import { RollcallError } from '../core/errors.ts';
import type { Dialer } from '../platform/dialer.ts';

export type WebhookRequest = {
  readonly url: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
  /** Carries the time limit. */
  readonly signal: AbortSignal;
};

/** Resolves with the answer's status, redirects included; rejects when there was no answer. */
export type WebhookSend = (request: WebhookRequest) => Promise<{ readonly status: number }>;

/** One sender per process: `dialer` checks every address, so a webhook can not reach into the operator's network. */
export function createHttpsSend({ dialer }: { readonly dialer: Pick<Dialer, 'agent'> }): WebhookSend {
  const agent = dialer.agent({ keepAlive: false });
  return async (request) => {
    const url = new URL(request.url);
    if (url.protocol !== 'https:') {
      throw new RollcallError('invalid_input', 'A webhook must be an https address.', { raw: url.protocol });
    }
    return post(url, request, agent);
  };
}

function post(url: URL, request: WebhookRequest, agent: Agent): Promise<{ readonly status: number }> {
  return new Promise((resolve, reject) => {
    const outgoing = httpsRequest(
      url,
      {
        method: 'POST',
        headers: { ...request.headers, 'content-length': String(Buffer.byteLength(request.body)) },
        signal: request.signal,
        agent,
      },
      (answer) => {
        // the status is the answer; a body, however long, is not read
        resolve({ status: answer.statusCode ?? 0 });
        answer.destroy();
      },
    );
    outgoing.on('error', reject);
    outgoing.end(request.body);
  });
}
