/** Postgres answers times as `2026-01-31 09:00:00.123456+00`; every door of Rollcall answers RFC 3339 in UTC. */
export function toIso(text: string): string {
  return new Date(text).toISOString();
}

export function toIsoOrNull(text: string | null): string | null {
  return text === null ? null : toIso(text);
}
