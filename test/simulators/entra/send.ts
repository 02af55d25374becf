/** Puts an answer on the wire, with the faults that are faults of the connection rather than of the answer. */
import type { ServerResponse } from 'node:http';
import { createGzip, gzipSync } from 'node:zlib';
import type { Fault, FaultType } from './faults.ts';
import type { Reply } from './reply.ts';

const megabyte = 1_048_576;

type Answer = {
  readonly outgoing: ServerResponse;
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Buffer;
  readonly reset: () => void;
};

const whole = ({ headers, body }: Answer): Record<string, string> => ({
  ...headers,
  'content-length': String(body.length),
});

function sendHalf(answer: Answer, end: () => void): void {
  const { outgoing, status, body } = answer;
  outgoing.writeHead(status, whole(answer)).write(body.subarray(0, Math.floor(body.length / 2)), end);
}

const senders: Partial<Record<FaultType, (answer: Answer) => void>> = {
  hang: () => undefined,
  reset: ({ reset }) => reset(),
  truncated: (answer) => sendHalf(answer, () => void answer.outgoing.socket?.destroy()),
  reset_in_body: (answer) => sendHalf(answer, answer.reset),
  drip: (answer) => drip(answer.outgoing.writeHead(answer.status, whole(answer)), answer.body),
  // white space, valid JSON if anybody ever waited for its end
  huge: ({ outgoing, status, headers }) =>
    repeat(outgoing.writeHead(status, headers), Buffer.alloc(megabyte, 0x20), 100, Buffer.from('{}')),
  // small on the wire, large once it is parsed: every three bytes become an object
  json_bomb: ({ outgoing, status, headers }) => {
    outgoing.writeHead(status, headers).write('{"value":[{}');
    repeat(outgoing, Buffer.alloc(megabyte - 1, ',{}'), 100, Buffer.from(']}'));
  },
  gzip: ({ outgoing, status, headers, body }) =>
    outgoing.writeHead(status, { ...headers, 'content-encoding': 'gzip' }).end(gzipSync(body)),
  gzip_bomb: ({ outgoing, status, headers }) =>
    sendBomb(outgoing.writeHead(status, { ...headers, 'content-encoding': 'gzip' })),
};

export function send(outgoing: ServerResponse, reply: Reply, fault: Fault | null, reset: () => void): void {
  const text = typeof reply.body === 'string' ? reply.body : JSON.stringify(reply.body);
  const headers = { 'content-type': 'application/json', ...reply.headers };
  const answer: Answer = { outgoing, status: reply.status, headers, body: Buffer.from(text, 'utf8'), reset };
  const sendFaulty = fault === null ? undefined : senders[fault.type];
  if (sendFaulty === undefined) outgoing.writeHead(reply.status, whole(answer)).end(answer.body);
  else sendFaulty(answer);
}

function repeat(outgoing: ServerResponse, block: Buffer, times: number, end: Buffer): void {
  let left = times;
  const more = (): void => {
    if (outgoing.destroyed) return;
    if (left === 0) {
      outgoing.end(end);
      return;
    }
    left -= 1;
    outgoing.write(block, more);
  };
  more();
}

/** A gigabyte in a megabyte. */
function sendBomb(outgoing: ServerResponse): void {
  const gzip = createGzip({ level: 9 });
  gzip.pipe(outgoing);
  const block = Buffer.alloc(megabyte, 0x20);
  let left = 1_024;
  const more = (): void => {
    if (outgoing.destroyed) {
      gzip.destroy();
      return;
    }
    if (left === 0) {
      gzip.end('{}');
      return;
    }
    left -= 1;
    gzip.write(block, more);
  };
  more();
}

const dripParts = 40;
const dripEveryMs = 4;

/** Whole, but slowly. */
function drip(outgoing: ServerResponse, body: Buffer): void {
  const size = Math.max(1, Math.ceil(body.length / dripParts));
  let at = 0;
  const timer = setInterval(() => {
    if (outgoing.destroyed || at >= body.length) {
      clearInterval(timer);
      if (!outgoing.destroyed) outgoing.end();
      return;
    }
    outgoing.write(body.subarray(at, at + size));
    at += size;
  }, dripEveryMs);
}
