/**
 * The daemon of the sync bench: `rollcall serve` as its own process with the flags of production and an embedded
 * Postgres with its usual durability, driven over the CLI and the API like any installation.
 */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import postgres from 'postgres';
import { parse } from 'yaml';
import { findEmbeddedPostgres } from '../../src/db/db.ts';
import { parseDatabaseUrl } from '../../src/db/pools.ts';
import { makeFolder, removeFolder, runRollcall, startRollcall, writeConfig } from '../e2e/daemon-process.ts';

export type Run = {
  readonly id: string;
  readonly status: string;
  readonly digest: string | null;
  readonly counts: Readonly<Record<string, unknown>>;
  readonly error: unknown;
};

export type BenchDaemon = {
  readonly apiPid: number;
  readonly workerPid: number;
  /** As the owner of the schema: reads the statistics of every table. */
  readonly sql: postgres.Sql;
  createConnection(document: Readonly<Record<string, unknown>>): Promise<string>;
  /** Asks for a run and waits until it waits for a person or has ended. */
  sync(connectionId: string): Promise<Run>;
  approve(run: Run): Promise<Run>;
  stop(): Promise<void>;
};

const organization = 'bench';
const pollMs = 100;
const runTimeoutMs = 30 * 60_000;

export async function startBenchDaemon(): Promise<BenchDaemon> {
  const folder = await makeFolder();
  const dataFolder = join(folder, 'data');
  const config = await writeConfig(
    folder,
    [
      `dataFolder: ${dataFolder}`,
      'http: { host: 127.0.0.1, port: 0 }',
      'management: { port: 0 }',
      'outbound: { allowPrivateRanges: [127.0.0.0/8] }',
      'schedule: { pollSeconds: 0.5 }',
      'logging: { level: info }',
      '',
    ].join('\n'),
  );
  const daemon = startRollcall({ args: ['serve', '-c', config] });
  const command = async (...args: string[]): Promise<unknown> => {
    const result = await runRollcall({ args: ['-c', config, '-o', 'json', ...args] });
    if (result.code !== 0) throw new Error(`rollcall ${args.join(' ')} ended with ${result.code}: ${result.stderr}`);
    return parse(result.stdout);
  };
  try {
    const apiPort = Number((await daemon.line('API listening'))['port']);
    const workerPid = Number((await daemon.line('worker ready'))['workerPid']);
    const url = await findEmbeddedPostgres(dataFolder);
    if (url === undefined) throw new Error('The embedded Postgres is not running.');
    await command('orgs', 'create', organization, '--name', 'Bench');
    const token = await command('--org', organization, 'tokens', 'create', '--name', 'bench', '--role', 'admin');
    const api = createApi(`http://127.0.0.1:${apiPort}/api/v1`, textOf(token, 'text'));
    const sql = postgres({ ...parseDatabaseUrl(url), max: 1, onnotice: () => {} });
    return {
      apiPid: daemon.process.pid ?? 0,
      workerPid,
      sql,
      async createConnection(document) {
        const file = join(folder, 'connection.yaml');
        // JSON is YAML
        writeFileSync(file, JSON.stringify({ ...document, organization }));
        return textOf(await command('--org', organization, 'connections', 'create', '-f', file), 'id');
      },
      async sync(connectionId) {
        const made = await api('POST', `/connections/${connectionId}/runs`, { read: 'full', mode: 'auto' });
        return waitForRun(api, textOf(made, 'id'));
      },
      async approve(run) {
        await api('POST', `/runs/${run.id}/approve`, { digest: run.digest });
        return waitForRun(api, run.id);
      },
      async stop() {
        await sql.end({ timeout: 5 });
        daemon.process.kill('SIGTERM');
        const code = await daemon.exit;
        await removeFolder(folder);
        if (code !== 0) throw new Error(`The daemon ended with code ${String(code)}: ${daemon.stderr()}`);
      },
    };
  } catch (error) {
    daemon.process.kill('SIGTERM');
    await daemon.exit;
    await removeFolder(folder);
    throw error;
  }
}

type Api = (method: 'GET' | 'POST', path: string, body?: unknown) => Promise<unknown>;

function createApi(baseUrl: string, token: string): Api {
  return async (method, path, body) => {
    const answer = await fetch(`${baseUrl}${path}`, {
      method,
      headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json' },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      signal: AbortSignal.timeout(60_000),
    });
    const text = await answer.text();
    if (!answer.ok) throw new Error(`${method} ${path}: ${answer.status} ${text.slice(0, 500)}`);
    return text === '' ? null : JSON.parse(text);
  };
}

function textOf(value: unknown, name: string): string {
  const text: unknown = typeof value === 'object' && value !== null ? Reflect.get(value, name) : undefined;
  if (typeof text !== 'string') throw new Error(`An answer has no ${name}: ${JSON.stringify(value).slice(0, 300)}`);
  return text;
}

async function waitForRun(api: Api, runId: string): Promise<Run> {
  const deadline = performance.now() + runTimeoutMs;
  for (;;) {
    const run = (await api('GET', `/runs/${runId}`)) as Run;
    if (run.status !== 'queued' && run.status !== 'running') return run;
    if (performance.now() > deadline) throw new Error(`Run ${runId} is still ${run.status} after 30 minutes.`);
    await delay(pollMs);
  }
}
