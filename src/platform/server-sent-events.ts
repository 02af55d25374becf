/**
 * platform/server-sent-events: the text of an event stream (HTML Living Standard, section 9.2). A stream is told to
 * reconnect after `retry` milliseconds, names each event by an id that comes back in Last-Event-ID, and carries a comment
 * now and then, because proxies cut what is silent.
 */

export const eventStreamHeaders = {
  'Content-Type': 'text/event-stream; charset=utf-8',
  // nginx holds an answer back until its buffer is full unless told (X-Accel-Buffering)
  'X-Accel-Buffering': 'no',
  // the connection carries nothing after the stream: it must not hold up a server that stops
  Connection: 'close',
} as const;

export function formatRetry(ms: number): string {
  return `retry: ${Math.trunc(ms)}\n\n`;
}

/** `id` and `name` are ours: one line each, without NUL. JSON has no line breaks of its own. */
export function formatEvent(event: { readonly id: string; readonly name: string; readonly data: unknown }): string {
  return `id: ${event.id}\nevent: ${event.name}\ndata: ${JSON.stringify(event.data)}\n\n`;
}

export function formatComment(text: string): string {
  return `: ${text}\n\n`;
}
