/** TLS on a connected socket, with what went wrong in words. */
import type { Socket } from 'node:net';
import { RollcallError } from '../../core/errors.ts';
import type { Dialer } from '../../platform/dialer.ts';
import { tlsFailure } from './failures.ts';

export async function secured(
  dialer: Dialer,
  plain: Socket,
  target: Parameters<Dialer['startTls']>[1],
): Promise<Socket> {
  try {
    return await dialer.startTls(plain, target);
  } catch (error) {
    if (error instanceof RollcallError || target.signal?.aborted === true) throw error;
    throw tlsFailure(error, target.host);
  }
}
