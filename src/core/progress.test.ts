import { describe, expect, it } from 'vitest';
import { measurePace } from './progress.ts';

describe('the pace of a phase', () => {
  it('is not told within the first second, nor before anything is done', () => {
    expect(measurePace(500, 1000, 999)).toEqual({ perSecond: null, etaSeconds: null });
    expect(measurePace(0, 1000, 60_000)).toEqual({ perSecond: null, etaSeconds: null });
  });

  it('is the average since the phase began, and what is left at that rate', () => {
    expect(measurePace(4000, 10_000, 2000)).toEqual({ perSecond: 2000, etaSeconds: 3 });
    expect(measurePace(10_000, 10_000, 5000)).toEqual({ perSecond: 2000, etaSeconds: 0 });
    expect(measurePace(3, 4, 10_000)).toEqual({ perSecond: 0.3, etaSeconds: 4 });
  });

  it('has no end where the total is unknown, or was an estimate that was passed', () => {
    expect(measurePace(4000, null, 2000)).toEqual({ perSecond: 2000, etaSeconds: null });
    expect(measurePace(4001, 4000, 2000).etaSeconds).toBeNull();
  });
});
