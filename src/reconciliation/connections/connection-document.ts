/**
 * The document that describes a connection: what `connections create -f` reads and `connections export` writes. One
 * strict schema, whose descriptions become the documentation; connector settings and secrets are checked by the
 * connector itself.
 */
import { isDeepStrictEqual } from 'node:util';
import { z } from 'zod';
import type { Connector } from '../../connectors/contract/contract.ts';
import { RollcallError } from '../../core/errors.ts';
import { describeInputFault, inputFaults, type InputFault } from '../../core/input-faults.ts';
import { guardLimitsSchema, mappingSchema, policySchema } from '../../core/policy.ts';
import { grantableRoles } from '../../core/roles.ts';
import { scimSettingsSchema } from '../../core/scim-settings.ts';
import { connectionKinds, type ConnectionKind } from '../../core/vocabulary.ts';

const target = {
  role: z.enum(grantableRoles).describe('The role to give.'),
  organization: z.string().min(1).optional().describe("Slug path; the connection's own organization unless given."),
  precedence: z.int().min(0).max(10_000).default(100).describe('Lower wins where one must be chosen (quota home).'),
};

export const roleMappingDocument = z.union([
  z.strictObject({
    group: z
      .union([z.string().min(1), z.strictObject({ id: z.string().min(1) })])
      .describe('Name of the group, pinned to its immutable id by the first read; or that id itself.'),
    ...target,
  }),
  z.strictObject({
    everyone: z.enum(grantableRoles).describe('The role of everybody in scope.'),
    organization: target.organization,
    precedence: target.precedence,
  }),
  z.strictObject({ predicate: z.string().min(1).max(2000).describe('CEL over `object`.'), ...target }),
]);
export type RoleMappingDocument = z.output<typeof roleMappingDocument>;

export const connectionDocument = z.strictObject({
  name: z.string().trim().min(1).max(200),
  kind: z.enum(connectionKinds),
  organization: z
    .string()
    .min(1)
    .describe('Slug path of the organization it belongs to, e.g. contoso or contoso/emea.'),
  schedule: z
    .strictObject({
      cron: z.string().min(1).describe('Five fields; see docs/connectors.md.'),
      timeZone: z.string().min(1).default('UTC').describe('IANA name, e.g. Europe/Berlin.'),
      jitterSeconds: z.int().min(0).max(3600).default(0),
    })
    .optional()
    .describe('Without one, runs are started by hand or by pushes only.'),
  priority: z.int().min(0).max(10_000).default(100).describe('Lower number wins where two directories disagree.'),
  ceiling: z.enum(grantableRoles).default('user').describe('The highest role this directory may give.'),
  settings: z.record(z.string(), z.unknown()).default({}),
  secrets: z.record(z.string(), z.unknown()).default({}),
  scope: policySchema.shape.scope,
  mappings: z.array(mappingSchema).max(100).default([]),
  extendMappings: policySchema.shape.extendMappings,
  correlation: policySchema.shape.correlation,
  conflict: policySchema.shape.conflict,
  leaver: policySchema.shape.leaver,
  roles: z.array(roleMappingDocument).max(1000).default([]),
  guards: guardLimitsSchema.prefault({}),
  quarantine: policySchema.shape.quarantine,
  approval: policySchema.shape.approval,
});
export type ConnectionDocument = z.output<typeof connectionDocument>;

/** Throws invalid_input that names every fault with its path; `more` finds those of parts that others know. */
export function parseConnectionDocument(
  value: unknown,
  more: (value: unknown) => readonly InputFault[] = () => [],
): ConnectionDocument {
  const parsed = connectionDocument.safeParse(value);
  if (parsed.success) return parsed.data;
  throw faultyDocument([...inputFaults(parsed.error, connectionDocument), ...more(value)]);
}

export function faultyDocument(faults: readonly InputFault[]): RollcallError {
  const lines = faults.map(describeInputFault);
  const count = `${lines.length} fault${lines.length === 1 ? '' : 's'}`;
  return new RollcallError(
    'invalid_input',
    [`The connection document has ${count}; nothing was saved:`, ...lines.map((line) => `  ${line}`)].join('\n'),
    { details: { faults: lines } },
  );
}

const sections = z.object({
  kind: z.enum(connectionKinds),
  settings: z.unknown().optional(),
  secrets: z.unknown().optional(),
});

/** Of a document that is faulty elsewhere: a person corrects it once, not fault by fault. */
export function faultsOfSections(connectors: ReadonlyMap<ConnectionKind, Connector>, value: unknown): InputFault[] {
  const { data } = sections.safeParse(value);
  const connector = data === undefined ? undefined : connectors.get(data.kind);
  if (data === undefined || connector === undefined) return [];
  const settings = connector.settingsSchema.safeParse(data.settings ?? {});
  const secrets = connector.secretsSchema.safeParse(data.secrets);
  return [
    ...(settings.success ? [] : faultsIn('settings', settings.error, connector.settingsSchema)),
    // an update may leave them out
    ...(data.secrets === undefined || secrets.success
      ? []
      : faultsIn('secrets', secrets.error, connector.secretsSchema)),
  ];
}

export function faultsIn(section: string, error: z.ZodError, schema: z.ZodType): InputFault[] {
  return inputFaults(error, schema).map((fault) => ({ ...fault, path: [section, ...fault.path] }));
}

/** Of a connection that is pushed to: no connector of its own checks them. */
export function parseScimSettings(value: unknown): unknown {
  const parsed = scimSettingsSchema.safeParse(value);
  if (parsed.success) return parsed.data;
  throw faultyDocument(faultsIn('settings', parsed.error, scimSettingsSchema));
}

/** As a person writes it: name and kind first. The database keeps the keys in an order of its own. */
export function inOrderOfReading(document: Record<string, unknown>): Record<string, unknown> {
  const known = Object.keys(connectionDocument.shape).filter((key) => key in document);
  return Object.fromEntries([...new Set([...known, ...Object.keys(document)])].map((key) => [key, document[key]]));
}

/** The part of a document that decisions go by, as the connection's row keeps it. */
export function policyOf(document: ConnectionDocument): Record<string, unknown> {
  const { scope, mappings, extendMappings, correlation, conflict, leaver, guards, quarantine, approval } = document;
  return {
    ...(scope === undefined ? {} : { scope }),
    mappings,
    ...(extendMappings === undefined ? {} : { extendMappings }),
    correlation,
    conflict,
    leaver,
    guards,
    quarantine,
    approval,
  };
}

const scopeKeys = [
  'organization',
  'ceiling',
  'settings',
  'scope',
  'mappings',
  'extendMappings',
  'correlation',
  'conflict',
  'leaver',
  'roles',
] as const;

/** A new schedule, priority or guard is none: what a priority changes is opened apart; anything else may change somebody, so its plan is shown first. */
export function isRescoped(before: Record<string, unknown> | null, document: ConnectionDocument): boolean {
  return scopeKeys.some((key) => !isDeepStrictEqual(before?.[key], toPlain(document[key])));
}

function toPlain(value: unknown): unknown {
  return value === undefined ? undefined : JSON.parse(JSON.stringify(value));
}
