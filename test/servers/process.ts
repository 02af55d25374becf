/** Starting and stopping throw-away server processes: wait by condition, never by time; leave nothing behind. */
import { execFile, spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { closeSync, openSync, readFileSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import type { AddressInfo } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import { promisify } from 'node:util';

export const run = promisify(execFile);

const pollMs = 15;

export async function freePort(host = '127.0.0.1'): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve, reject) => server.once('error', reject).listen(0, host, resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}

function canConnect(host: string, port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ host, port });
    socket.once('connect', () => {
      socket.destroy();
      resolve(true);
    });
    socket.once('error', () => resolve(false));
  });
}

/** True when something listens there. */
export async function isListening(host: string, port: number): Promise<boolean> {
  return canConnect(host, port);
}

export type ServerProcess = { readonly pid: number; stop(signal?: NodeJS.Signals): Promise<void> };

/** Spawns and waits until every port accepts; an early exit rejects with the end of the log. */
export async function startProcess(
  command: string,
  args: readonly string[],
  options: {
    readonly logPath: string;
    readonly host: string;
    readonly ports: readonly number[];
    readonly timeoutMs?: number;
  },
): Promise<ServerProcess> {
  const log = openSync(options.logPath, 'a');
  const child = spawn(command, args, { stdio: ['ignore', log, log], cwd: '/' });
  closeSync(log);
  const exited = new Promise<void>((resolve) => {
    child.once('exit', () => resolve());
    child.once('error', () => resolve());
  });
  // A test that dies before its afterAll must not leave a server behind.
  const killAtExit = (): void => {
    child.kill('SIGKILL');
  };
  process.once('exit', killAtExit);
  const stop = async (signal: NodeJS.Signals = 'SIGTERM'): Promise<void> => {
    process.off('exit', killAtExit);
    if (!hasEnded(child)) child.kill(signal);
    await exited;
  };
  const deadline = Date.now() + (options.timeoutMs ?? 15_000);
  for (const port of options.ports) {
    while (!(await canConnect(options.host, port))) {
      if (hasEnded(child) || Date.now() > deadline) {
        await stop('SIGKILL');
        throw new Error(`${command} did not start:\n${readFileSync(options.logPath, 'utf8').slice(-2_000)}`);
      }
      await delay(pollMs);
    }
  }
  const { pid } = child;
  if (pid === undefined) throw new Error(`${command} has no process id`);
  return { pid, stop };
}

function hasEnded(child: ChildProcess): boolean {
  return child.exitCode !== null || child.signalCode !== null || child.pid === undefined;
}
