/**
 * Writes that come together are saved together: while one transaction of a connection is under way, what arrives
 * waits and becomes the next one, so that a burst costs few transactions, packets and flushes to disk, and a single
 * request waits for nobody. Whatever does not go together goes alone, and is answered as if it always had.
 */
import { setImmediate as afterThisTick } from 'node:timers/promises';

/** Of one item of a batch; `null`: nothing was saved of it, and it has to go alone. */
export type Outcome<Result> = { readonly value: Result } | { readonly error: unknown } | null;

export type TogetherOptions<Item, Result> = {
  /** Items that share one are never in one batch. */
  readonly keysOf: (item: Item) => readonly string[];
  /** Saves several in one transaction, their outcomes in order; where it throws nothing was saved. */
  readonly together: (items: readonly Item[]) => Promise<readonly Outcome<Result>[]>;
  readonly alone: (item: Item) => Promise<Result>;
  /** Hears why a batch failed; its items go alone. */
  readonly onApart: (items: readonly Item[], error: unknown) => void;
};

type Waiting<Item, Result> = {
  readonly item: Item;
  readonly keys: readonly string[];
  readonly resolve: (result: Result) => void;
  readonly reject: (reason: unknown) => void;
};

type Queue<Item, Result> = {
  readonly waiting: Waiting<Item, Result>[];
  batches: number;
  /** Of the batch that was opened last. */
  size: number;
  isOpening: boolean;
  /** Where batches fail, so many of the next go alone. */
  aloneFor: number;
};

/**
 * Two: while Postgres writes one, the answers of the other leave and the requests of the next are read. The second waits
 * until it is as large as the first: what a batch costs is most of what each of its items costs (measured: with 16 clients
 * a fifth more creates a second than when it leaves at once).
 */
const batchesAtOnce = 2;
const itemsAtOnce = 32;
const aloneAfterFailure = 50;

/** `place`: only what is of one place (connection) is saved together. */
export function createTogether<Item, Result>(
  options: TogetherOptions<Item, Result>,
): (place: string, item: Item) => Promise<Result> {
  const queues = new Map<string, Queue<Item, Result>>();

  async function open(place: string, queue: Queue<Item, Result>): Promise<void> {
    if (queue.isOpening || queue.batches >= batchesAtOnce) return;
    if (queue.batches > 0 && queue.waiting.length < Math.min(queue.size, itemsAtOnce)) return;
    queue.isOpening = true;
    // what else is read off the sockets in this turn comes along
    await afterThisTick();
    queue.isOpening = false;
    const batch = takeBatch(queue);
    queue.batches += 1;
    queue.size = batch.length;
    await save(options, batch, queue);
    queue.batches -= 1;
    // not awaited: under a load that does not end, each would wait for the next one
    if (queue.waiting.length > 0) void open(place, queue);
    else if (queue.batches === 0 && !queue.isOpening && queue.aloneFor === 0) queues.delete(place);
  }

  return (place, item) => {
    const queue = queues.get(place) ?? { waiting: [], batches: 0, size: 0, isOpening: false, aloneFor: 0 };
    queues.set(place, queue);
    if (queue.aloneFor > 0) {
      queue.aloneFor -= 1;
      return options.alone(item);
    }
    const { promise, resolve, reject } = Promise.withResolvers<Result>();
    queue.waiting.push({ item, keys: options.keysOf(item), resolve, reject });
    // each item settles its own promise; this one settles none and throws nothing
    void open(place, queue);
    return promise;
  };
}

/** The first ones, in order, that share no key; who is left out waits for the next batch. */
function takeBatch<Item, Result>(queue: Queue<Item, Result>): Waiting<Item, Result>[] {
  const batch: Waiting<Item, Result>[] = [];
  const rest: Waiting<Item, Result>[] = [];
  const keys = new Set<string>();
  for (const one of queue.waiting) {
    const isFree = batch.length < itemsAtOnce && !one.keys.some((key) => keys.has(key));
    (isFree ? batch : rest).push(one);
    // also of who waits: those with the same key keep their order
    for (const key of one.keys) keys.add(key);
  }
  queue.waiting.splice(0, queue.waiting.length, ...rest);
  return batch;
}

/** Never rejects: every item is told its own outcome. */
async function save<Item, Result>(
  { together, alone, onApart }: TogetherOptions<Item, Result>,
  batch: readonly Waiting<Item, Result>[],
  queue: Pick<Queue<Item, Result>, 'aloneFor'>,
): Promise<void> {
  const goAlone = (one: Waiting<Item, Result>) => alone(one.item).then(one.resolve, one.reject);
  if (batch.length < 2) {
    await Promise.all(batch.map(goAlone));
    return;
  }
  const items = batch.map(({ item }) => item);
  const outcomes = await together(items).catch((error: unknown) => {
    onApart(items, error);
    queue.aloneFor = aloneAfterFailure;
    return null;
  });
  if (outcomes === null) {
    // the failure is no answer to any of them: alone each hears its own
    await Promise.all(batch.map(goAlone));
    return;
  }
  await Promise.all(
    batch.map(async (one, index) => {
      const outcome = outcomes[index] ?? null;
      if (outcome === null) await goAlone(one);
      else if ('error' in outcome) one.reject(outcome.error);
      else one.resolve(outcome.value);
    }),
  );
}
