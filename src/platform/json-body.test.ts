import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import express, { type NextFunction, type Request, type Response } from 'express';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { jsonBody } from './json-body.ts';

const app = express();
app.post('/', jsonBody({ limitBytes: 1000 }), (request: Request, response: Response) => {
  response.json(Object.keys(request.body as object));
});
// express knows a handler of errors by its four parameters
app.use((error: Error, _request: Request, response: Response, _next: NextFunction) => {
  response.status(400).json(error.message);
});
const server = app.listen(0, '127.0.0.1');

beforeAll(async () => {
  if (!server.listening) await once(server, 'listening');
});
afterAll(() => {
  server.close();
  server.closeAllConnections();
});

async function post(body: string): Promise<unknown> {
  const { port } = server.address() as AddressInfo;
  const headers = { 'content-type': 'application/json' };
  return (await fetch(`http://127.0.0.1:${port}/`, { method: 'POST', headers, body })).json();
}

describe('a JSON body', () => {
  it('is handed on with the keys it has', async () => {
    expect(await post('{"a":1,"proto":{"__proto":2}}')).toEqual(['a', 'proto']);
  });

  it.each(['{"a":{"__proto__":{"x":1}}}', '{"__proto__":1}', '[{"\\u005f_proto__":1}]'])(
    'that has a key __proto__ is refused, whatever it is for: %s',
    async (body) => expect(await post(body)).toBe('a key named __proto__'),
  );
});
