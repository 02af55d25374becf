/** Whether a number of whole days has passed: what grace, removal and rehire count in. */
const dayMs = 86_400_000;

export function isOver(since: string, days: number, now: string): boolean {
  return Date.parse(now) >= Date.parse(since) + days * dayMs;
}
