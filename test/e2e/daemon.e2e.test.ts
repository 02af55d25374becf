/** The daemon as people run it: `node src/main.ts serve`, with an embedded Postgres in a data folder of its own. */
import { getPriority } from 'node:os';
import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  makeFolder,
  removeFolder,
  runRollcall,
  startRollcall,
  writeConfig,
  type Daemon,
  type LogLine,
} from './daemon-process.ts';

let folder = '';

beforeAll(async () => {
  folder = await makeFolder();
});

afterAll(async () => {
  await removeFolder(folder);
});

function configText(httpPort = 0): string {
  return [
    `dataFolder: ${folder}/data`,
    `http: { host: 127.0.0.1, port: ${httpPort} }`,
    'management: { port: 0 }',
    'logging: { level: debug }',
    '',
  ].join('\n');
}

function urlOf(line: LogLine): string {
  return `http://127.0.0.1:${String(line['port'])}`;
}

async function stopped(daemon: Daemon, signal: NodeJS.Signals): Promise<{ code: number | null; ms: number }> {
  const startedAt = performance.now();
  daemon.process.kill(signal);
  const code = await daemon.exit;
  return { code, ms: performance.now() - startedAt };
}

describe('the daemon', () => {
  it('starts by itself, is live and ready, counts both its processes, and drains on SIGTERM', async () => {
    const daemon = startRollcall({ args: ['serve', '-c', await writeConfig(folder, configText())] });
    const management = urlOf(await daemon.line('management listening'));
    const api = urlOf(await daemon.line('API listening'));
    await daemon.line('worker ready');

    for (const path of ['/livez', '/readyz', '/healthz']) {
      expect((await fetch(`${management}${path}`)).status, path).toBe(200);
    }
    const metrics = await (await fetch(`${management}/metrics`)).text();
    expect(metrics).toMatch(/^rollcall_process_cpu_seconds_total\{process="worker"\}/m);
    expect(metrics).toMatch(/^rollcall_process_cpu_seconds_total\{process="api"\}/m);

    const me = await fetch(`${api}/api/v1/me`);
    expect([me.status, me.headers.get('content-type')]).toEqual([401, 'application/problem+json; charset=utf-8']);
    expect((await fetch(`${api}/api/v1/openapi.json`)).status).toBe(200);

    const { code, ms } = await stopped(daemon, 'SIGTERM');
    expect(code).toBe(0);
    expect(ms).toBeLessThan(5000);
    expect(daemon.stderr()).toBe('');
  });

  it('takes two SIGINTs of one Ctrl-C (terminal and npm) as one', async () => {
    const daemon = startRollcall({ args: ['serve', '-c', await writeConfig(folder, configText())] });
    await daemon.line('worker ready');
    daemon.process.kill('SIGINT');
    const { code } = await stopped(daemon, 'SIGINT');
    expect(code).toBe(0);
    expect(daemon.lines.some((line) => line.msg === 'stopped')).toBe(true);
  });

  it('starts a worker that was killed again; a worker gives way to the API', async () => {
    const daemon = startRollcall({ args: ['serve', '-c', await writeConfig(folder, configText())] });
    const workerPid = Number((await daemon.line('worker ready'))['workerPid']);
    expect(getPriority(workerPid)).toBeGreaterThan(getPriority(daemon.process.pid));
    process.kill(workerPid, 'SIGKILL');
    await daemon.line('the worker process died; it is started again');
    await expect
      .poll(() => daemon.lines.filter((line) => line.msg === 'worker ready').length, { timeout: 20_000 })
      .toBe(2);
    expect((await stopped(daemon, 'SIGTERM')).code).toBe(0);
  });

  it('answers 503 while its database is dead, starts it again, and stops as usual afterwards', async () => {
    const daemon = startRollcall({ args: ['serve', '-c', await writeConfig(folder, configText())] });
    const management = urlOf(await daemon.line('management listening'));
    const api = urlOf(await daemon.line('API listening'));
    await daemon.line('worker ready');
    const [pid] = (await readFile(`${folder}/data/postgres/postmaster.pid`, 'utf8')).split('\n');
    process.kill(Number(pid), 'SIGKILL');
    await expect.poll(async () => (await fetch(`${management}/readyz`)).status, { timeout: 10_000 }).toBe(503);
    const refused = await fetch(`${api}/api/v1/me`, {
      headers: { authorization: 'Bearer rcl_api_0123456789_0123456789012345678901234567890123456789012' },
    });
    expect([401, 503]).toContain(refused.status);
    await expect.poll(async () => (await fetch(`${management}/readyz`)).status, { timeout: 20_000 }).toBe(200);
    const { code, ms } = await stopped(daemon, 'SIGTERM');
    expect(code).toBe(0);
    expect(ms).toBeLessThan(8000);
  });

  it('after a kill -9 starts again on what is left, and its worker does not outlive it', async () => {
    const file = await writeConfig(folder, configText());
    const killed = startRollcall({ args: ['serve', '-c', file] });
    const workerPid = Number((await killed.line('worker ready'))['workerPid']);
    killed.process.kill('SIGKILL');
    await killed.exit;
    await expect.poll(() => isAlive(workerPid), { timeout: 10_000 }).toBe(false);
    const daemon = startRollcall({ args: ['serve', '-c', file] });
    const management = urlOf(await daemon.line('management listening'));
    await daemon.line('ready');
    expect((await fetch(`${management}/readyz`)).status).toBe(200);
    expect((await stopped(daemon, 'SIGTERM')).code).toBe(0);
  });
});

describe('a start that can not work says so in one sentence, without a stack trace', () => {
  it('a port in use: exit code 1', async () => {
    const blocker = createServer().listen(0, '127.0.0.1');
    await once(blocker, 'listening');
    const address = blocker.address();
    const port = typeof address === 'object' && address !== null ? address.port : 0;
    const { code, stderr } = await runRollcall({ args: ['serve', '-c', await writeConfig(folder, configText(port))] });
    blocker.close();
    expect(code).toBe(1);
    expect(stderr).toMatch(
      new RegExp(`^rollcall: Another program already listens on 127\\.0\\.0\\.1:${port}\\. .*http\\.port.*\n$`),
    );
  });

  it('a database that is away: exit code 1', async () => {
    const { code, stderr } = await runRollcall({
      args: ['serve', '-c', await writeConfig(folder, configText())],
      env: {
        DATABASE_URL: 'postgresql://rollcall:planted-password@127.0.0.1:1/rollcall',
        ROLLCALL_MASTER_KEY: Buffer.alloc(32, 1).toString('base64'),
      },
    });
    expect(code).toBe(1);
    expect(stderr).toMatch(/^rollcall: The database can not be reached.*\n$/);
    expect(stderr).not.toContain('planted-password');
  });

  it('a data folder that can not be made: exit code 1', async () => {
    const file = await writeConfig(
      folder,
      `dataFolder: ${folder}/rollcall.yaml/data\nmanagement: { port: 0 }\nhttp: { port: 0 }\n`,
    );
    const { code, stderr } = await runRollcall({ args: ['serve', '-c', file] });
    expect([code, stderr.split('\n').length]).toEqual([1, 2]);
    expect(stderr).toMatch(/^rollcall: The data folder .*rollcall\.yaml\/data/);
  });

  it('a second daemon on the same data folder: exit code 1', async () => {
    const file = await writeConfig(folder, configText());
    const first = startRollcall({ args: ['serve', '-c', file] });
    await first.line('ready');
    const { code, stderr } = await runRollcall({ args: ['serve', '-c', file] });
    expect([code, stderr]).toEqual([
      1,
      expect.stringMatching(/^rollcall: Another Rollcall already uses the data folder/),
    ]);
    expect((await stopped(first, 'SIGTERM')).code).toBe(0);
  });

  it('a faulty configuration: exit code 2 and every fault at once', async () => {
    const file = await writeConfig(folder, 'http: { prot: 1, port: a }\nlogging: { level: loud }\n');
    const { code, stderr } = await runRollcall({ args: ['serve', '-c', file] });
    expect(code).toBe(2);
    expect(stderr).toContain('3 faults');
    for (const part of ['http.prot', 'Did you mean port?', 'http.port', 'logging.level'])
      expect(stderr).toContain(part);
    expect(stderr).not.toMatch(/^\s+at /m);
  });

  it('DATABASE_URL without a master key, a word that is no command: exit code 2', async () => {
    const noKey = await runRollcall({
      args: ['serve', '-c', await writeConfig(folder, configText())],
      env: { DATABASE_URL: 'postgresql://127.0.0.1/x' },
    });
    expect([noKey.code, noKey.stderr]).toEqual([2, expect.stringContaining('ROLLCALL_MASTER_KEY is not set')]);
    const unknown = await runRollcall({ args: ['servee'] });
    expect([unknown.code, unknown.stderr]).toEqual([2, expect.stringContaining('Did you mean serve?')]);
  });
});

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    // ESRCH: no such process
    return false;
  }
}
