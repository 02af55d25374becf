/**
 * A database scope that a scenario can look through: what a run is about to apply can be read in the moment before it
 * does, and a worker can be made to die in it.
 */
import type { Db } from '../../src/db/db.ts';

export type WatchedDb = {
  readonly db: Db;
  /** Called once, before the next transaction begins. */
  beforeNext(look: () => Promise<void>): void;
  /** Puts another scope under the engine; null: the real one. */
  use(other: Db | null): void;
};

export function watchDb(real: Db): WatchedDb {
  let current = real;
  let waiting: (() => Promise<void>) | null = null;
  const looked = async () => {
    const look = waiting;
    waiting = null;
    await look?.();
  };
  return {
    db: {
      tenant: async (tenantId, work) => {
        await looked();
        return current.tenant(tenantId, work);
      },
      engine: (work) => current.engine(work),
      lookUp: (lookUps) => current.lookUp(lookUps),
      look: (statement) => current.look(statement),
      get stage() {
        return current.stage;
      },
      ping: () => current.ping(),
      close: () => current.close(),
    },
    beforeNext: (look) => {
      waiting = look;
    },
    use: (other) => {
      current = other ?? real;
    },
  };
}
