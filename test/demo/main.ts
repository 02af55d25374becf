/**
 * npm run demo: the daemon with a sample organization, two directories and an identity provider, told as a story.
 * Goes on until Ctrl-C; --once ends after the story. Everything lives in a temporary folder.
 */
import '../../src/first.ts';
import { parseArgs } from 'node:util';
import { describeError } from '../../src/core/errors.ts';
import { createSignalReader } from '../../src/platform/lifecycle.ts';
import { startInstallation } from '../sandbox/installation.ts';
import { startDirectories } from './directories.ts';
import { createNarrator, type Narrator } from './narrator.ts';
import { tellStory } from './story.ts';
import { showEnding, watchSchedule } from './watch.ts';

/** As a shell reports a program that Ctrl-C ended. */
const interrupted = 130;

const stop = new AbortController();
const readSignal = createSignalReader(() => performance.now());
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
  process.on(signal, () => {
    const request = readSignal(signal);
    if (request?.isForced === false) stop.abort(new Error(signal));
  });
}
// a reader that went away (npm run demo | head)
process.stdout.on('error', () => {
  stop.abort(new Error('nobody reads what the demo says'));
});

process.exitCode = await main();

async function main(): Promise<number> {
  const { values } = parseArgs({ options: { once: { type: 'boolean', default: false } } });
  const write = (text: string): void => {
    // the next word after a signal ends the story
    stop.signal.throwIfAborted();
    process.stdout.write(text);
  };
  try {
    await run(createNarrator(write, process.stdout.columns), values.once, stop.signal);
    return 0;
  } catch (error) {
    if (stop.signal.aborted) {
      process.stderr.write(`demo: stopped by ${describeError(stop.signal.reason)}; everything is removed.\n`);
      return interrupted;
    }
    process.stderr.write(`demo: ${describeError(error)}\n`);
    return 1;
  }
}

async function run(narrator: Narrator, isOnce: boolean, signal: AbortSignal): Promise<void> {
  narrator.say('Rollcall keeps the people and roles of a portal in step with directories.');
  await using directories = await startDirectories();
  await using installation = await startInstallation({ name: 'demo', signal });
  await installation.withOffice(async (office) => {
    const scene = { narrator, installation, office, directories, signal };
    const told = tellStory(scene);
    const ending = await Promise.race([told, installation.failure]);
    showEnding(scene, ending);
    if (!isOnce) await Promise.race([watchSchedule(scene, ending), installation.failure]);
  });
  if (!isOnce) process.stdout.write('\nStopped; everything is removed.\n');
}
