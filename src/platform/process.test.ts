/** What a process says (the log) and how it ends (the lifecycle). */
import { describe, expect, it } from 'vitest';
import { RollcallError } from '../core/errors.ts';
import { createSignalReader, Lifecycle } from './lifecycle.ts';
import { createLogger } from './logger.ts';
import { Secret } from './secrets.ts';

function capture(): { lines: Record<string, unknown>[]; logger: ReturnType<typeof createLogger> } {
  const lines: Record<string, unknown>[] = [];
  const logger = createLogger({
    level: 'trace',
    fileDescriptor: 2,
    destination: { write: (line) => void lines.push(JSON.parse(line) as Record<string, unknown>) },
  });
  return { lines, logger };
}

describe('the log', () => {
  const canary = 'c4n4ry-7f3a';

  it('lets no planted secret out: not by a field, a nested error, a message, a Secret or a child', () => {
    const { lines, logger } = capture();
    const driverError = Object.assign(new Error('failed'), {
      parameters: [canary],
      query: `set password = '${canary}'`,
    });
    logger.info({ password: canary, headers: { authorization: canary } }, 'fields');
    logger.error(
      { err: new RollcallError('internal', 'x', { cause: driverError, details: { secret: canary } }) },
      'error',
    );
    logger.warn({ reason: new Secret(canary) }, 'a Secret');
    logger.warn({}, `Authorization: Bearer ${canary} and rcl_api_0123456789_${canary.replaceAll('-', '')}abcdefgh`);
    logger.warn({ url: `postgresql://rollcall:${canary}@db/rollcall` }, 'url');
    logger.child({ token: canary }).info({}, 'child');
    const text = JSON.stringify(lines);
    expect(lines).toHaveLength(6);
    expect(text).not.toContain(canary);
    expect(text).not.toContain(canary.replaceAll('-', ''));
    expect(text).toContain('rcl_api_0123456789_[secret]');
  });

  it('names the fields it left out, so that nobody looks for them in vain', () => {
    const { lines, logger } = capture();
    logger.info({ runId: 'r', surprise: 1 }, 'x');
    expect(lines[0]).toMatchObject({ runId: 'r', dropped: ['surprise'] });
  });

  it('tells an error with code, remedy, raw text and its causes', () => {
    const { lines, logger } = capture();
    const cause = Object.assign(new Error('connect ECONNREFUSED'), { code: 'ECONNREFUSED' });
    logger.error({
      err: new RollcallError('directory_unreachable', 'Nothing answers.', { cause, remedy: 'Look.', raw: 'E' }),
    });
    expect(lines[0]?.['err']).toMatchObject({
      code: 'directory_unreachable',
      message: 'Nothing answers.',
      remedy: 'Look.',
      raw: 'E',
      cause: { code: 'ECONNREFUSED', message: 'connect ECONNREFUSED' },
    });
  });
});

describe('the lifecycle', () => {
  it('aborts first, then closes in reverse order, once, and goes on past a closer that fails', async () => {
    const { logger } = capture();
    const lifecycle = new Lifecycle({ logger });
    const closed: string[] = [];
    lifecycle.own('pool', () => void closed.push(`pool ${lifecycle.signal.aborted}`));
    lifecycle.own('broken', () => Promise.reject(new Error('no')));
    lifecycle.own('server', () => void closed.push('server'));
    expect(await Promise.all([lifecycle.shutDown('a'), lifecycle.shutDown('b')])).toEqual(['clean', 'clean']);
    expect(closed).toEqual(['server', 'pool true']);
  });

  it('abandons a closer that hangs, says which, and reports it', async () => {
    const { logger, lines } = capture();
    const lifecycle = new Lifecycle({ logger, deadlineMs: 20 });
    lifecycle.own('hanging', () => new Promise(() => undefined));
    expect(await lifecycle.shutDown('test')).toBe('abandoned');
    expect(lines.some((line) => line['name'] === 'hanging')).toBe(true);
  });

  it('closes at once what opens while it shuts down', async () => {
    const { logger } = capture();
    const lifecycle = new Lifecycle({ logger });
    await lifecycle.shutDown('test');
    const closed = Promise.withResolvers<void>();
    lifecycle.own('late', closed.resolve);
    await closed.promise;
  });

  it('takes a second signal within a second as the echo of the first, and a later one as an order', () => {
    let now = 0;
    const read = createSignalReader(() => now);
    expect(read('SIGINT')).toEqual({ signal: 'SIGINT', isForced: false });
    now = 999;
    expect(read('SIGINT')).toBeNull();
    now = 1000;
    expect(read('SIGTERM')).toEqual({ signal: 'SIGTERM', isForced: true });
  });
});
