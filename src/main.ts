#!/usr/bin/env node
/** The program: argv, environment and signals, handed to the command line as values. Nothing else reads them. */
import './first.ts';
import { userInfo, homedir } from 'node:os';
import { join } from 'node:path';
import type { Environment, Output } from './app/app.ts';
import { createSignalReader, runCommandLine, Secret } from './cli/cli.ts';

const stop = new AbortController();
const readSignal = createSignalReader(() => performance.now());
for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  process.on(signal, () => {
    const request = readSignal(signal);
    if (request === null) return;
    // 128 + signal number, as a shell reports a process that a signal ended
    if (request.isForced) process.exit(signal === 'SIGINT' ? 130 : 143);
    stop.abort(new Error(signal));
  });
}

// a reader that went away (rollcall ... | head) ends the command, and is no fault
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  process.exit(error.code === 'EPIPE' ? 0 : 1);
});

process.exitCode = await runCommandLine(readEnvironment());

function readEnvironment(): Environment {
  const { env } = process;
  return {
    argv: process.argv.slice(2),
    home: join(import.meta.dirname, '..'),
    osUser: nonEmpty(env['SUDO_USER']) ?? nameOfUser(),
    isRoot: process.getuid?.() === 0,
    userHome: homedir(),
    configFile: nonEmpty(env['ROLLCALL_CONFIG']),
    databaseUrl: secretOf(env['DATABASE_URL']),
    masterKey: secretOf(env['ROLLCALL_MASTER_KEY']),
    stdout: outputTo(process.stdout),
    stderr: outputTo(process.stderr),
    stop: stop.signal,
  };
}

function nonEmpty(text: string | undefined): string | undefined {
  return text === undefined || text.trim() === '' ? undefined : text;
}

function secretOf(text: string | undefined): Secret | undefined {
  const value = nonEmpty(text);
  return value === undefined ? undefined : new Secret(value);
}

function outputTo(stream: NodeJS.WriteStream): Output {
  return {
    write: (text) => {
      stream.write(text);
    },
    isTty: stream.isTTY === true,
    columns: stream.columns,
  };
}

/** A container may run under a number that has no name. */
function nameOfUser(): string {
  try {
    return userInfo().username;
  } catch (error) {
    const uid = process.getuid?.();
    if (uid === undefined) throw error;
    return `uid-${uid}`;
  }
}
