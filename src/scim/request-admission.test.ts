import { describe, expect, it } from 'vitest';
import { newId, type ConnectionId, type TenantId } from '../core/ids.ts';
import { createAdmission } from './request-admission.ts';

const caller = { tenantId: newId<TenantId>(), connectionId: newId<ConnectionId>() };
const other = { ...caller, connectionId: newId<ConnectionId>() };

describe('rule 14: what the request log takes', () => {
  it('is so many successes and refusals a second and connection; the rest is counted in an entry', () => {
    let nowMs = 5_000;
    const admission = createAdmission({ now: () => new Date(nowMs) });
    const count = (status: number, who = caller) =>
      Array.from({ length: 300 }, () => admission.admits(who, status)).filter(Boolean).length;
    expect([count(200), count(409), count(201, other)]).toEqual([100, 200, 100]);
    // the second is not over
    expect(admission.takeSummaries()).toEqual([]);
    nowMs += 1_000;
    expect(count(200)).toBe(100);
    nowMs += 1_000;
    const summaries = admission.takeSummaries();
    expect(summaries.map(({ connectionId, status, reason }) => [connectionId, status, reason])).toEqual([
      [caller.connectionId, 0, '500 further requests were not recorded: there were too many a second.'],
      [other.connectionId, 0, '200 further requests were not recorded: there were too many a second.'],
    ]);
    expect(admission.takeSummaries()).toEqual([]);
    expect(admission.hasSummaries()).toBe(false);
  });
});
