/**
 * Goal P2's other half: pages of Microsoft Graph, ready in the memory of another process, read by the connector up to
 * the events, beside the least code that reads the same pages, in the same minute. The network of a real tenant is far
 * slower than either: this is what the reading itself costs.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { text } from 'node:stream/consumers';
import type { EntraFigures } from './directories-entra-reader.ts';
import { createReport, tell } from './report.ts';
import type { BenchOptions, Report } from './report.ts';

const rounds = 3;
const manyGroups = 500;
const usersPerSecondGoal = 150_000;
const nodeFlags = ['--disable-proto=delete', '--max-semi-space-size=8', '--heap-growing-percent=30'];

type PageServer = { readonly url: string; readonly bytes: number; readonly pages: number; stop(): Promise<void> };

async function startPageServer(users: number, groups: number): Promise<PageServer> {
  const script = join(import.meta.dirname, 'directories-entra-server.ts');
  const child = spawn(process.execPath, [script, String(users), String(groups)], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const exited = once(child, 'exit');
  const ended = exited.then(([code]) => Promise.reject(new Error(`The page server ended with ${String(code)}.`)));
  // at the usual end nobody listens any more
  ended.catch(() => undefined);
  const [line] = await Promise.race([once(createInterface({ input: child.stdout }), 'line'), ended]);
  const said = JSON.parse(String(line)) as Omit<PageServer, 'stop'>;
  return {
    ...said,
    stop: async () => {
      child.kill('SIGTERM');
      await exited;
    },
  };
}

async function read(mode: 'connector' | 'bare', url: string): Promise<EntraFigures> {
  const script = join(import.meta.dirname, 'directories-entra-reader.ts');
  const child = spawn(process.execPath, [...nodeFlags, script, mode, url], { stdio: ['ignore', 'pipe', 'inherit'] });
  const answer = await text(child.stdout);
  if (answer === '') throw new Error('The reader failed.');
  return JSON.parse(answer) as EntraFigures;
}

const fastest = (figures: readonly EntraFigures[]): EntraFigures =>
  figures.reduce((best, next) => (next.seconds < best.seconds ? next : best));

async function measure(report: Report, name: string, users: number, groups: number): Promise<void> {
  tell(`Graph pages: ${name} ...`);
  const server = await startPageServer(users, groups);
  try {
    const ours: EntraFigures[] = [];
    const bare: EntraFigures[] = [];
    for (let round = 0; round < rounds; round += 1) {
      bare.push(await read('bare', server.url));
      const figures = await read('connector', server.url);
      if (figures.users !== users || figures.groups !== groups || figures.members !== bare[0]?.members) {
        throw new Error(`Read ${JSON.stringify(figures)} of ${users} users and ${groups} groups.`);
      }
      ours.push(figures);
    }
    const [best, floor] = [fastest(ours), fastest(bare)];
    report(`graph_${name}_pages`, server.pages, 'pages');
    report(`graph_${name}_megabytes`, server.bytes / 1e6, 'MB');
    report(`graph_${name}_seconds`, best.seconds, 's');
    report(`graph_${name}_users_a_second`, users / best.seconds, 'users/s', usersPerSecondGoal);
    report(`graph_${name}_users_a_cpu_second`, users / best.cpuSeconds, 'users/s');
    report(`graph_${name}_peak_memory`, best.peakMb, 'MB', 150);
    report(`graph_${name}_memory_above_idle`, best.peakMb - best.idleMb, 'MB');
    report(`graph_${name}_bare_seconds`, floor.seconds, 's');
    report(`graph_${name}_bare_users_a_cpu_second`, users / floor.cpuSeconds, 'users/s');
  } finally {
    await server.stop();
  }
}

export async function benchEntra(options: BenchOptions): Promise<void> {
  const report = createReport('directories');
  await measure(report, `${options.users}_users`, options.users, 0);
  await measure(report, `${options.users}_users_${manyGroups}_groups`, options.users, manyGroups);
}
