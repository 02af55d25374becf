/**
 * The configuration: each room's section put together, read from one YAML file, every fault reported at once with its
 * line, path and remedy. Secrets are not part of it: they come from the environment (environment.ts).
 */
import { readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { LineCounter, parseDocument, type Document } from 'yaml';
import { z } from 'zod';
import { entraConfigSchema } from '../connectors/entra/config.ts';
import { RollcallError } from '../core/errors.ts';
import { inputFaults } from '../core/input-faults.ts';
import { databaseConfigSchema } from '../db/config.ts';
import {
  httpConfigSchema,
  loggingConfigSchema,
  managementConfigSchema,
  outboundConfigSchema,
} from '../platform/config.ts';
import { historyConfigSchema } from '../reconciliation/config.ts';
import { scheduleConfigSchema } from '../schedule/config.ts';
import { scimConfigSchema } from '../scim/config.ts';
import type { Environment } from './environment.ts';

export const configSchema = z.strictObject({
  dataFolder: z
    .string()
    .min(1)
    .optional()
    .describe(
      'Where the embedded Postgres and the generated master key live. Default: /var/lib/rollcall for root, else .local/share/rollcall in the home folder.',
    ),
  baseDomain: z
    .string()
    .regex(/^(?=.{3,180}$)[a-z0-9-]+(\.[a-z0-9-]+)+$/, 'must be a domain name in lower case')
    .default('rollcall.local')
    .describe(
      'Every root organization has the built-in domain <slug>.<baseDomain>, so that usernames exist before a domain is proven.',
    ),
  database: databaseConfigSchema.prefault({}).describe('The connection pools. The address is DATABASE_URL.'),
  http: httpConfigSchema.prefault({}).describe('The port of the API, SCIM and the console.'),
  management: managementConfigSchema.prefault({}).describe('Health and metrics.'),
  outbound: outboundConfigSchema.prefault({}).describe('What connections and webhooks may reach.'),
  entra: entraConfigSchema
    .prefault({})
    .describe('Identities of this machine that connections to Microsoft Entra ID may borrow.'),
  history: historyConfigSchema.prefault({}).describe('How long runs are remembered.'),
  schedule: scheduleConfigSchema.prefault({}).describe('Scheduled runs and the worker.'),
  scim: scimConfigSchema.prefault({}).describe('What identity providers push by SCIM.'),
  logging: loggingConfigSchema.prefault({}).describe('The log: JSON lines.'),
});
export type Config = z.output<typeof configSchema>;

export type ConfigFault = {
  /** 1-based; null where the fault is not at a place in the file. */
  readonly line: number | null;
  readonly path: string;
  readonly message: string;
  readonly remedy: string | null;
};

export type ConfigResult =
  | { readonly isValid: true; readonly config: Config }
  | { readonly isValid: false; readonly faults: readonly ConfigFault[] };

export type LoadedConfig = { readonly file: string; readonly config: Config };

/** --config, else ROLLCALL_CONFIG, else the file that comes with the package. */
export function configFileOf(environment: Environment, option: string | undefined): string {
  return resolve(option ?? environment.configFile ?? join(environment.home, 'config', 'rollcall.yaml'));
}

/** Throws `invalid_config` whose message lists every fault. */
export function loadConfig(file: string): LoadedConfig {
  const result = checkConfig(readConfigFile(file));
  if (result.isValid) return { file, config: result.config };
  const count = result.faults.length;
  throw new RollcallError(
    'invalid_config',
    [`${file} has ${count} fault${count === 1 ? '' : 's'}:`, ...result.faults.map(describeFault)].join('\n'),
    { details: { file, faults: result.faults } },
  );
}

function readConfigFile(file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch (cause) {
    throw new RollcallError('invalid_config', `The configuration file ${file} can not be read.`, {
      cause,
      remedy: 'Name another one with --config or ROLLCALL_CONFIG.',
      raw: cause instanceof Error ? cause.message : String(cause),
    });
  }
}

export function describeFault(fault: ConfigFault): string {
  const place = fault.line === null ? '' : `line ${fault.line}: `;
  const path = fault.path === '' ? '' : `${fault.path}: `;
  return `  ${place}${path}${fault.message}${fault.remedy === null ? '' : ` ${fault.remedy}`}`;
}

export function checkConfig(text: string): ConfigResult {
  const lines = new LineCounter();
  const document = parseDocument(text, { lineCounter: lines, uniqueKeys: true, strict: true, prettyErrors: false });
  const faults: ConfigFault[] = document.errors.map((error) => ({
    line: lines.linePos(error.pos[0]).line,
    path: '',
    message: `${firstLine(error.message)}.`,
    remedy: null,
  }));
  // what could not be parsed is not worth checking: it would only repeat the fault in other words
  if (faults.length > 0) return { isValid: false, faults };
  const result = configSchema.safeParse(document.toJS({ maxAliasCount: 20 }) ?? {});
  if (result.success) return { isValid: true, config: result.data };
  const found = inputFaults(result.error, configSchema).map(({ path, message, remedy }) => ({
    ...placeOf(path, document, lines),
    message,
    remedy,
  }));
  // in the order in which a person reads the file
  return { isValid: false, faults: found.toSorted((a, b) => (a.line ?? 0) - (b.line ?? 0)) };
}

function placeOf(
  path: readonly PropertyKey[],
  document: Document,
  lines: LineCounter,
): Pick<ConfigFault, 'line' | 'path'> {
  const steps = path.filter((step) => typeof step !== 'symbol');
  for (let length = steps.length; length > 0; length -= 1) {
    const node: unknown = document.getIn(steps.slice(0, length), true);
    const range: unknown = typeof node === 'object' && node !== null ? Reflect.get(node, 'range') : undefined;
    const offset: unknown = Array.isArray(range) ? range[0] : undefined;
    if (typeof offset === 'number') return { line: lines.linePos(offset).line, path: steps.join('.') };
  }
  return { line: null, path: steps.join('.') };
}

/** The JSON Schema of what may stand in the file, for editors; config/rollcall.schema.json is this, kept by a test. */
export function configJsonSchema(): Readonly<Record<string, unknown>> {
  const { $schema, ...schema } = z.toJSONSchema(configSchema, { io: 'input' });
  return { $schema, title: 'Rollcall configuration', ...schema };
}

function firstLine(text: string): string {
  return text.split('\n')[0] ?? text;
}

export function dataFolderOf(config: Config, environment: Environment): string {
  if (config.dataFolder !== undefined) return resolve(config.dataFolder);
  return environment.isRoot ? '/var/lib/rollcall' : join(environment.userHome, '.local', 'share', 'rollcall');
}
