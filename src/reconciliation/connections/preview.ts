/**
 * What a document would make of one object that was read: the mapper, the loader and the decision are the ones that
 * runs use, in a transaction that is rolled back. Nothing is written.
 */
import { RollcallError } from '../../core/errors.ts';
import type { ConnectionId, TenantId } from '../../core/ids.ts';
import type { MappingResult } from '../../core/mapping.ts';
import type { TenantTx } from '../../db/db.ts';
import { jsonText } from '../mirror/stage.ts';
import { keysOf } from '../mirror/mirror-keys.ts';
import { mapperOf } from '../mirror/read-directory.ts';
import { explainObjects, type ObjectExplanation } from '../explain/explain-object.ts';
import { findObject } from '../explain/explain.ts';
import { syncCorrelationSpecs } from '../plan/correlation-specs.ts';
import { parseConnectionDocument, policyOf, type ConnectionDocument } from './connection-document.ts';
import { mustFind, openConnection, type ConnectionsDeps, type OpenConnection } from './connections.ts';
import { replaceRoleMappings, updateConnectionRow } from './connections-store.ts';
import { resolveOrganization, wantedMappings } from './role-mapping-targets.ts';

export type ObjectPreview = ObjectExplanation & {
  /** As the directory said it last. */
  readonly source: Readonly<Record<string, unknown>>;
  readonly mapped: Readonly<Record<string, string | null>>;
  readonly isInScope: boolean;
  readonly problem: string | null;
  /** Role predicates that hold. */
  readonly predicates: readonly string[];
  /** Attributes that the document reads and the last read did not ask the directory for. */
  readonly unread: readonly string[];
};

export type PreviewRequest = {
  readonly connectionId: ConnectionId;
  /** Immutable id, name, username, e-mail address or place. */
  readonly object: string;
  /** In place of the one that is saved. */
  readonly document?: unknown;
};

const longestMs = 10_000;

/** Throws not_found, invalid_input. */
export async function previewObject(
  deps: ConnectionsDeps,
  tenantId: TenantId,
  request: PreviewRequest,
): Promise<ObjectPreview> {
  const document = request.document === undefined ? null : parseConnectionDocument(request.document);
  const over = new Error('The preview is over; nothing of it is kept.');
  let preview: ObjectPreview | null = null;
  try {
    await deps.db.tenant(tenantId, async (tx) => {
      await tx.sql`select set_config('statement_timeout', ${String(longestMs)}, true)`;
      preview = await previewIn(tx, deps, request, document);
      throw over;
    });
  } catch (error) {
    if (error !== over) throw error;
  }
  if (preview === null) throw new Error('a preview that ended has a result');
  return preview;
}

async function previewIn(
  tx: TenantTx,
  deps: ConnectionsDeps,
  request: PreviewRequest,
  document: ConnectionDocument | null,
): Promise<ObjectPreview> {
  const id = request.connectionId;
  const before = await openConnection(tx, deps.connectors, id);
  if (document !== null) await takeOver(tx, before, document);
  const open = await openConnection(tx, deps.connectors, id);
  const anchor = await findObject(tx, id, request.object);
  const [object] = await tx.sql<MirrorObject[]>`
    select source, coalesce(mapped, '{}') as mapped, is_in_scope as "isInScope", problem, rule_ids as "ruleIds", is_pushed as "isPushed"
    from mirror_objects where tenant_id = ${tx.tenantId} and connection_id = ${id} and kind = 'user' and anchor = ${anchor}`;
  if (object === undefined) throw new RollcallError('not_found', `This connection has not read an object ${anchor}.`);
  if (object.isPushed && document !== null) {
    throw new RollcallError(
      'connection_state',
      'A pushed object is mapped when it is pushed; another document can not be tried on it.',
      {
        remedy: 'Preview it without a document.',
      },
    );
  }
  const result = object.isPushed ? object : mapperOf(open).map(object.source);
  await writeMapped(tx, id, anchor, result);
  const [explanation] = await explainObjects(tx, deps, id, [anchor]);
  if (explanation === undefined)
    throw new RollcallError('not_found', `This connection has not read an object ${anchor}.`);
  const holding = new Set(result.ruleIds);
  const asked = new Set(mapperOf(before).attributes);
  return {
    ...explanation,
    source: object.source,
    mapped: result.mapped,
    isInScope: result.isInScope,
    problem: result.problem,
    predicates: open.roleMappings.flatMap((rule) =>
      holding.has(rule.id) && rule.predicate !== null ? [rule.predicate] : [],
    ),
    unread: object.isPushed
      ? []
      : mapperOf(open).attributes.filter((name) => !asked.has(name) && !(name in object.source)),
  };
}

type MirrorObject = MappingResult & { readonly source: Readonly<Record<string, unknown>>; readonly isPushed: boolean };

/** The rules of the document, in place of those that are saved. */
async function takeOver(tx: TenantTx, open: OpenConnection, document: ConnectionDocument): Promise<void> {
  const { id } = open.connection;
  const row = await mustFind(tx, id);
  if (row.kind !== document.kind) {
    throw new RollcallError(
      'invalid_input',
      `${row.name} is of kind ${row.kind}; the kind of a connection can not change.`,
    );
  }
  const organizationId = await resolveOrganization(tx, document.organization);
  await updateConnectionRow(tx, id, {
    policy: policyOf(document),
    settings: document.settings,
    ceiling: document.ceiling,
    priority: document.priority,
    organizationId,
  });
  await replaceRoleMappings(tx, id, await wantedMappings(tx, document, organizationId));
  await syncCorrelationSpecs(tx);
}

async function writeMapped(tx: TenantTx, id: ConnectionId, anchor: string, result: MappingResult): Promise<void> {
  const keys = keysOf(result.mapped);
  await tx.sql`
    update mirror_objects set mapped = ${jsonText(result.mapped)}::jsonb, user_name_key = coalesce(${keys.userNameKey}, case when is_pushed then user_name_key end),
      email_key = ${keys.emailKey}, employee_id_key = ${keys.employeeIdKey}, rule_ids = ${result.ruleIds as string[]}::uuid[],
      is_in_scope = ${result.isInScope}, problem = ${result.problem}
    where tenant_id = ${tx.tenantId} and connection_id = ${id} and kind = 'user' and anchor = ${anchor}`;
}
