/** platform/logger: pino JSON lines; fields are allow-listed by their callers, secrets are `Secret` and hide themselves. */
import type { Logger as PinoLogger } from 'pino';

export type Logger = Pick<PinoLogger, 'trace' | 'debug' | 'info' | 'warn' | 'error' | 'fatal' | 'child'>;
