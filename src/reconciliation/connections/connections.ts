/** Use cases of connections: create, change, list, export, pause, resume, test. */
import { z } from 'zod';
import { recordEvent } from '../../audit/audit.ts';
import type { Connector, TestStep } from '../../connectors/contract/contract.ts';
import { expressionsOf } from '../../core/correlation.ts';
import { RollcallError } from '../../core/errors.ts';
import { newId, type ConnectionId, type RunId, type TenantId } from '../../core/ids.ts';
import { compileMapper } from '../../core/mapping.ts';
import { mappingsInForce, policySchema, type Mapping, type Policy } from '../../core/policy.ts';
import { isWithinCeiling } from '../../core/roles.ts';
import { textKey } from '../../core/text-keys.ts';
import type { ConnectionKind } from '../../core/vocabulary.ts';
import type { Db, TenantTx } from '../../db/db.ts';
import type { SecretBox } from '../../platform/secrets.ts';
import {
  faultsIn,
  faultsOfSections,
  faultyDocument,
  isRescoped,
  inOrderOfReading,
  parseConnectionDocument,
  policyOf,
  parseScimSettings,
  type ConnectionDocument,
} from './connection-document.ts';
import {
  countHeldLinks,
  insertConnection,
  insertVersion,
  replaceRoleMappings,
  selectConnection,
  selectConnectionByName,
  selectConnections,
  selectRoleMappings,
  selectVersionDocument,
  toConnection,
  updateConnectionRow,
  type Connection,
  type ConnectionRow,
  type RoleMappingRow,
} from './connections-store.ts';
import { provenDomains } from '../../organizations/organizations.ts';
import { queueObjectRun } from '../run/object-runs.ts';
import { endRunsOf, settleStopped, type Stopped } from '../run/stop-run.ts';
import { resolveOrganization, wantedMappings } from './role-mapping-targets.ts';
import { syncCorrelationSpecs } from '../plan/correlation-specs.ts';
import { changePriority } from './source-priority.ts';
import { mappingsOfPushed } from '../push/pushed-mappings.ts';
import { noQuarantine } from './quarantine.ts';
import { testWithRules } from './test-sample.ts';

export type Connectors = ReadonlyMap<ConnectionKind, Connector>;

export type ConnectionsDeps = {
  readonly db: Db;
  readonly connectors: Connectors;
  readonly secretBox: SecretBox;
  /** Next slot of a cron expression in a time zone, as ISO text; throws invalid_input for a bad one. */
  readonly nextSlot: (cron: string, timeZone: string, after: Date) => string;
  readonly now: () => Date;
  /** In [0, 1); Math.random unless given. */
  readonly random?: () => number;
};

/** A connection with what a run needs: checked settings, opened secrets, compiled rules. */
export type OpenConnection = {
  readonly row: ConnectionRow;
  readonly connection: Connection;
  readonly policy: Policy;
  readonly mappings: readonly Mapping[];
  readonly roleMappings: readonly RoleMappingRow[];
};

export async function createConnection(
  deps: ConnectionsDeps,
  actor: string,
  tenantId: TenantId,
  value: unknown,
): Promise<Connection> {
  const document = parseConnectionDocument(value, (faulty) => faultsOfSections(deps.connectors, faulty));
  checkDocument(deps, document);
  return deps.db.tenant(tenantId, async (tx) => {
    if ((await selectConnectionByName(tx, document.name)) !== null) {
      throw new RollcallError('conflict', `There is already a connection named ${document.name}.`, {
        remedy: 'Choose another name, or change that one.',
      });
    }
    const id = newId<ConnectionId>();
    const organizationId = await resolveOrganization(tx, document.organization);
    await insertConnection(
      tx,
      {
        tenantId,
        id,
        organizationId,
        createdBy: actor,
        status: 'active',
        approvedVersion: firstApproval(document, 1),
        ...rowValues(deps, document, tenantId, id),
      },
      withoutSecrets(document),
    );
    await replaceRoleMappings(tx, id, await wantedMappings(tx, document, organizationId));
    await syncCorrelationSpecs(tx);
    await recordEvent(tx, {
      actor,
      action: 'connection.created',
      target: `connection:${id}`,
      details: { name: document.name },
    });
    return toConnection(await mustFind(tx, id));
  });
}

/** A changed scope, mapping, role or target makes the next run stop after its plan again. */
export async function updateConnection(
  deps: ConnectionsDeps,
  actor: string,
  tenantId: TenantId,
  id: ConnectionId,
  value: unknown,
): Promise<Connection> {
  const document = parseConnectionDocument(value, (faulty) => faultsOfSections(deps.connectors, faulty));
  return deps.db.tenant(tenantId, async (tx) => {
    const row = await mustFind(tx, id);
    if (row.kind !== document.kind) {
      throw new RollcallError(
        'invalid_input',
        `${row.name} is of kind ${row.kind}; the kind of a connection can not change.`,
      );
    }
    const hasSecrets = Object.keys(document.secrets).length > 0;
    const checked = checkDocument(deps, document, hasSecrets || row.secret === null);
    const connector = deps.connectors.get(document.kind);
    // the stored document leaves out what is a default, so both sides are parsed before they are compared
    const isMoved =
      connector !== undefined &&
      connector.target(connector.settingsSchema.parse(row.settings)) !== connector.target(checked.settings);
    if (isMoved && !hasSecrets) {
      throw new RollcallError(
        'invalid_input',
        `The server of ${row.name} changes, so its secret must be entered again.`,
        {
          remedy: 'Add the secrets section: a stored secret is never sent to another server.',
        },
      );
    }
    const version = row.version + 1;
    const organizationId = await resolveOrganization(tx, document.organization);
    const values = rowValues(deps, document, tenantId, id);
    const { secret, ...rest } = values;
    await updateConnectionRow(tx, id, {
      ...rest,
      ...(hasSecrets ? { secret } : {}),
      organizationId,
      version,
      // what was wrong may be right now: the next try comes when the schedule says, not when the pause would have ended
      ...(row.status === 'quarantined' ? { quarantineRetries: 0 } : {}),
      ...(row.status === 'quarantined' && row.kind === 'scim' ? { nextRunAt: deps.now().toISOString() } : {}),
      ...(isRescoped(await selectVersionDocument(tx, id, row.version), document)
        ? { cursor: null, approvedVersion: firstApproval(document, version) }
        : {}),
      ...(await changePriority(tx, row, document.priority)),
    });
    await insertVersion(tx, id, version, withoutSecrets(document), actor);
    await replaceRoleMappings(tx, id, await wantedMappings(tx, document, organizationId));
    await syncCorrelationSpecs(tx);
    // what is pushed comes when the provider likes: what it said already is decided anew now
    if (row.kind === 'scim' && row.status === 'active') await queueObjectRun(tx, id, version);
    await recordEvent(tx, { actor, action: 'connection.changed', target: `connection:${id}`, details: { version } });
    return toConnection(await mustFind(tx, id));
  });
}

export function listConnections(deps: ConnectionsDeps, tenantId: TenantId): Promise<Connection[]> {
  return deps.db.tenant(tenantId, async (tx) => (await selectConnections(tx)).map(toConnection));
}

/** By id or by name; throws not_found. */
export function findConnection(
  deps: Pick<ConnectionsDeps, 'db'>,
  tenantId: TenantId,
  idOrName: string,
): Promise<Connection> {
  return deps.db.tenant(tenantId, async (tx) => {
    const byName = await selectConnectionByName(tx, idOrName);
    return toConnection(byName ?? (await mustFind(tx, idOrName as ConnectionId)));
  });
}

/** The document as it was last saved, without secrets. */
export function exportConnection(
  deps: ConnectionsDeps,
  tenantId: TenantId,
  id: ConnectionId,
): Promise<Record<string, unknown>> {
  return deps.db.tenant(tenantId, async (tx) => {
    const row = await mustFind(tx, id);
    return inOrderOfReading((await selectVersionDocument(tx, id, row.version)) ?? {});
  });
}

export async function pauseConnection(
  deps: ConnectionsDeps,
  actor: string,
  tenantId: TenantId,
  id: ConnectionId,
  reason: string,
): Promise<{ readonly stopped: readonly Stopped[] }> {
  const { ended } = await setStatus(deps, actor, tenantId, id, 'paused', reason);
  const stopped: Stopped[] = [];
  for (const runId of ended) stopped.push(await settleStopped(deps.db, tenantId, runId, `Paused by ${actor}`));
  return { stopped };
}

export function resumeConnection(
  deps: ConnectionsDeps,
  actor: string,
  tenantId: TenantId,
  id: ConnectionId,
): Promise<{ readonly heldLinks: number }> {
  return setStatus(deps, actor, tenantId, id, 'active', null);
}

function setStatus(
  deps: ConnectionsDeps,
  actor: string,
  tenantId: TenantId,
  id: ConnectionId,
  status: 'active' | 'paused',
  reason: string | null,
): Promise<{ readonly heldLinks: number; readonly ended: readonly RunId[] }> {
  return deps.db.tenant(tenantId, async (tx) => {
    const row = await mustFind(tx, id);
    const nextRunAt =
      status === 'active' && row.cron !== null ? deps.nextSlot(row.cron, row.timeZone, deps.now()) : null;
    // before the connection itself: runs are locked before connections everywhere
    const ended = status === 'paused' ? await endRunsOf(tx, id) : [];
    await updateConnectionRow(tx, id, { ...noQuarantine, status, statusReason: reason, nextRunAt });
    // pushes of the pause wrote the mirror only
    if (row.kind === 'scim' && status === 'active' && row.status !== 'active')
      await queueObjectRun(tx, id, row.version);
    const action = status === 'active' ? 'connection.resumed' : 'connection.paused';
    await recordEvent(tx, { actor, action, target: `connection:${id}`, details: { reason } });
    return { heldLinks: await countHeldLinks(tx, id), ended };
  });
}

/** Tests a saved connection (by id) or a document with unsaved values. */
export async function* testConnection(
  deps: ConnectionsDeps,
  tenantId: TenantId,
  what: { readonly connectionId: ConnectionId } | { readonly document: unknown },
  signal: AbortSignal,
): AsyncGenerator<TestStep> {
  if ('document' in what) {
    const document = parseConnectionDocument(what.document, (faulty) => faultsOfSections(deps.connectors, faulty));
    const checked = checkDocument(deps, document);
    const domains = await deps.db.tenant(tenantId, provenDomains);
    const rules = { ...document, domains };
    yield* testWithRules(mustHaveConnector(deps, document.kind), { ...checked, signal, tenantId }, rules);
    return;
  }
  const { row, domains } = await deps.db.tenant(tenantId, async (tx) => {
    return { row: await mustFind(tx, what.connectionId), domains: await provenDomains(tx) };
  });
  const connector = mustHaveConnector(deps, row.kind as ConnectionKind);
  const settings = connector.settingsSchema.parse(row.settings);
  const request = { settings, secrets: openSecrets(deps, connector, row), signal, tenantId };
  yield* testWithRules(connector, request, { ...policySchema.parse(row.policy), domains });
}

/** Everything a run needs of its connection, read in one transaction. */
export async function openConnection(tx: TenantTx, connectors: Connectors, id: ConnectionId): Promise<OpenConnection> {
  const row = await mustFind(tx, id);
  const policy = policySchema.parse(row.policy);
  const connector = connectors.get(row.kind as ConnectionKind);
  const defaults =
    connector === undefined
      ? mappingsOfPushed(row.settings)
      : connector.defaultMappings(connector.settingsSchema.parse(row.settings));
  const mappings = mappingsInForce(policy, defaults);
  return { row, connection: toConnection(row), policy, mappings, roleMappings: await selectRoleMappings(tx, id) };
}

export function openSecrets(
  deps: Pick<ConnectionsDeps, 'secretBox'>,
  connector: Connector,
  row: ConnectionRow,
): unknown {
  if (row.secret === null) return connector.secretsSchema.parse({});
  const plain = deps.secretBox.open(row.secret, secretPlace(row.tenantId, row.id));
  return connector.secretsSchema.parse(JSON.parse(plain));
}

export async function mustFind(tx: TenantTx, id: ConnectionId): Promise<ConnectionRow> {
  const row = z.uuid().safeParse(id).success ? await selectConnection(tx, id) : null;
  if (row !== null) return row;
  throw new RollcallError('not_found', `There is no connection ${id}.`, {
    remedy: 'List them with: rollcall connections list',
  });
}

// ------------------------------------------------------------------ inside

type Checked = { readonly settings: unknown; readonly secrets: unknown };

function checkDocument(deps: ConnectionsDeps, document: ConnectionDocument, withSecrets = true): Checked {
  const connector = deps.connectors.get(document.kind);
  for (const [index, role] of document.roles.entries()) {
    const given = 'everyone' in role ? role.everyone : role.role;
    if (!isWithinCeiling(given, document.ceiling)) {
      throw new RollcallError(
        'invalid_input',
        `roles[${index}] gives ${given}, above the ceiling ${document.ceiling}.`,
        {
          remedy: 'Raise the ceiling if this directory may give that role.',
        },
      );
    }
  }
  compileMapper({
    mappings: document.mappings,
    scope: document.scope,
    keys: expressionsOf(document.correlation),
    predicates: document.roles.flatMap((role, index) =>
      'predicate' in role ? [{ id: String(index), expression: role.predicate }] : [],
    ),
  });
  if (connector === undefined) {
    if (document.kind !== 'scim')
      throw new RollcallError('invalid_input', `Connections of kind ${document.kind} are not available yet.`);
    return { settings: parseScimSettings(document.settings), secrets: {} };
  }
  const settings = connector.settingsSchema.safeParse(document.settings);
  const secrets = withSecrets
    ? connector.secretsSchema.safeParse(document.secrets)
    : { success: true as const, data: {} };
  if (settings.success && secrets.success) return { settings: settings.data, secrets: secrets.data };
  throw faultyDocument([
    ...(settings.success ? [] : faultsIn('settings', settings.error, connector.settingsSchema)),
    ...(secrets.success ? [] : faultsIn('secrets', secrets.error, connector.secretsSchema)),
  ]);
}

/**
 * What is pushed is decided at once; what only time or a person makes due (days of a leaver, an exclusion that ends, a
 * user edited or no longer protected) is found by a run over what the mirror holds.
 */
const dailyOfPushed = { cron: '0 3 * * *', timeZone: 'UTC', jitterSeconds: 3600 };

function rowValues(deps: ConnectionsDeps, document: ConnectionDocument, tenantId: TenantId, id: ConnectionId) {
  const schedule = document.schedule ?? (document.kind === 'scim' ? dailyOfPushed : undefined);
  return {
    kind: document.kind,
    name: document.name,
    nameKey: textKey(document.name) ?? '',
    settings: document.settings,
    secret:
      Object.keys(document.secrets).length === 0
        ? null
        : deps.secretBox.seal(JSON.stringify(document.secrets), secretPlace(tenantId, id)),
    policy: policyOf(document),
    cron: schedule?.cron ?? null,
    timeZone: schedule?.timeZone ?? 'UTC',
    jitterSeconds: schedule?.jitterSeconds ?? 0,
    nextRunAt: schedule === undefined ? null : deps.nextSlot(schedule.cron, schedule.timeZone, deps.now()),
    priority: document.priority,
    ceiling: document.ceiling,
  };
}

/** A pushed connection has no first plan to approve: each push acts at once, within its ceiling. */
function firstApproval(document: ConnectionDocument, version: number): number | null {
  return document.kind === 'scim' ? version : null;
}

function secretPlace(tenantId: string, rowId: string) {
  return { tenantId, table: 'connections', rowId, column: 'secret' };
}

function withoutSecrets(document: ConnectionDocument): Record<string, unknown> {
  const { secrets: _secrets, ...rest } = document;
  return rest;
}

function mustHaveConnector(deps: ConnectionsDeps, kind: ConnectionKind): Connector {
  const connector = deps.connectors.get(kind);
  if (connector !== undefined) return connector;
  throw new RollcallError(
    'connection_state',
    `A ${kind} connection is pushed to; there is nothing to read or test from here.`,
  );
}
