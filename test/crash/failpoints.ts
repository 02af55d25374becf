/**
 * Failpoints: places where a process may die. They are found by wrapping the database scope, not by a list kept by
 * hand: each statement that writes, each commit, and the moment after each commit is one, in the order in which a run
 * meets them. Production opens its database without this wrapper, so none of them can be reached there.
 */
import type { Db } from '../../src/db/db.ts';
import { watchDb } from '../setup/watched-db.ts';

/** The process of this test is dead: nothing it asks the database for is done any more. */
export class Killed extends Error {
  readonly point: Failpoint;

  constructor(point: Failpoint) {
    super(`killed at ${point.ordinal}: ${point.name}`);
    this.point = point;
  }
}

export type Failpoint = {
  /** From 1. */
  readonly ordinal: number;
  /** The first words of the statement, `commit`, or `after commit`. */
  readonly name: string;
};

export type Failing = {
  readonly db: Db;
  /** The points met so far, the fatal one included. */
  readonly met: readonly Failpoint[];
};

const writing = /^(insert|update|delete|create|drop|copy|alter|truncate|grant|analyze)\b/;

/** Null for a statement that only reads; a dying process leaves no trace there. */
export function nameWrite(text: string): string | null {
  const plain = text.replaceAll(/\s+/g, ' ').trim().toLowerCase();
  if (writing.test(plain)) return plain.slice(0, 60);
  if (!plain.startsWith('with ')) return null;
  const inner = /\b(insert into|update|delete from) [a-z_."]+/.exec(plain);
  return inner === null ? null : `with ... ${inner[0]}`;
}

/** Dies at the `fatal`-th point (never, where it is null). A dead one refuses everything, as the kernel would. */
export function addFailpoints(db: Db, fatal: number | null): Failing {
  const met: Failpoint[] = [];
  let death: Killed | null = null;

  const mustLive = (): void => {
    if (death !== null) throw death;
  };
  const pass = (name: string): void => {
    mustLive();
    const point = { ordinal: met.length + 1, name };
    met.push(point);
    if (point.ordinal !== fatal) return;
    death = new Killed(point);
    throw death;
  };

  const watched = watchDb(db, {
    before(text) {
      mustLive();
      const name = nameWrite(text);
      if (name !== null) pass(name);
    },
    beforeCommit(hasWritten) {
      if (hasWritten) pass('commit');
      else mustLive();
    },
    afterCommit(hasWritten) {
      if (hasWritten) pass('after commit');
    },
    isWrite: (text) => nameWrite(text) !== null,
  });
  return { db: watched, met };
}
