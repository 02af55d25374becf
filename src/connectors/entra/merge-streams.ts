/** Two page streams as one, each read one page ahead: bounded memory, and the slower side does not stop the faster. */
import { setImmediate } from 'node:timers/promises';

type Pull<T, R> = Promise<{ readonly index: number; readonly result: IteratorResult<T, R> }>;

/**
 * Yields what arrives first; returns what each stream returned, in order. The first failure ends all: `stop` is
 * called, so that requests under way end, and every stream is waited for, so that nothing is left behind.
 */
export async function* mergeStreams<T, R>(
  streams: readonly AsyncGenerator<T, R, undefined>[],
  stop: () => void,
): AsyncGenerator<T, readonly R[], undefined> {
  const pulls = new Map<number, Pull<T, R>>();
  const returned: R[] = [];
  const pull = (index: number, stream: AsyncGenerator<T, R, undefined>): void => {
    const pulled = stream.next().then((result) => ({ index, result }));
    // It may fail while our reader is busy; the next race still sees it.
    pulled.catch(() => undefined);
    pulls.set(index, pulled);
  };
  try {
    for (const [index, stream] of streams.entries()) pull(index, stream);
    while (pulls.size > 0) {
      const { index, result } = await Promise.race(pulls.values());
      pulls.delete(index);
      if (result.done === true) {
        returned[index] = result.value;
        continue;
      }
      const stream = streams[index];
      if (stream !== undefined) pull(index, stream);
      // a reader that never leaves the microtasks would keep the request for the next page from being sent
      await setImmediate();
      yield result.value;
    }
    return returned;
  } finally {
    // At a normal end nothing runs any more; otherwise the failure is already on its way to the caller.
    if (pulls.size > 0) stop();
    await Promise.allSettled(pulls.values());
    await Promise.allSettled(streams.map((stream) => stream.return(undefined as R)));
  }
}
