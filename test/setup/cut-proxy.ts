/** A TCP proxy in front of the database whose connections a test can reset, close or freeze at any moment. */
import { connect, createServer, type Socket } from 'node:net';
import { join } from 'node:path';
import { parseDatabaseUrl } from '../../src/db/pools.ts';

export type CutProxy = {
  /** The given url, through the proxy. */
  readonly url: string;
  /** `reset` sends RST, `end` a FIN; both at once and on every connection. */
  cut(how: 'reset' | 'end'): void;
  /** Resets the next connection that sends this text, before the database sees it. */
  cutAt(text: string): void;
  /** Refuses or accepts new connections. */
  refuse(isRefusing: boolean): void;
  /** Stops passing bytes without closing anything: a network that lost its route. */
  freeze(): void;
  close(): Promise<void>;
};

export async function startCutProxy(url: string): Promise<CutProxy> {
  const address = parseDatabaseUrl(url);
  const pairs = new Set<readonly [Socket, Socket]>();
  let isRefusing = false;
  let fatalText: string | null = null;
  const server = createServer((client) => {
    if (isRefusing) {
      client.resetAndDestroy();
      return;
    }
    const upstream = address.host.startsWith('/')
      ? connect(join(address.host, `.s.PGSQL.${address.port}`))
      : connect(address.port, address.host);
    const pair = [client, upstream] as const;
    pairs.add(pair);
    client.on('data', (bytes: Buffer) => {
      if (fatalText === null || !bytes.includes(fatalText)) return;
      fatalText = null;
      client.resetAndDestroy();
    });
    for (const [from, to] of [pair, [upstream, client] as const]) {
      from.pipe(to);
      // a cut socket reports its reset here; what the client under test makes of it is the test
      from.on('error', () => to.destroy());
      from.on('close', () => {
        to.destroy();
        pairs.delete(pair);
      });
    }
  });
  await new Promise<void>((resolve) => {
    server.listen(0, '127.0.0.1', resolve);
  });
  const place = server.address();
  if (place === null || typeof place === 'string') throw new Error('the proxy has no port');
  const proxied = new URL(url);
  proxied.searchParams.delete('host');
  proxied.hostname = '127.0.0.1';
  proxied.port = String(place.port);
  return {
    url: proxied.href,
    cut: (how) => {
      for (const [client] of pairs) {
        if (how === 'reset') client.resetAndDestroy();
        else client.destroy();
      }
    },
    cutAt: (text) => {
      fatalText = text;
    },
    refuse: (value) => {
      isRefusing = value;
    },
    freeze: () => {
      for (const [client, upstream] of pairs) {
        client.unpipe();
        upstream.unpipe();
      }
    },
    close: async () => {
      for (const [client] of pairs) client.destroy();
      await new Promise<void>((resolve) => {
        server.close(() => resolve());
      });
    },
  };
}
