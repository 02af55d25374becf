import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { Agent, createServer, type Server } from 'node:https';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { makeServerCertificate } from '../../test/servers/certificates.ts';
import { createDialer } from '../platform/dialer.ts';
import { createHttpsSend, type WebhookRequest } from './outbox.ts';

type Seen = { readonly method: string; readonly path: string; readonly id: unknown; readonly body: string };

let folder: string;
let server: Server;
let caPem: string;
let seen: Seen[];

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'rollcall-send-'));
  const certificate = await makeServerCertificate(folder, {
    authority: 'Test',
    subject: 'localhost',
    subjectAltName: 'DNS:localhost',
  });
  caPem = certificate.caPem;
  seen = [];
  const files = { cert: readFileSync(certificate.certPath), key: readFileSync(certificate.keyPath) };
  server = createServer(files, (request, response) => {
    let body = '';
    request.on('data', (chunk: Buffer) => {
      body += chunk.toString();
    });
    request.on('end', () => {
      const path = request.url ?? '';
      seen.push({ method: request.method ?? '', path, id: request.headers['webhook-id'], body });
      if (path === '/stall') return;
      if (path === '/redirect') response.writeHead(307, { location: '/elsewhere' }).end();
      else if (path === '/endless') response.writeHead(200).write('x'.repeat(1000));
      else response.writeHead(204).end();
    });
  });
  await new Promise<void>((resolve) => {
    server.listen(0, '127.0.0.1', resolve);
  });
});

afterAll(async () => {
  server.closeAllConnections();
  await new Promise((resolve) => {
    server.close(resolve);
  });
  rmSync(folder, { recursive: true });
});

const trusting = () => createHttpsSend({ dialer: { agent: () => new Agent({ ca: caPem, keepAlive: false }) } });
const requestTo = (path: string, signal = AbortSignal.timeout(5000)): WebhookRequest => ({
  url: `https://localhost:${(server.address() as AddressInfo).port}${path}`,
  headers: { 'webhook-id': 'msg_1' },
  body: '{"ü":1}',
  signal,
});

describe('the default sender', () => {
  it('posts body and headers as they were signed, and answers the status', async () => {
    expect(await trusting()(requestTo('/ok'))).toEqual({ status: 204 });
    expect(seen.at(-1)).toEqual({ method: 'POST', path: '/ok', id: 'msg_1', body: '{"ü":1}' });
  });

  it('follows no redirect and waits for no body', async () => {
    expect(await trusting()(requestTo('/redirect'))).toEqual({ status: 307 });
    expect(await trusting()(requestTo('/endless'))).toEqual({ status: 200 });
    expect(seen.map((request) => request.path)).not.toContain('/elsewhere');
  });

  it('gives up when its time is over', async () => {
    await expect(trusting()(requestTo('/stall', AbortSignal.timeout(100)))).rejects.toThrow('aborted');
  });

  it('does not talk to a certificate it does not trust, nor without TLS', async () => {
    const before = seen.length;
    const wary = createHttpsSend({ dialer: createDialer({ allowPrivateRanges: ['127.0.0.1', '::1', 'localhost'] }) });
    await expect(wary(requestTo('/ok'))).rejects.toThrow(/certificate/);
    await expect(wary({ ...requestTo('/ok'), url: 'http://localhost/' })).rejects.toThrow('https');
    expect(seen).toHaveLength(before);
  });

  it.each([
    'https://localhost/',
    'https://127.0.0.1/',
    'https://2130706433/',
    'https://[::1]/',
    'https://169.254.169.254/',
  ])('does not reach into the operator’s network through %s', async (url) => {
    const send = createHttpsSend({ dialer: createDialer() });
    const attempt = send({ ...requestTo('/ok'), url });
    await expect(attempt).rejects.toThrow(/private or reserved/);
  });
});
