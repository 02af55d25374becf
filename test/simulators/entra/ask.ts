/** The plainest client of the simulator, for its own tests: no retries, no checks, no product code. */
import { Agent, request } from 'node:https';
import type { EntraSimulator } from './entra.ts';

export type Answer = {
  readonly status: number;
  readonly headers: Readonly<Record<string, unknown>>;
  readonly body: Record<string, unknown>;
};

export type AskOptions = {
  readonly method?: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string;
};

export type Ask = {
  (path: string, options?: AskOptions): Promise<Answer>;
  close(): void;
};

/** Throws when the connection breaks off; an answer that is no JSON object has its text as `text`. */
export function createAsk(simulator: EntraSimulator, token: () => string): Ask {
  const agent = new Agent({ keepAlive: true, ca: simulator.caPem });
  const ask = async (path: string, options: AskOptions = {}): Promise<Answer> =>
    new Promise<Answer>((resolve, reject) => {
      const headers = { authorization: `Bearer ${token()}`, ...options.headers };
      const url = path.startsWith('https://') ? path : `${simulator.url}${path}`;
      const outgoing = request(url, { agent, method: options.method ?? 'GET', headers });
      outgoing.on('error', reject);
      outgoing.on('response', (incoming) => {
        const chunks: Buffer[] = [];
        incoming.on('data', (chunk: Buffer) => chunks.push(chunk));
        incoming.on('error', reject);
        incoming.on('end', () => {
          try {
            const text = Buffer.concat(chunks).toString('utf8');
            const body = text.startsWith('{') ? (JSON.parse(text) as Record<string, unknown>) : { text };
            resolve({ status: incoming.statusCode ?? 0, headers: { ...incoming.headers }, body });
          } catch (error) {
            reject(error instanceof Error ? error : new Error(String(error)));
          }
        });
      });
      outgoing.end(options.body);
    });
  return Object.assign(ask, { close: () => agent.destroy() });
}

export const codeOf = (answer: Answer): unknown => (answer.body['error'] as { code?: unknown } | undefined)?.code;

export const valueOf = (answer: Answer): Record<string, unknown>[] => answer.body['value'] as Record<string, unknown>[];
