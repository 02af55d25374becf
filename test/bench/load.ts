/** A load generator over keep-alive connections: requests a second, percentiles, and every answer counted. */
import { Agent, request as httpRequest } from 'node:http';
import type { Report } from './report.ts';
import { cpuSeconds } from './processes.ts';

export type Call = { readonly method: string; readonly path: string; readonly body?: unknown };

export type Answer = { readonly status: number; readonly body: string };

export type Client = { send(call: Call): Promise<Answer>; close(): void };

const requestTimeoutMs = 60_000;

/** `baseUrl` is what paths are appended to, e.g. the sandbox's scimUrl. */
export function createClient(baseUrl: string, token: string, connections: number): Client {
  const base = new URL(baseUrl);
  const agent = new Agent({ keepAlive: true, maxSockets: connections, maxFreeSockets: connections });
  const send = (call: Call): Promise<Answer> =>
    new Promise((resolve, reject) => {
      const body = call.body === undefined ? undefined : Buffer.from(JSON.stringify(call.body));
      const outgoing = httpRequest(
        {
          agent,
          host: base.hostname,
          port: base.port,
          method: call.method,
          path: `${base.pathname.replace(/\/$/, '')}${call.path}`,
          timeout: requestTimeoutMs,
          headers: {
            authorization: `Bearer ${token}`,
            ...(body === undefined ? {} : { 'content-type': 'application/scim+json', 'content-length': body.length }),
          },
        },
        (incoming) => {
          const chunks: Buffer[] = [];
          incoming.on('data', (chunk: Buffer) => chunks.push(chunk));
          incoming.on('end', () =>
            resolve({ status: incoming.statusCode ?? 0, body: Buffer.concat(chunks).toString('utf8') }),
          );
          incoming.on('error', reject);
        },
      );
      outgoing.on('timeout', () => outgoing.destroy(new Error(`${call.method} ${call.path}: no answer in 60 s`)));
      outgoing.on('error', reject);
      outgoing.end(body);
    });
  return { send, close: () => agent.destroy() };
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
  durations.sort();
  return {
    perSecond: load.count / seconds,
    percentileMs: (percent) => durations[Math.min(load.count - 1, Math.floor((load.count * percent) / 100))] ?? 0,
    nodeCpuMs: ((cpuAfter.node - cpuBefore.node) * 1000) / load.count,
    allCpuMs: ((cpuAfter.all - cpuBefore.all) * 1000) / load.count,
  };
}

export type LoadGoals = { readonly perSecond?: number; readonly p50Ms?: number; readonly p99Ms?: number };

export function reportLoad(report: Report, name: string, result: LoadResult, goals: LoadGoals = {}): void {
  report(`${name}_rate`, result.perSecond, 'requests/s', goals.perSecond);
  report(`${name}_p50`, result.percentileMs(50), 'ms', goals.p50Ms);
  report(`${name}_p95`, result.percentileMs(95), 'ms');
  report(`${name}_p99`, result.percentileMs(99), 'ms', goals.p99Ms);
  report(`${name}_cpu_node`, result.nodeCpuMs, 'ms/request');
  report(`${name}_cpu_all`, result.allCpuMs, 'ms/request');
}
