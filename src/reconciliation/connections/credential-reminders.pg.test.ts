/** Reminders of credentials that end: 60, 30 and 7 days before, once each, and anew for a new credential. */
import { randomBytes } from 'node:crypto';
import { pino } from 'pino';
import { afterEach, describe, expect, test } from 'vitest';
import { createEngine, type Engine } from '../../../test/fakes/engine.ts';
import { MemoryDirectory } from '../../../test/fakes/memory-directory.ts';
import { useDatabase } from '../../../test/setup/database.ts';
import type { CredentialEnd } from '../../connectors/contract/contract.ts';
import { RollcallError } from '../../core/errors.ts';
import { SecretBox } from '../../platform/secrets.ts';
import { remindOfCredentials, reminderAt } from './credential-reminders.ts';

const database = useDatabase();
const dayMs = 86_400_000;
const start = Date.parse('2026-03-02T08:00:00Z');

type Clerk = Engine & {
  /** What the directory says from now on. */
  ends: CredentialEnd[] | RollcallError;
  asked: number;
  /** The round of a day; answers what was told of. */
  round(day: number): Promise<unknown[]>;
};

afterEach(async () => {
  // the rounds of one test would claim the connections of the one before
  await database.db.engine(({ sql }) => sql`update connections set status = 'paused' where status = 'active'`);
});

async function createClerk(): Promise<Clerk> {
  const directory = new MemoryDirectory();
  const connector = {
    ...directory.connector(),
    credentialEnds: async () => {
      clerk.asked += 1;
      if (clerk.ends instanceof RollcallError) throw clerk.ends;
      return clerk.ends;
    },
  };
  const engine = await createEngine(database.db, { directory, connector });
  const { tenantId, connectionId } = engine;
  const deps = {
    db: database.db,
    connectors: new Map([['ldap' as const, connector]]),
    secretBox: new SecretBox(randomBytes(32)),
    log: pino({ level: 'silent' }),
  };
  const clerk: Clerk = {
    ...engine,
    ends: [],
    asked: 0,
    round: async (day) => {
      const now = (): Date => new Date(start + day * dayMs);
      const before = await countTold();
      const count = await remindOfCredentials({ ...deps, now }, new AbortController().signal);
      const told = await database.db.tenant(
        tenantId,
        (tx) => tx.sql<{ payload: Record<string, unknown> }[]>`
          select payload from outbox_messages where type = 'connection.credential_ending' order by id offset ${before}`,
      );
      expect(told).toHaveLength(count);
      for (const { payload } of told) expect(payload).toMatchObject({ connectionId, connection: 'Directory' });
      return told.map(({ payload }) => payload['withinDays']);
    },
  };
  const countTold = async (): Promise<number> =>
    database.db.tenant(tenantId, async (tx) => {
      const [row] = await tx.sql<{ count: number }[]>`
        select count(*)::int as count from outbox_messages where type = 'connection.credential_ending'`;
      return row?.count ?? 0;
    });
  return clerk;
}

const endingAfter = (days: number): CredentialEnd[] => [
  { credential: 'client_secret', endsAt: new Date(start + days * dayMs).toISOString(), source: 'directory' },
];

describe('a credential that ends', () => {
  test('is told of 60, 30 and 7 days before, and after its end not again', async () => {
    const clerk = await createClerk();
    clerk.ends = endingAfter(100);
    const told: unknown[][] = [];
    for (const day of [0, 39, 40, 41, 69, 70, 92, 93, 94, 101, 120]) told.push(await clerk.round(day));
    expect(told).toEqual([[], [], [60], [], [], [30], [], [7], [], [], []]);
  });

  test('first seen late is told of once, with the nearest reminder', async () => {
    const clerk = await createClerk();
    clerk.ends = endingAfter(20);
    expect([await clerk.round(0), await clerk.round(1)]).toEqual([[30], []]);
  });

  test('and is replaced by another one is told of anew', async () => {
    const clerk = await createClerk();
    clerk.ends = endingAfter(5);
    expect(await clerk.round(0)).toEqual([7]);
    clerk.ends = endingAfter(60);
    expect(await clerk.round(1)).toEqual([60]);
  });

  test('of several the first to end counts; one that nobody knows is no reminder', async () => {
    const clerk = await createClerk();
    clerk.ends = [
      { credential: 'certificate', endsAt: null, source: 'unknown' },
      ...endingAfter(50),
      ...endingAfter(6),
    ];
    expect(await clerk.round(0)).toEqual([7]);
    clerk.ends = [{ credential: 'client_secret', endsAt: null, source: 'unknown' }];
    expect(await clerk.round(1)).toEqual([]);
  });
});

describe('a connection', () => {
  test('is asked once a day, by one process, and anew after a change of its document', async () => {
    const clerk = await createClerk();
    clerk.ends = endingAfter(300);
    await Promise.all([clerk.round(0), clerk.round(0), clerk.round(0.5)]);
    expect(clerk.asked).toBe(1);
    await clerk.reconciliation.updateConnection('test', clerk.tenantId, clerk.connectionId, {
      name: 'Directory',
      kind: 'ldap',
      organization: clerk.tenant.slug,
      ceiling: 'admin',
      roles: [{ everyone: 'user' }],
    });
    await clerk.round(0.6);
    expect(clerk.asked).toBe(2);
  });

  test('whose directory does not answer is asked again the next day, and what was told stays told', async () => {
    const clerk = await createClerk();
    clerk.ends = endingAfter(25);
    expect(await clerk.round(0)).toEqual([30]);
    clerk.ends = new RollcallError('directory_unreachable', 'Nobody is there.');
    expect(await clerk.round(1)).toEqual([]);
    clerk.ends = endingAfter(25);
    expect([await clerk.round(1.5), await clerk.round(2.1)]).toEqual([[], []]);
    expect(await clerk.round(18.5)).toEqual([7]);
  });

  test('that is paused is left alone', async () => {
    const clerk = await createClerk();
    clerk.ends = endingAfter(5);
    await clerk.reconciliation.pauseConnection('test', clerk.tenantId, clerk.connectionId, 'holidays');
    expect([await clerk.round(0), clerk.asked]).toEqual([[], 0]);
  });
});

test('the reminder due with so many days left', () => {
  expect([61, 60, 31, 30, 8, 7, 0, -3].map(reminderAt)).toEqual([null, 60, 60, 30, 30, 7, 7, 7]);
});
