/**
 * Global setup: one Postgres per test run and one migrated template in it, made when the first project asks and shared
 * by all projects of the run. TEST_DATABASE_URL names a server to use instead; its login must be able to create
 * databases and roles.
 */
import { randomBytes } from 'node:crypto';
import { existsSync } from 'node:fs';
import { chmod, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import postgres from 'postgres';
import type { TestProject } from 'vitest/node';
import { findEmbeddedPostgres, migrate, startEmbeddedPostgres } from '../../src/db/db.ts';
import { parseDatabaseUrl } from '../../src/db/pools.ts';

declare module 'vitest' {
  export interface ProvidedContext {
    /** Url of database `postgres` (or the given one), for making and dropping databases. */
    adminUrl: string;
    templateDatabase: string;
  }
}

type Running = { readonly adminUrl: string; readonly template: string; readonly stop: () => Promise<void> };

const folderPrefix = 'rollcall-test-';
const ownerFile = 'owner.pid';
const cacheFolder = join(tmpdir(), `rollcall-cache-${process.getuid?.() ?? 0}`);

let running: Promise<Running> | undefined;
let users = 0;

export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  users += 1;
  running ??= start();
  const { adminUrl, template, stop } = await running;
  project.provide('adminUrl', adminUrl);
  project.provide('templateDatabase', template);
  return async () => {
    users -= 1;
    if (users > 0) return;
    running = undefined;
    await stop();
  };
}

async function start(): Promise<Running> {
  const given = process.env['TEST_DATABASE_URL'];
  if (given !== undefined && given !== '') return withTemplate(given, async () => undefined);
  const server = await startTestServer();
  return withTemplate(server.url, server.stop);
}

/** A server of this process's own, with nothing in it; its folder goes with it. */
export async function startTestServer(): Promise<{ readonly url: string; readonly stop: () => Promise<void> }> {
  await stopAbandonedServers();
  const folder = await mkdtemp(join(tmpdir(), folderPrefix));
  // mkdtemp makes 0700, and the account the server runs as must enter it
  await chmod(folder, 0o755);
  await writeFile(join(folder, ownerFile), String(process.pid));
  const server = await startEmbeddedPostgres({ dataFolder: folder, cacheFolder, testMode: true });
  return {
    url: withDatabase(server.url, 'postgres'),
    stop: async () => {
      await server.stop();
      await rm(folder, { recursive: true, force: true });
    },
  };
}

/** A run that was killed could not stop its server; the next run does, and only for runs that named themselves. */
async function stopAbandonedServers(): Promise<void> {
  for (const name of await readdir(tmpdir())) {
    const folder = join(tmpdir(), name);
    if (!name.startsWith(folderPrefix) || !existsSync(join(folder, ownerFile))) continue;
    const owner = Number(await readFile(join(folder, ownerFile), 'utf8'));
    if (!Number.isSafeInteger(owner) || owner <= 1 || existsSync(`/proc/${owner}`) || !existsSync('/proc/self'))
      continue;
    try {
      if ((await findEmbeddedPostgres(folder)) !== undefined) {
        const server = await startEmbeddedPostgres({ dataFolder: folder, cacheFolder, testMode: true });
        await server.stop();
      }
      await rm(folder, { recursive: true, force: true });
    } catch (error) {
      // another run may be doing the same just now
      console.warn(`The abandoned test database in ${folder} was not removed: ${String(error)}`);
    }
  }
}

async function withTemplate(adminUrl: string, stop: () => Promise<void>): Promise<Running> {
  // each project of vitest sets up its own, in one process and, where a server is given, on the same server
  const template = `rollcall_template_${process.pid}_${randomBytes(4).toString('hex')}`;
  const admin = openAdmin(adminUrl);
  try {
    await admin.unsafe(`create database ${template}`);
    await migrate({ url: withDatabase(adminUrl, template) });
  } catch (error) {
    await admin.end();
    await stop();
    throw error;
  }
  return {
    adminUrl,
    template,
    stop: async () => {
      await admin.unsafe(`drop database if exists ${template} with (force)`);
      await admin.end();
      await stop();
    },
  };
}

export function withDatabase(url: string, database: string): string {
  const changed = new URL(url);
  changed.pathname = `/${database}`;
  return changed.href;
}

export function openAdmin(url: string): postgres.Sql {
  return postgres({ ...parseDatabaseUrl(url), max: 1, onnotice: () => undefined });
}
