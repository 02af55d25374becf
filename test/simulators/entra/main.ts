/**
 * The simulator on its own, for the sandbox and for trying things out: prints one JSON line with everything a
 * connection needs, serves until SIGTERM or SIGINT.
 *
 *   node test/simulators/entra/main.ts [--users 320] [--seed 1] [--port 0]
 */
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { startEntraSimulator, testCaFile } from './entra.ts';
import { createSampleTenant } from './sample-tenant.ts';

const { values } = parseArgs({
  options: {
    users: { type: 'string', default: '320' },
    seed: { type: 'string', default: '1' },
    port: { type: 'string', default: '0' },
  },
});

const simulator = await startEntraSimulator({ seed: Number(values.seed), port: Number(values.port) });
const sample = createSampleTenant(simulator, { users: Number(values.users) });

const stop = (): void => {
  void simulator.stop();
};
process.once('SIGTERM', stop);
process.once('SIGINT', stop);

const line = {
  url: simulator.url,
  tenantId: simulator.tenantId,
  clientId: simulator.app.clientId,
  clientSecret: simulator.app.clientSecret,
  caFile: fileURLToPath(testCaFile),
  users: sample.people.length + 1,
  groups: sample.groups.size,
};
process.stdout.write(`${JSON.stringify(line)}\n`);
