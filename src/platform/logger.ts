/**
 * platform/logger: pino JSON lines. Three walls against secrets (operations.md: pino's `redact` leaked 6 of 7):
 * `Secret` hides itself, only the fields named here are written, and a scrubber goes over the finished line.
 */
import { pino, type DestinationStream, type Logger as PinoLogger } from 'pino';
import { isRollcallError } from '../core/errors.ts';
import { scrub } from './scrub.ts';

export type Logger = Pick<PinoLogger, 'trace' | 'debug' | 'info' | 'warn' | 'error' | 'fatal' | 'child'>;

export const logLevels = ['trace', 'debug', 'info', 'warn', 'error', 'silent'] as const;
export type LogLevel = (typeof logLevels)[number];

/** Fields a log line may carry. Another one is left out and its name is listed under `dropped`. */
const allowedFields = new Set([
  'err',
  'error',
  'code',
  'reason',
  'role',
  'room',
  'name',
  'pid',
  'workerPid',
  'exitCode',
  'signal',
  'host',
  'port',
  'version',
  'serverVersion',
  'url',
  'path',
  'file',
  'folder',
  'method',
  'route',
  'status',
  'requestId',
  'actor',
  'tenantId',
  'organizationId',
  'connectionId',
  'connection',
  'kind',
  'runId',
  'userId',
  'phase',
  'mode',
  'jobId',
  'job',
  'queue',
  'attempt',
  'attempts',
  'count',
  'counts',
  'done',
  'total',
  'pages',
  'bytes',
  'durationMs',
  'delayMs',
  'waitMs',
  'retryAfterSeconds',
  'scheduledFor',
  'nextRunAt',
  'lagMs',
  'migration',
  'statement',
  'type',
  'id',
  'step',
  'held',
  'seconds',
  'epoch',
  'subjects',
]);

export type LoggerOptions = {
  readonly level: LogLevel;
  /** 1 for a daemon, 2 for a command whose stdout carries data. */
  readonly fileDescriptor: 1 | 2;
  /** Tests read the lines here. */
  readonly destination?: DestinationStream;
};

export function createLogger(options: LoggerOptions): Logger {
  const destination = options.destination ?? pino.destination({ dest: options.fileDescriptor, sync: true });
  const logger = pino(
    {
      level: options.level,
      base: { pid: process.pid },
      timestamp: pino.stdTimeFunctions.isoTime,
      errorKey: 'err',
      formatters: {
        level: (label) => ({ level: label }),
        log: keepAllowed,
      },
      serializers: { err: serializeError, error: serializeError },
      hooks: { streamWrite: scrub },
    },
    destination,
  );
  return filterChildren(logger);
}

/** pino's own `bindings` formatter is not asked for children; they inherit this `child` by their prototype. */
function filterChildren(logger: PinoLogger): Logger {
  const makeChild: unknown = Reflect.get(logger, 'child');
  if (typeof makeChild !== 'function') throw new TypeError('pino has no child()');
  const child = function (this: PinoLogger, bindings: Record<string, unknown>, options?: object): unknown {
    return Reflect.apply(makeChild, this, [keepAllowed(bindings), options]);
  };
  return Object.assign(logger, { child: child as PinoLogger['child'] });
}

function keepAllowed(fields: Record<string, unknown>): Record<string, unknown> {
  const kept: Record<string, unknown> = {};
  const dropped: string[] = [];
  for (const [key, value] of Object.entries(fields)) {
    if (allowedFields.has(key)) kept[key] = value;
    else dropped.push(key);
  }
  if (dropped.length > 0) kept['dropped'] = dropped;
  return kept;
}

/** A guard against chains that point at themselves, and against pages of nested causes. */
const maxCauses = 5;

/**
 * An error as plain data: our code, sentence, remedy and raw text, then each cause's type, code and message. Never the
 * other properties: drivers hang queries with their parameters, requests and headers on their errors.
 */
export function serializeError(error: unknown, depth = 0): unknown {
  if (!(error instanceof Error)) return typeof error === 'string' ? error : typeof error;
  const cause = depth < maxCauses && error.cause !== undefined ? { cause: serializeError(error.cause, depth + 1) } : {};
  const stack = depth === 0 && error.stack !== undefined ? { stack: framesOf(error.stack) } : {};
  if (isRollcallError(error)) {
    return { code: error.code, message: error.message, remedy: error.remedy, raw: error.raw, ...cause, ...stack };
  }
  const code: unknown = Reflect.get(error, 'code');
  return {
    type: error.name,
    message: error.message,
    ...(typeof code === 'string' || typeof code === 'number' ? { code } : {}),
    ...cause,
    ...stack,
  };
}

/** The frames only: the first lines repeat the message, which stands beside it. */
function framesOf(stack: string): string {
  return stack
    .split('\n')
    .filter((line) => line.startsWith('    at '))
    .join('\n');
}
