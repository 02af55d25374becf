/**
 * Whatever breaks, wherever: a read either says exactly what the undisturbed read says, or it fails and never completes.
 * Each fault is one whole read of a small directory (two pages of users, groups with ranges of members).
 */
import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { describe, expect, test } from 'vitest';
import {
  baseDn,
  floodOutcomes,
  floods,
  hostileAnchor,
  replacements,
  startFloodingLdap,
  startHostileLdap,
  unpagedCap,
} from '../../../test/servers/hostile-ldap.ts';
import type { Fault, HostilePlan } from '../../../test/servers/hostile-ldap.ts';
import { Mirror } from '../../../test/servers/mirror.ts';
import { seededRandom } from '../../../test/servers/ldif.ts';
import { isFull } from '../../../test/setup/full.ts';
import { isRollcallError } from '../../core/errors.ts';
import { createDialer } from '../../platform/dialer.ts';
import { Secret } from '../../platform/secrets.ts';
import type { DirectoryEvent } from '../contract/contract.ts';
import { ldapConnector } from './ldap.ts';

const plan: HostilePlan = { users: 7, groups: 2, membersPerGroup: 5, range: 2 };
const connector = ldapConnector({ dialer: createDialer({ allowPrivateRanges: ['127.0.0.1'] }), allowPlaintext: true });

type Outcome = { readonly state: string | null; readonly error: unknown; readonly sizes: readonly number[] };

function requestTo(port: number, pageSize = 4) {
  const settings = connector.settingsSchema.parse({
    host: '127.0.0.1',
    port,
    security: 'plain',
    bindDn: 'svc@hostile.test',
    baseDn,
    pageSize,
    idleTimeoutSeconds: 1,
  });
  const secrets = { password: new Secret('x') };
  return { settings, secrets, attributes: ['mail'], signal: AbortSignal.timeout(30_000) };
}

/** `state` is null unless the read completed. */
async function readUnder(fault: Fault, of: HostilePlan = plan, pageSize = 4): Promise<Outcome> {
  const server = await startHostileLdap(of, fault);
  const events: DirectoryEvent[] = [];
  let error: unknown = null;
  try {
    const request = { ...requestTo(server.port, pageSize), mode: 'full' as const, cursor: null };
    for await (const event of connector.read(request)) events.push(event);
  } catch (cause) {
    error = cause;
  }
  await server.stop();
  const isComplete = events.some(({ type }) => type === 'complete');
  const mirror = new Mirror();
  mirror.apply(events);
  return { state: isComplete ? JSON.stringify(mirror.effective()) : null, error, sizes: server.sizes };
}

/** Runs `count` at a time: each waits for the network or for a time limit, not for the processor. */
async function forEachOf<T>(items: readonly T[], count: number, work: (item: T) => Promise<void>): Promise<void> {
  const queue = [...items];
  const take = async (): Promise<void> => {
    for (let item = queue.shift(); item !== undefined; item = queue.shift()) await work(item);
  };
  await Promise.all(Array.from({ length: count }, take));
}

async function expectTruthOrFailure(fault: Fault, truth: string, name: string): Promise<'truth' | 'failure'> {
  const { state, error } = await readUnder(fault);
  if (state === null) expect(isRollcallError(error), `${name}: ${String(error)}`).toBe(true);
  else expect(state, name).toBe(truth);
  return state === null ? 'failure' : 'truth';
}

const sum = (sizes: readonly number[]): number => sizes.reduce((total, size) => total + size, 0);

describe('an undisturbed read of the hostile directory', { timeout: 30_000 }, () => {
  test('is whole: every user, and every member of every range', async () => {
    const { state, error } = await readUnder({ kind: 'none' });
    expect(error).toBeNull();
    const found = JSON.parse(state ?? '{}') as { objects: object; members: Record<string, string[]> };
    expect(Object.keys(found.objects)).toHaveLength(plan.users + plan.groups);
    expect(Object.values(found.members).map((members) => members.length)).toEqual([5, 5]);
  });
});

describe('a connection that breaks', { timeout: 60_000 }, () => {
  test.each(['cut', 'reset', 'half_close', 'stall'] as const)(
    'by %s at every message edge: never a complete read',
    async (kind) => {
      const { state: truth, sizes } = await readUnder({ kind: 'none' });
      const edges = sizes.map((_, index) => sum(sizes.slice(0, index)));
      await forEachOf(edges, kind === 'stall' ? edges.length : 8, async (afterBytes) => {
        const outcome = await expectTruthOrFailure(
          { kind, afterBytes },
          truth ?? '',
          `${kind} after ${afterBytes} bytes`,
        );
        expect(outcome, `${kind} after ${afterBytes} of ${sum(sizes)} bytes`).toBe('failure');
      });
    },
  );

  test('at 200 random bytes: never a complete read', async () => {
    const seed = Number(process.env['ROLLCALL_SEED'] ?? Date.now() % 1_000_000);
    console.log(`ldap faults: ROLLCALL_SEED=${seed}`);
    const random = seededRandom(seed);
    const { state: truth, sizes } = await readUnder({ kind: 'none' });
    const count = isFull ? 2_000 : 200;
    const kinds = isFull
      ? (['cut', 'reset', 'half_close', 'stall'] as const)
      : (['cut', 'reset', 'half_close'] as const);
    const faults = Array.from({ length: count }, () => ({
      kind: kinds[Math.floor(random() * kinds.length)] ?? 'cut',
      afterBytes: Math.floor(random() * sum(sizes)),
    }));
    await forEachOf(faults, isFull ? 64 : 8, async (fault) => {
      const name = `ROLLCALL_SEED=${seed} ${JSON.stringify(fault)}`;
      expect(await expectTruthOrFailure(fault, truth ?? '', name), name).toBe('failure');
    });
  });
});

describe('a server that answers something else', { timeout: 60_000 }, () => {
  test.each(Object.entries(replacements))('%s in place of any message: the truth, or a failure', async (name, by) => {
    const { state: truth, sizes } = await readUnder({ kind: 'none' });
    const everyThird = (index: number): boolean => (index + name.length) % 3 === 0;
    const messages = sizes.map((_, index) => index).filter((index) => isFull || everyThird(index));
    // A server that lies about its end in a well-formed message can not be told from one that has nothing more to say;
    // with paging it needs the control, so that only answers without pages (root DSE, ranges) could be shortened.
    await forEachOf(messages, 8, async (message) => {
      await expectTruthOrFailure(
        { kind: 'replace', message, by },
        truth ?? '',
        `${name} in place of message ${message}`,
      );
    });
  });

  test('a cookie the server does not know any more fails the read', async () => {
    const wrongCookie = (original: Buffer): Buffer => {
      const at = original.indexOf('at-4');
      if (at === -1) return original;
      const changed = Buffer.from(original);
      changed.write('zz-4', at);
      return changed;
    };
    const { sizes } = await readUnder({ kind: 'none' });
    const outcomes = await Promise.all(
      sizes.map((_, message) => readUnder({ kind: 'replace', message, by: wrongCookie })),
    );
    const failed = outcomes.filter(({ state }) => state === null);
    expect(failed).toHaveLength(1);
    expect(failed[0]?.error).toMatchObject({ raw: expect.stringContaining('cookie is not valid') as string });
  });
});

describe('the proof of absence', { timeout: 60_000 }, () => {
  const living = [hostileAnchor(0), hostileAnchor(plan.users - 1)];

  async function proveUnder(fault: Fault): Promise<{ verdicts: string[]; sizes: readonly number[] }> {
    const server = await startHostileLdap(plan, fault);
    const verdicts: string[] = [];
    try {
      for await (const { verdict } of connector.proveAbsent(requestTo(server.port), 'user', living)) {
        verdicts.push(verdict);
      }
    } catch (error) {
      expect(isRollcallError(error), String(error)).toBe(true);
    }
    await server.stop();
    return { verdicts, sizes: server.sizes };
  }

  test('never calls the living deleted, whatever breaks and whatever is answered', async () => {
    const calm = await proveUnder({ kind: 'none' });
    expect(calm.verdicts).toEqual(['present', 'present']);
    const messages = calm.sizes.map((_, index) => index);
    const faults: Fault[] = messages.flatMap((message) => [
      { kind: 'cut', afterBytes: sum(calm.sizes.slice(0, message)) },
      { kind: 'half_close', afterBytes: sum(calm.sizes.slice(0, message)) + 1 },
      ...Object.values(replacements).map((by): Fault => ({ kind: 'replace', message, by })),
    ]);
    const chosen = faults.filter((_, index) => isFull || index % 3 === 0);
    await forEachOf(chosen, 8, async (fault) => {
      const { verdicts } = await proveUnder(fault);
      for (const verdict of verdicts) expect(['present', 'unknown'], JSON.stringify(fault)).toContain(verdict);
    });
  });
});

describe("Active Directory's limits", { timeout: 30_000 }, () => {
  const big: HostilePlan = { users: unpagedCap + 200, groups: 1, membersPerGroup: 3_200, range: 1_500 };

  test('a page above 1,000 is answered by 1,000 and read on; a group of 3,200 comes in ranges', async () => {
    const { state } = await readUnder({ kind: 'none' }, big, 5_000);
    const found = JSON.parse(state ?? '{}') as { objects: object; members: Record<string, string[]> };
    expect(Object.keys(found.objects)).toHaveLength(big.users + 1);
    expect(Object.values(found.members)[0]).toHaveLength(big.users);
  });

  test('without pages the server stops at 1,000, and the read fails', async () => {
    const { state, error } = await readUnder({ kind: 'none' }, big, 0);
    expect(state).toBeNull();
    expect(error).toMatchObject({ code: 'directory_incomplete', raw: 'sizeLimitExceeded (4): MaxPageSize' });
  });
});

const floodScript = join(import.meta.dirname, '../../../test/servers/flood-child.ts');
const runFile = promisify(execFile);
/** As the daemon runs (package.json). */
const nodeFlags = ['--disable-proto=delete', '--max-semi-space-size=8', '--heap-growing-percent=30'];

describe('a server that sends more than anybody could keep', { timeout: 60_000 }, () => {
  const kinds = Object.keys(floods) as (keyof typeof floods)[];
  const short: (keyof typeof floods)[] = ['endlessPage', 'veryManyValues', 'announcedGigabytes'];
  test.each(isFull ? kinds : short)('%s: memory grows by less than 64 MB', async (flood) => {
    const calm = await startHostileLdap(
      { users: 2_000, groups: 2, membersPerGroup: 1_000, range: 500 },
      { kind: 'none' },
    );
    const flooding = await startFloodingLdap(flood);
    try {
      const { stdout } = await runFile(process.execPath, [
        ...nodeFlags,
        floodScript,
        `${calm.port}`,
        `${flooding.port}`,
      ]);
      const result = JSON.parse(stdout) as { calm: string; flooded: string; grownMb: number };
      expect(result).toMatchObject({ calm: 'complete', flooded: floodOutcomes[flood] });
      expect(result.grownMb, JSON.stringify(result)).toBeLessThan(64);
    } finally {
      await flooding.stop();
      await calm.stop();
    }
  });
});
