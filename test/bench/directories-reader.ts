/**
 * One read of a directory in a process of its own, so that its memory is its own: the request comes on stdin as JSON, the
 * figures go to stdout. Events are counted and dropped; what staging costs is the sync bench's subject.
 */
import '../../src/first.ts';
import { text } from 'node:stream/consumers';
import { z } from 'zod';
import type { Cursor } from '../../src/connectors/contract/contract.ts';
import { ldapConnector } from '../../src/connectors/ldap/ldap.ts';
import { createDialer } from '../../src/platform/dialer.ts';
import { Secret } from '../../src/platform/secrets.ts';

const requestSchema = z.strictObject({
  settings: z.record(z.string(), z.unknown()),
  password: z.string(),
  attributes: z.array(z.string()),
  /** After the full read, this many increments. */
  increments: z.int().default(0),
});

export type ReaderRequest = z.input<typeof requestSchema>;

export type ReaderFigures = {
  readonly seconds: number;
  readonly users: number;
  readonly groups: number;
  readonly members: number;
  readonly peakMb: number;
  readonly idleMb: number;
  readonly cpuSeconds: number;
  /** One per increment. */
  readonly incrementMs: readonly number[];
  readonly incrementBy: string | null;
};

const connector = ldapConnector({ dialer: createDialer({ allowPrivateRanges: ['127.0.0.0/8'] }) });

async function readOnce(request: z.output<typeof requestSchema>, mode: 'full' | 'delta', cursor: Cursor | null) {
  const counts = { users: 0, groups: 0, members: 0 };
  const events = connector.read({
    settings: connector.settingsSchema.parse(request.settings),
    secrets: { password: new Secret(request.password) },
    mode,
    cursor,
    attributes: request.attributes,
    signal: new AbortController().signal,
  });
  for await (const event of events) {
    if (event.type === 'upsert') counts[event.object.kind === 'user' ? 'users' : 'groups'] += 1;
    else if (event.type === 'members') counts.members += event.memberAnchors.length;
    else if (event.type === 'reset') throw new Error(`reset: ${event.reason}`);
    else if (event.type === 'complete') return { ...counts, cursor: event.cursor };
  }
  throw new Error('The read did not complete.');
}

const request = requestSchema.parse(JSON.parse(await text(process.stdin)));
const idleMb = process.resourceUsage().maxRSS / 1_000;
const before = process.cpuUsage();
const startedAt = performance.now();
const { cursor, ...counts } = await readOnce(request, 'full', null);
const seconds = (performance.now() - startedAt) / 1_000;
const { user, system } = process.cpuUsage(before);
const peakMb = process.resourceUsage().maxRSS / 1_000;
const incrementMs: number[] = [];
let position: Cursor | null = cursor;
for (let index = 0; index < request.increments; index += 1) {
  const from = performance.now();
  position = (await readOnce(request, 'delta', position)).cursor;
  incrementMs.push(performance.now() - from);
}
const by = z.object({ position: z.object({ by: z.string() }) }).safeParse(position);
const figures: ReaderFigures = {
  seconds,
  ...counts,
  peakMb,
  idleMb,
  cpuSeconds: (user + system) / 1e6,
  incrementMs,
  incrementBy: by.success ? by.data.position.by : null,
};
process.stdout.write(`${JSON.stringify(figures)}\n`);
