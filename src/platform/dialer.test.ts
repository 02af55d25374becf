import { createServer, request as httpsRequest } from 'node:https';
import { createServer as createTcpServer } from 'node:net';
import type { AddressInfo, Server } from 'node:net';
import fc from 'fast-check';
import { afterEach, describe, expect, test } from 'vitest';
import { isRollcallError } from '../core/errors.ts';
import { createAddressPolicy } from './address-policy.ts';
import { createDialer } from './dialer.ts';

const open: Server[] = [];
afterEach(async () => {
  for (const server of open.splice(0)) await new Promise((resolve) => server.close(resolve));
});

async function listen(server: Server): Promise<number> {
  open.push(server);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return (server.address() as AddressInfo).port;
}

const to127 = async () => [{ address: '127.0.0.1', family: 4 as const }];

describe('address policy', () => {
  const policy = createAddressPolicy([]);

  test.each([
    '127.0.0.1',
    '0.0.0.0',
    '10.1.2.3',
    '172.31.255.255',
    '192.168.1.1',
    '169.254.169.254',
    '168.63.129.16',
    '100.100.100.200',
    '224.0.0.1',
    '255.255.255.255',
    '::',
    '::1',
    '::ffff:127.0.0.1',
    '::ffff:7f00:1',
    '::127.0.0.1',
    '64:ff9b::10.0.0.1',
    '64:ff9b:1::1',
    '2002:7f00:0001::',
    '2002:a9fe:a9fe::1',
    'fd00:ec2::254',
    'fe80::1',
    'fe80::1%eth0',
    'ff02::1',
  ])('refuses %s', (address) => {
    expect(policy.allows('directory.example.org', address)).toBe(false);
  });

  test.each(['8.8.8.8', '172.32.0.1', '2606:4700::1111', '64:ff9b::808:808', '2002:808:808::1', '::ffff:8.8.8.8'])(
    'allows the public %s',
    (address) => {
      expect(policy.allows('directory.example.org', address)).toBe(true);
    },
  );

  test('every private IPv4 address is refused in each of its IPv6 spellings', () => {
    const byte = fc.integer({ min: 0, max: 255 });
    fc.assert(
      fc.property(fc.constantFrom('10', '127', '192.168', '169.254'), byte, byte, byte, (head, a, b, c) => {
        const address = [...head.split('.'), a, b, c].slice(0, 4).join('.');
        const hex = address.split('.').map((part) => Number(part).toString(16).padStart(2, '0'));
        const six = `2002:${hex[0]}${hex[1]}:${hex[2]}${hex[3]}::`;
        for (const form of [address, `::ffff:${address}`, `64:ff9b::${address}`, six]) {
          expect(policy.allows('x.example', form), form).toBe(false);
        }
      }),
    );
  });

  test('the operator allows ranges, single addresses and host names, and nothing beyond them', () => {
    const some = createAddressPolicy(['10.1.0.0/16', '::1', 'DC1.corp.example.']);
    expect(some.allows('a', '10.1.2.3')).toBe(true);
    expect(some.allows('a', '10.2.2.3')).toBe(false);
    expect(some.allows('a', '::ffff:10.1.2.3')).toBe(true);
    expect(some.allows('a', '::1')).toBe(true);
    expect(some.allows('dc1.CORP.example', '192.168.0.9')).toBe(true);
    expect(some.allows('dc2.corp.example', '192.168.0.9')).toBe(false);
  });

  test.each(['10.0.0.0/33', '10.0.0.0/', '10.0.0.0/x', 'what/8'])('refuses the range %s at start', (range) => {
    expect(() => createAddressPolicy([range])).toThrow(/neither an address range/);
  });
});

describe('dialer', () => {
  test('numeric spellings of loopback are refused after the resolver made addresses of them', async () => {
    const dialer = createDialer();
    for (const host of ['2130706433', '0x7f.1', 'localhost']) {
      await expect(dialer.resolve(host), host).rejects.toMatchObject({ raw: 'address_not_allowed' });
    }
  });

  test('one private address among several refuses the name', async () => {
    const resolveName = async () => [{ address: '8.8.8.8', family: 4 as const }, ...(await to127())];
    await expect(createDialer({ resolveName }).resolve('mixed.example')).rejects.toMatchObject({
      raw: 'address_not_allowed',
    });
  });

  test('the name is resolved once: what was checked is what is dialed', async () => {
    const port = await listen(createTcpServer((socket) => socket.end()));
    let calls = 0;
    const resolveName = async () => {
      calls += 1;
      return to127();
    };
    const dialer = createDialer({ resolveName, allowPrivateRanges: ['127.0.0.1'] });
    const socket = await dialer.connectTcp({ host: 'rebinding.example', port, timeoutMs: 2_000 });
    expect(socket.remoteAddress).toBe('127.0.0.1');
    expect(calls).toBe(1);
    socket.destroy();
  });

  test('a closed port is one sentence with the code', async () => {
    const server = createTcpServer();
    const port = await listen(server);
    await new Promise((resolve) => open.pop()?.close(resolve));
    const dialer = createDialer({ allowPrivateRanges: ['127.0.0.1'] });
    await expect(dialer.connectTcp({ host: '127.0.0.1', port, timeoutMs: 2_000 })).rejects.toMatchObject({
      code: 'directory_unreachable',
      raw: 'ECONNREFUSED',
    });
  });

  test('a TLS handshake that never ends fails at the time limit', async () => {
    const port = await listen(createTcpServer((socket) => socket.resume().on('error', () => undefined)));
    const dialer = createDialer({ allowPrivateRanges: ['127.0.0.1'] });
    const dialing = dialer.connectTls({ host: '127.0.0.1', port, timeoutMs: 100 });
    await expect(dialing).rejects.toMatchObject({ code: 'directory_unreachable', raw: 'ETIMEDOUT' });
  });

  test('an abort rejects with its own reason', async () => {
    const port = await listen(createTcpServer((socket) => socket.resume().on('error', () => undefined)));
    const dialer = createDialer({ allowPrivateRanges: ['127.0.0.1'] });
    const aborter = new AbortController();
    const dialing = dialer.connectTls({ host: '127.0.0.1', port, timeoutMs: 5_000, signal: aborter.signal });
    aborter.abort(new Error('stop'));
    await expect(dialing).rejects.toThrow('stop');
  });

  test.each(['literal', 'name'])('the https agent refuses a private %s', async (form) => {
    const port = await listen(createServer((_request, response) => response.end()));
    const agent = createDialer({ resolveName: to127 }).agent();
    const host = form === 'literal' ? '127.0.0.1' : 'inside.example';
    const error = await new Promise((resolve) => {
      try {
        httpsRequest({ host, port, agent }, resolve).on('error', resolve).end();
      } catch (thrown) {
        resolve(thrown);
      }
    });
    expect(isRollcallError(error, 'directory_unreachable'), String(error)).toBe(true);
    agent.destroy();
  });
});
