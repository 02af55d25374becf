/** Starts `npm run sandbox` as a child and reads its one line of JSON. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { createInterface } from 'node:readline';

export type Sandbox = {
  readonly pid: number;
  readonly scimUrl: string;
  readonly scimToken: string;
  readonly apiUrl: string;
  readonly adminToken: string;
  readonly databaseUrl: string;
  /** With --tenants. */
  readonly tenants?: readonly { readonly scimUrl: string; readonly scimToken: string }[];
  /** SIGTERM; resolves when it has removed everything and ended. */
  stop(): Promise<void>;
};

const root = join(import.meta.dirname, '..', '..');
/** One million people take minutes. */
const startTimeoutMs = 3_600_000;

export async function startSandbox(args: readonly string[]): Promise<Sandbox> {
  const child = spawn(process.execPath, [...process.execArgv, join(root, 'test/sandbox/main.ts'), ...args], {
    stdio: ['ignore', 'pipe', 'inherit'],
    cwd: root,
  });
  const exited = once(child, 'exit');
  const lines = createInterface({ input: child.stdout });
  const timer = AbortSignal.timeout(startTimeoutMs);
  try {
    const line = await Promise.race([
      once(lines, 'line', { signal: timer }).then(([text]) => String(text)),
      exited.then(([code]) =>
        Promise.reject(new Error(`The sandbox ended with code ${String(code)} before it was ready.`)),
      ),
    ]);
    const { pid } = child;
    if (pid === undefined) throw new Error('The sandbox has no process id.');
    const ready = JSON.parse(line) as Omit<Sandbox, 'pid' | 'stop'>;
    return {
      ...ready,
      pid,
      async stop() {
        child.kill('SIGTERM');
        const [code] = await exited;
        if (code !== 0) throw new Error(`The sandbox ended with code ${String(code)} instead of 0.`);
      },
    };
  } catch (error) {
    child.kill('SIGKILL');
    throw error;
  }
}
