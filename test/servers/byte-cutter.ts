/** A TCP proxy that passes bytes on until a limit, then cuts the connection or falls silent: a network in the middle of a read. */
import { connect, createServer } from 'node:net';
import type { AddressInfo, Socket } from 'node:net';

export type ByteCutter = { readonly port: number; stop(): Promise<void> };

export async function startByteCutter(
  target: { readonly host: string; readonly port: number },
  options: { readonly afterBytes: number; readonly fault: 'cut' | 'reset' | 'silence' },
): Promise<ByteCutter> {
  const sockets = new Set<Socket>();
  const server = createServer((client) => {
    const upstream = connect(target);
    let left = options.afterBytes;
    for (const socket of [client, upstream]) {
      sockets.add(socket);
      socket.on('error', () => undefined);
      socket.on('close', () => {
        sockets.delete(socket);
        client.destroy();
        upstream.destroy();
      });
    }
    client.pipe(upstream);
    upstream.on('data', (chunk: Buffer) => {
      if (left <= 0) return;
      client.write(chunk.subarray(0, left));
      left -= chunk.length;
      if (left > 0 || options.fault === 'silence') return;
      // The part that was passed on must arrive first: a read has to begin well before it breaks.
      if (options.fault === 'cut') client.end();
      else client.end(() => client.resetAndDestroy());
    });
  });
  await new Promise<void>((resolve) => {
    server.listen(0, '127.0.0.1', resolve);
  });
  return {
    port: (server.address() as AddressInfo).port,
    async stop() {
      for (const socket of sockets) socket.destroy();
      await new Promise((resolve) => {
        server.close(resolve);
      });
    },
  };
}
