/** HTTP as a program outside would do it: the API and SCIM, with bearer tokens. */
export type Web = (method: string, path: string, body?: unknown) => Promise<Record<string, unknown>>;

const timeoutMs = 15_000;

export function createWeb(baseUrl: string, token: string, contentType: string, signal: AbortSignal): Web {
  return async (method, path, body) => {
    const answer = await fetch(`${baseUrl}${path}`, {
      method,
      headers: { authorization: `Bearer ${token}`, 'content-type': contentType },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      signal: AbortSignal.any([signal, AbortSignal.timeout(timeoutMs)]),
    });
    const text = await answer.text();
    if (!answer.ok) throw new Error(`${method} ${path} was answered with ${answer.status}: ${text.slice(0, 500)}`);
    return text === '' ? {} : (JSON.parse(text) as Record<string, unknown>);
  };
}
