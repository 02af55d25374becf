/** What a route answers, before a fault may spoil it. */

export type Reply = {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  /** A string is sent as it is; everything else as JSON. */
  readonly body: unknown;
};

/** Graph's error envelope (graph-examples "error-envelope"). */
export function graphError(
  status: number,
  code: string,
  message: string,
  headers: Readonly<Record<string, string>> = {},
): Reply {
  const requestId = '00000000-0000-0000-0000-000000000001';
  return {
    status,
    headers,
    body: { error: { code, message, innerError: { date: '2026-01-01T00:00:00', 'request-id': requestId } } },
  };
}

export function json(body: unknown, headers: Readonly<Record<string, string>> = {}): Reply {
  return { status: 200, headers, body };
}
