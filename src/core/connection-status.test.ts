import { describe, expect, it } from 'vitest';
import { describeStanding, type ConnectionStanding } from './connection-status.ts';

const active: ConnectionStanding = {
  status: 'active',
  statusReason: null,
  failedRuns: 0,
  quarantinedAt: null,
  quarantineRetries: 0,
  nextRunAt: '2026-03-01T10:00:00Z',
};
const quarantined: ConnectionStanding = {
  ...active,
  status: 'quarantined',
  statusReason: 'The client secret has expired',
  failedRuns: 1,
  quarantinedAt: '2026-03-01 09:30:15.123+00',
};

describe('the standing of a connection', () => {
  it('says why and since when it is in quarantine, and when it is tried again', () => {
    expect(describeStanding(quarantined)).toBe(
      'In quarantine since 2026-03-01 09:30Z after 1 failed run: The client secret has expired. Next try 2026-03-01 10:00Z.',
    );
    expect(describeStanding({ ...quarantined, failedRuns: 7, quarantineRetries: 2 })).toMatch(
      /after 7 failed runs: .* Next try 2026-03-01 10:00Z, after 2 in vain\.$/,
    );
  });

  it('says that nobody tries it again by itself where it has no schedule', () => {
    expect(describeStanding({ ...quarantined, nextRunAt: null })).toMatch(/It is tried again by hand only\.$/);
  });

  it('tells a pause with its reason, failed runs before they are too many, and nothing where nothing is wrong', () => {
    expect(describeStanding({ ...active, status: 'paused', statusReason: 'Migration.' })).toBe('Paused: Migration.');
    expect(describeStanding({ ...active, failedRuns: 3 })).toBe('The last 3 runs failed.');
    expect(describeStanding(active)).toBeNull();
  });
});
