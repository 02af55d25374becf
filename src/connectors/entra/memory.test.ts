/** What a hostile server sends stays bounded in our memory: measured in a process of its own, with production's flags. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { connectionSettings } from '../../../test/simulators/entra/connection.ts';
import type { EntraSimulator } from '../../../test/simulators/entra/entra.ts';
import { startEntraSimulator } from '../../../test/simulators/entra/entra.ts';
import type { Fault } from '../../../test/simulators/entra/faults.ts';
import { scale } from '../../../test/setup/full.ts';
import { createSampleTenant } from '../../../test/simulators/entra/sample-tenant.ts';

const program = fileURLToPath(new URL('../../../test/simulators/entra/read-hostile.ts', import.meta.url));
const flags = ['--disable-proto=delete', '--max-semi-space-size=8', '--heap-growing-percent=30'];
const mostMegabytes = 64;

let simulator: EntraSimulator;
beforeAll(async () => {
  simulator = await startEntraSimulator({ seed: 71 });
  createSampleTenant(simulator, { users: 2_000 });
});
afterAll(async () => simulator.stop());

type Said = { readonly grownMegabytes: number; readonly events: number; readonly code: string };

async function readFrom(faults: readonly Fault[], mostEvents: number): Promise<Said> {
  const { caPem, ...rest } = connectionSettings(simulator);
  const args = [...flags, program, JSON.stringify({ ...rest, caPem }), simulator.app.clientSecret, String(mostEvents)];
  const child = spawn(process.execPath, args, { stdio: ['pipe', 'pipe', 'inherit'] });
  const exited = once(child, 'exit');
  try {
    const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
    await lines.next();
    for (const fault of faults) simulator.fault(fault);
    child.stdin.write('go\n');
    const { value } = await lines.next();
    return JSON.parse(String(value)) as Said;
  } finally {
    child.kill();
    await exited;
    simulator.clearFaults();
    simulator.clearRequests();
  }
}

const both = (type: Fault['type']): Fault[] => [
  { route: 'users/delta', type, times: Infinity },
  { route: 'groups/delta', type, times: Infinity },
];

describe('a hostile server takes less than 64 MB', () => {
  test.each([
    ['answers that do not end', both('huge'), 'directory_limit'],
    ['answers that grow when they are parsed', both('json_bomb'), 'directory_limit'],
    ['a gigabyte in a compressed megabyte', both('gzip_bomb'), 'directory_protocol'],
    [
      'group members without end, half of them leaving',
      [{ route: 'groups/delta', type: 'endless_members', times: Infinity }] satisfies Fault[],
      'directory_limit',
    ],
  ])('by %s, and the read fails cleanly', { timeout: 120_000 }, async (_what, faults, code) => {
    const said = await readFrom(faults, Number.POSITIVE_INFINITY);
    expect(said.code).toBe(code);
    expect(said.grownMegabytes).toBeLessThan(mostMegabytes);
  });

  test('by pages of four megabytes without end', { timeout: 120_000 }, async () => {
    const mostEvents = scale(6_000, 60_000);
    const said = await readFrom([{ route: 'users/delta', type: 'endless_users', times: Infinity }], mostEvents);
    expect(said).toMatchObject({ code: 'stopped', events: mostEvents });
    expect(said.grownMegabytes).toBeLessThan(mostMegabytes);
  });
});
