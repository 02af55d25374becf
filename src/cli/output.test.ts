import { describe, expect, it } from 'vitest';
import type { RunId, TenantId, ConnectionId, UserId } from '../core/ids.ts';
import type { Change, RunSummary } from '../reconciliation/reconciliation.ts';
import { describeProgress } from './progress.ts';
import { displayWidth, formatTime, renderTable } from './output.ts';
import { renderPlan } from './render-plan.ts';

describe('a table', () => {
  const columns = [
    { title: 'name', value: (row: { name: string; count: number }) => row.name },
    { title: 'count', align: 'right' as const, value: (row: { name: string; count: number }) => row.count },
  ];

  it('lines up, also with wide and combining characters', () => {
    expect(
      renderTable(
        [
          { name: '田中', count: 7 },
          { name: 'Zoe\u0308', count: 12 },
        ],
        columns,
      ),
    ).toBe('NAME  COUNT\n田中      7\nZoe\u0308      12\n');
    expect(displayWidth('田中')).toBe(4);
  });

  it('lets no control character of a directory reach the terminal', () => {
    expect(renderTable([{ name: 'a\u001b[31mb\nc\u202ed', count: 1 }], columns)).toContain('a [31mb c d');
  });

  it('keeps a row on one line of a narrow terminal', () => {
    const text = renderTable([{ name: 'x'.repeat(100), count: 1 }], columns, 40);
    for (const line of text.split('\n')) expect(displayWidth(line)).toBeLessThanOrEqual(40);
  });

  it('cuts the widest columns of a narrow terminal, so that the last one is still seen, and never an id', () => {
    const id = '01a20152-a1bb-7000-bb4d-5c94b3286681';
    const row = { id, what: 'w'.repeat(200), why: 'because it is so' };
    const text = renderTable(
      [row],
      [
        { title: 'id', value: () => row.id },
        { title: 'what', value: () => row.what },
        { title: 'why', value: () => row.why },
      ],
      80,
    );
    expect(text.split('\n')[1]).toMatch(new RegExp(`^${id}  w{15,}…  because it is so$`));
  });
});

it('times are minutes in UTC, whichever way the database wrote them', () => {
  expect([formatTime('2026-03-01 09:30:12.5+01'), formatTime('2026-03-01T09:30:12Z'), formatTime(null)]).toEqual([
    '2026-03-01 08:30Z',
    '2026-03-01 09:30Z',
    null,
  ]);
});

it('progress says how far, how fast, how long still, and what it waits for', () => {
  const start = { phase: 'fetch', done: 0, total: null, isEstimate: false } as const;
  const nothing = { perSecond: null, etaSeconds: null, message: null };
  expect(describeProgress({ ...start, ...nothing })).toBe('fetch');
  const under = { ...start, done: 12_000, total: 50_000, isEstimate: true, perSecond: 4000 };
  expect(describeProgress({ ...under, etaSeconds: 10, message: null })).toBe(
    'fetch: 12,000 of about 50,000, 4,000/s, 10 s left',
  );
  expect(describeProgress({ ...under, isEstimate: false, etaSeconds: 600, message: 'Waiting 40 s.' })).toBe(
    'fetch: 12,000 of 50,000, 4,000/s, 10 min left, Waiting 40 s.',
  );
});

describe('a plan', () => {
  const run: RunSummary = {
    tenantId: 't' as TenantId,
    id: 'run-1' as RunId,
    connectionId: 'c' as ConnectionId,
    connectionName: 'Contoso LDAP',
    connectionVersion: 1,
    kind: 'full',
    mode: 'auto',
    status: 'held',
    phase: 'guard',
    epoch: 1,
    requestedBy: 'operator:ada',
    scheduledFor: null,
    startedAt: '2026-03-01T09:30:12Z',
    heartbeatAt: null,
    finishedAt: null,
    isFirst: false,
    counts: {
      changes: [
        { class: 'create', op: 'create', kind: 'joiner', state: 'planned', rows: 30, subjects: 30 },
        { class: 'suspend', op: 'suspend', kind: 'leaver', state: 'held', rows: 1, subjects: 1 },
      ],
    },
    progress: null,
    digest: 'abc',
    guard: { implausible: [], breaches: [{ guard: 'leavers', message: '600 of 1,000 people would leave.' }] },
    approvedBy: null,
    approvals: [],
    undoOf: null,
    undoScope: null,
    error: null,
    createdAt: '2026-03-01T09:30:00Z',
  };
  const change = (fields: Partial<Change>): Change => ({
    runId: run.id,
    seq: 1,
    connectionId: run.connectionId,
    class: 'create',
    op: 'create',
    kind: 'joiner',
    anchor: 'a',
    userId: null as UserId | null,
    subject: 'Ada Lovelace',
    organizationId: null,
    role: null,
    grantSource: null,
    before: null,
    after: { email: 'ada@contoso.com' },
    expectedVersion: null,
    objectVersion: null,
    reason: 'new in the directory',
    cause: 'new',
    state: 'planned',
    error: null,
    appliedAt: null,
    ...fields,
  });
  const leaver = change({
    kind: 'leaver',
    op: 'suspend',
    subject: 'Bob',
    reason: 'disabled there',
    state: 'held',
    after: null,
  });
  const changes = { joiner: [change({})], mover: [], leaver: [leaver], conflict: [] };

  it('says how many newcomers would have no username', () => {
    const counts = { ...run.counts, withoutUsername: 12 };
    expect(renderPlan({ run: { ...run, counts }, changes })).toContain('12 joiners have no username');
    expect(renderPlan({ run, changes })).not.toContain('no username');
  });

  it('of an undo that finds nothing left says that it pauses nothing', () => {
    const kept = [{ class: 'conflict', op: 'keep', kind: 'conflict', state: 'conflict', rows: 1, subjects: 1 }];
    const undo: RunSummary = { ...run, kind: 'undo', status: 'partly', guard: null, counts: { changes: kept } };
    const none = { joiner: [], mover: [], leaver: [], conflict: [] };
    expect(renderPlan({ run: undo, changes: none })).toContain('the connection was not paused and no link is held');
    expect(renderPlan({ run: { ...undo, status: 'planned' }, changes: none })).toContain(
      'Nothing is left to take back',
    );
    expect(renderPlan({ run: { ...undo, kind: 'full' }, changes: none })).not.toContain('take back');
  });

  it('shows who joins and leaves and why, what is held and why, what is left out, and what to do next', () => {
    const text = renderPlan({ run, changes });
    expect(text).toContain('Run run-1 of Contoso LDAP: held, it waits for a person');
    expect(text).toMatch(/Ada Lovelace\s+create email ada@contoso\.com\s+planned\s+new in the directory/);
    expect(text).toContain('... and 29 more');
    expect(text).toMatch(/Bob\s+suspend\s+held\s+disabled there/);
    expect(text).toContain('Held:\n  - 600 of 1,000 people would leave.');
    expect(text).toContain('rollcall approve run-1 && rollcall apply run-1');
  });

  it('without changes says that both agree', () => {
    const empty = { joiner: [], mover: [], leaver: [], conflict: [] };
    const text = renderPlan({
      run: { ...run, status: 'succeeded', counts: {}, digest: null, guard: null },
      changes: empty,
    });
    expect(text).toContain('No changes: the portal agrees with the directory.');
    expect(text).not.toContain('Next:');
  });
});
