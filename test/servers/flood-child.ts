/**
 * `node flood-child.ts CALM_PORT FLOOD_PORT`: reads an ordinary directory, then one that sends without end or measure, and
 * prints by how much its peak memory grew. A process of its own, because the server that floods needs memory as well.
 */
import { setTimeout } from 'node:timers/promises';
import { createDialer } from '../../src/platform/dialer.ts';
import { Secret } from '../../src/platform/secrets.ts';
import { ldapConnector } from '../../src/connectors/ldap/ldap.ts';
import { baseDn } from './hostile-ldap.ts';

/** What is enough to see whether memory grows. */
const maxEvents = 100_000;
const slowAt = 5_000;
const slowMs = 2_000;

const connector = ldapConnector({ dialer: createDialer({ allowPrivateRanges: ['127.0.0.1'] }), allowPlaintext: true });

async function read(port: number): Promise<string> {
  const settings = connector.settingsSchema.parse({
    host: '127.0.0.1',
    port,
    security: 'plain',
    bindDn: 'svc@hostile.test',
    baseDn,
    idleTimeoutSeconds: 60,
  });
  const stopper = new AbortController();
  const request = { settings, secrets: { password: new Secret('x') }, attributes: ['mail'], cursor: null };
  let count = 0;
  try {
    for await (const event of connector.read({ ...request, mode: 'full', signal: stopper.signal })) {
      if (event.type === 'complete') return 'complete';
      count += 1;
      // Somebody who is slow for a while: what the server sends meanwhile has to wait in the network.
      if (count === slowAt) await setTimeout(slowMs);
      if (count >= maxEvents) stopper.abort(new Error('enough'));
    }
  } catch (error) {
    return error instanceof Error ? error.message.slice(0, 200) : String(error);
  }
  return 'ended';
}

const [calmPort = '', floodPort = ''] = process.argv.slice(2);
const calm = await read(Number(calmPort));
const before = process.resourceUsage().maxRSS;
const flooded = await read(Number(floodPort));
const grownMb = (process.resourceUsage().maxRSS - before) / 1024;
process.stdout.write(`${JSON.stringify({ calm, flooded, grownMb })}\n`);
