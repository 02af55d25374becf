/**
 * A load generator over keep-alive connections: requests a second, percentiles, and every answer counted. It speaks
 * HTTP/1.1 on sockets of its own, because it shares its two cores with what it measures, and Node's client costs more
 * than half of what the service does.
 */
import { connect, type Socket } from 'node:net';
import { cpuSeconds } from './processes.ts';
import type { Report } from './report.ts';

export type Call = { readonly method: string; readonly path: string; readonly body?: unknown };

export type Answer = { readonly status: number; readonly body: string };

export type Client = { send(call: Call): Promise<Answer>; close(): void };

const requestTimeoutMs = 60_000;

/** `baseUrl` is what paths are appended to, e.g. the sandbox's scimUrl. */
export function createClient(baseUrl: string, token: string, connections: number): Client {
  const base = new URL(baseUrl);
  const head = `HTTP/1.1\r\nHost: ${base.host}\r\nAuthorization: Bearer ${token}\r\n`;
  const free: Connection[] = [];
  const waiting: ((connection: Connection) => void)[] = [];
  let opened = 0;
  const giveBack = (connection: Connection): void => {
    const next = waiting.shift();
    if (next === undefined) free.push(connection);
    else next(connection);
  };
  const take = async (): Promise<Connection> => {
    for (let known = free.pop(); known !== undefined; known = free.pop()) if (known.isOpen()) return known;
    if (opened < connections) {
      opened += 1;
      return openConnection(base, () => (opened -= 1));
    }
    const { promise, resolve } = Promise.withResolvers<Connection>();
    waiting.push(resolve);
    return promise;
  };
  const send = async ({ method, path, body }: Call): Promise<Answer> => {
    const text = body === undefined ? '' : JSON.stringify(body);
    const length =
      body === undefined ? '' : `Content-Type: application/scim+json\r\nContent-Length: ${Buffer.byteLength(text)}\r\n`;
    const connection = await take();
    const answer = await connection.ask(
      `${method} ${base.pathname.replace(/\/$/, '')}${path} ${head}${length}\r\n${text}`,
    );
    giveBack(connection);
    return answer;
  };
  return { send, close: () => free.forEach((connection) => connection.close()) };
}

type Connection = { ask(request: string): Promise<Answer>; isOpen(): boolean; close(): void };

/** One request at a time. Answers have a Content-Length, or no body. */
function openConnection(base: URL, onClose: () => void): Connection {
  const socket: Socket = connect(Number(base.port), base.hostname);
  socket.setNoDelay(true);
  socket.setTimeout(requestTimeoutMs, () => socket.destroy(new Error('no answer in 60 s')));
  let received: Buffer = Buffer.alloc(0);
  let pending: PromiseWithResolvers<Answer> | null = null;
  const fail = (error: Error): void => {
    pending?.reject(error);
    pending = null;
  };
  socket.on('data', (chunk: Buffer) => {
    received = received.length === 0 ? chunk : Buffer.concat([received, chunk]);
    const answer = readAnswer(received);
    if (answer === null) return;
    received = Buffer.alloc(0);
    pending?.resolve(answer);
    pending = null;
  });
  socket.on('error', fail);
  socket.on('close', () => {
    onClose();
    fail(new Error('The connection was closed.'));
  });
  return {
    ask: (request) => {
      pending = Promise.withResolvers<Answer>();
      socket.write(request);
      return pending.promise;
    },
    isOpen: () => !socket.destroyed && socket.writable,
    close: () => socket.destroy(),
  };
}

/** Null until all of it is there. */
function readAnswer(received: Buffer): Answer | null {
  const end = received.indexOf('\r\n\r\n');
  if (end < 0) return null;
  const head = received.toString('latin1', 0, end);
  if (/^transfer-encoding:/im.test(head)) throw new Error('The answer comes in chunks, which is not read here.');
  const length = Number(/^content-length: *(\d+)/im.exec(head)?.[1] ?? 0);
  if (received.length < end + 4 + length) return null;
  return { status: Number(head.slice(9, 12)), body: received.toString('utf8', end + 4, end + 4 + length) };
}

export type Load = {
  readonly name: string;
  readonly count: number;
  /** Requests in flight at once. */
  readonly connections: number;
  readonly status: number;
  readonly call: (index: number) => Call;
  /** Sees each answer, e.g. to keep ids. */
  readonly onAnswer?: (answer: Answer, index: number) => void;
};

export type LoadResult = {
  readonly perSecond: number;
  readonly percentileMs: (percent: number) => number;
  readonly nodeCpuMs: number;
  readonly allCpuMs: number;
};

/** Throws when any answer had another status: a rate of a phase with failed answers is no rate. */
export async function runLoad(client: Client, serverPid: number, load: Load): Promise<LoadResult> {
  const durations = new Float64Array(load.count);
  const failures: string[] = [];
  const cpuBefore = cpuSeconds(serverPid);
  const startedAt = performance.now();
  let next = 0;
  const worker = async () => {
    while (next < load.count) {
      const index = next;
      next += 1;
      const sentAt = performance.now();
      const answer = await client.send(load.call(index));
      durations[index] = performance.now() - sentAt;
      if (answer.status === load.status) load.onAnswer?.(answer, index);
      else failures.push(`${answer.status} ${answer.body.slice(0, 300)}`);
    }
  };
  await Promise.all(Array.from({ length: load.connections }, worker));
  const seconds = (performance.now() - startedAt) / 1000;
  const cpuAfter = cpuSeconds(serverPid);
  if (failures.length > 0) {
    throw new Error(`${load.name}: ${failures.length} of ${load.count} answers failed, the first: ${failures[0]}`);
  }
  return {
    perSecond: load.count / seconds,
    percentileMs: percentilesOf(durations),
    nodeCpuMs: ((cpuAfter.node - cpuBefore.node) * 1000) / load.count,
    allCpuMs: ((cpuAfter.all - cpuBefore.all) * 1000) / load.count,
  };
}

/** Sorts what it is given. */
export function percentilesOf(durations: Float64Array): (percent: number) => number {
  durations.sort();
  return (percent) => durations[Math.min(durations.length - 1, Math.floor((durations.length * percent) / 100))] ?? 0;
}

export type LoadGoals = {
  readonly perSecond?: number;
  readonly p50Ms?: number;
  readonly p95Ms?: number;
  readonly p99Ms?: number;
};

export function reportLoad(report: Report, name: string, result: LoadResult, goals: LoadGoals = {}): void {
  report(`${name}_rate`, result.perSecond, 'requests/s', goals.perSecond);
  report(`${name}_p50`, result.percentileMs(50), 'ms', goals.p50Ms);
  report(`${name}_p95`, result.percentileMs(95), 'ms', goals.p95Ms);
  report(`${name}_p99`, result.percentileMs(99), 'ms', goals.p99Ms);
  report(`${name}_cpu_node`, result.nodeCpuMs, 'ms/request');
  report(`${name}_cpu_all`, result.allCpuMs, 'ms/request');
}
