/**
 * What is asked for in one turn of the event loop is read at once. Nothing is kept: the read leaves after the last of
 * those who share it asked, so that what was changed meanwhile (a token revoked) holds for the next one, as if each had
 * asked for itself.
 */
import { setImmediate as afterThisTick } from 'node:timers/promises';

const readsAtOnce = 2;

/** `readAll` answers by key; a key that is missing is undefined. Where it throws, all who share it hear that. */
export function gatherTurn<Key, Value>(
  readAll: (keys: readonly Key[]) => Promise<ReadonlyMap<Key, Value>>,
): (key: Key) => Promise<Value | undefined> {
  let waiting = new Map<Key, PromiseWithResolvers<Value | undefined>>();
  let isGathering = false;
  let reads = 0;

  function gather(): void {
    if (isGathering || waiting.size === 0 || reads >= readsAtOnce) return;
    isGathering = true;
    // settles the promises of those who asked; itself it throws nothing
    void readGathered();
  }

  async function readGathered(): Promise<void> {
    await afterThisTick();
    const asked = waiting;
    waiting = new Map();
    isGathering = false;
    reads += 1;
    try {
      const found = await readAll([...asked.keys()]);
      for (const [key, { resolve }] of asked) resolve(found.get(key));
    } catch (error) {
      for (const { reject } of asked.values()) reject(error);
    }
    reads -= 1;
    gather();
  }

  return (key) => {
    const known = waiting.get(key);
    if (known !== undefined) return known.promise;
    const asked = Promise.withResolvers<Value | undefined>();
    waiting.set(key, asked);
    gather();
    return asked.promise;
  };
}
