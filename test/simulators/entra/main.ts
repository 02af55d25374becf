/**
 * The simulator on its own, for the sandbox and for trying things out: prints one JSON line with everything a
 * connection needs, serves until SIGTERM or SIGINT.
 *
 *   npm run --silent sandbox:entra -- [--users 320] [--seed 1] [--port 0]
 */
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { startEntraSimulator, testCaFile } from './entra.ts';
import { createSampleTenant, groupOf } from './sample-tenant.ts';
import { documentedLimit } from './throttle.ts';

const { values } = parseArgs({
  options: {
    users: { type: 'string', default: '320' },
    seed: { type: 'string', default: '1' },
    port: { type: 'string', default: '0' },
  },
});

const fewestUsers = 20;
const mostUsers = 1_000_000;
const users = Number(values.users);
if (!Number.isInteger(users) || users < fewestUsers || users > mostUsers) {
  process.stderr.write(`sandbox: --users takes a count from ${fewestUsers} to ${mostUsers}, not "${values.users}".\n`);
  process.exit(2);
}

const simulator = await startEntraSimulator({ seed: Number(values.seed), port: Number(values.port) });
const sample = createSampleTenant(simulator, { users });
simulator.throttle(documentedLimit(users));

// an application with a role, and a secret that ends soon enough to be warned of
const { app, enterpriseApp } = simulator;
app.permissions = [...app.permissions, 'Application.Read.All'];
app.secretExpiresAt = new Date(Date.now() + 25 * 86_400_000);
const role = enterpriseApp.addRole('Portal Administrator', 'portal.admin');
enterpriseApp.assign(role, groupOf(sample.groups, 'Portal Admins'), 'Group');

const stop = (): void => {
  void simulator.stop();
};
process.once('SIGTERM', stop);
process.once('SIGINT', stop);

const line = {
  url: simulator.url,
  tenantId: simulator.tenantId,
  clientId: app.clientId,
  clientSecret: app.clientSecret,
  caFile: fileURLToPath(testCaFile),
  enterpriseAppId: enterpriseApp.appId,
  users: sample.people.length + 1,
  groups: sample.groups.size,
};
process.stdout.write(`${JSON.stringify(line)}\n`);
