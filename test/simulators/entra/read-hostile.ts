/**
 * A process of its own that reads a hostile Graph and says how much memory that took: started by memory.test.ts with
 * the flags of production. Prints {"grownMegabytes", "pages", "code"} as one JSON line.
 *
 *   node test/simulators/entra/read-hostile.ts SETTINGS_JSON SECRET MOST_PAGES
 */
// ours, and loaded only when it is needed: what the server makes of our memory is measured
import '../../../src/connectors/entra/application-tokens.ts';
import { entraConnector } from '../../../src/connectors/entra/entra.ts';
import { entraSettingsSchema } from '../../../src/connectors/entra/settings.ts';
import { isRollcallError } from '../../../src/core/errors.ts';
import { systemClock } from '../../../src/platform/clock.ts';
import { Secret } from '../../../src/platform/secrets.ts';

const [settingsText = '{}', secret = '', most = '0'] = process.argv.slice(2);
const settings = entraSettingsSchema.parse(JSON.parse(settingsText));
const connector = entraConnector({ clock: { ...systemClock, sleep: async () => undefined }, random: Math.random });

const peakMegabytes = (): number => process.resourceUsage().maxRSS / 1_024;

async function read(mostEvents: number): Promise<{ events: number; code: string }> {
  const aborter = new AbortController();
  let events = 0;
  const secrets = { kind: 'client_secret', clientSecret: new Secret(secret) } as const;
  const request = { settings, secrets, attributes: [], signal: aborter.signal, mode: 'full', cursor: null } as const;
  try {
    for await (const event of connector.read(request)) {
      if (event.type === 'complete') return { events, code: 'complete' };
      events += 1;
      if (events >= mostEvents) aborter.abort(new Error('enough'));
    }
  } catch (error) {
    return { events, code: isRollcallError(error) ? error.code : 'stopped' };
  }
  return { events, code: 'ended' };
}

// what the first read loads and compiles is not what the hostile one takes; its request is answered as usual
const warm = await read(Number.POSITIVE_INFINITY);
if (warm.code !== 'complete') throw new Error(`The read before ended with ${warm.code}.`);
const before = peakMegabytes();
process.stdout.write('ready\n');
await new Promise((resolve) => process.stdin.once('data', resolve));
const { events, code } = await read(Number(most));
process.stdin.destroy();
process.stdout.write(`${JSON.stringify({ grownMegabytes: peakMegabytes() - before, events, code })}\n`);
