/** The steps of a story: what happens in the directory, in the portal, to time, and to the connection. */
import { expect } from 'vitest';
import { isRollcallError, RollcallError } from '../../src/core/errors.ts';
import { changeDirectory } from './directory-steps.ts';
import { expectThen } from './expectations.ts';
import { approve, execute, findWaiting, requestRun, run } from './runs.ts';
import type { ByHand, Step, StepValues } from './schema.ts';
import {
  documentOf,
  fieldsOf,
  findWired,
  makeByHand,
  mustFindUserId,
  readRole,
  type Wired,
  type World,
} from './world.ts';

/** The story so far was told to `world`; `elsewhere` is its twin, where steps go that happen in the other tenant. */
export async function takeStep(world: World, elsewhere: World, step: Step): Promise<void> {
  if (step.refused === null) return doStep(world, elsewhere, step);
  let refusal: unknown = null;
  try {
    await doStep(world, elsewhere, step);
  } catch (error) {
    if (!(error instanceof RollcallError)) throw error;
    refusal = error;
  }
  expect(refusal, `${step.step} is refused`).not.toBeNull();
  if (!isRollcallError(refusal, step.refused as RollcallError['code'])) {
    throw new Error(`${step.step} is refused for another reason than ${step.refused}.`, { cause: refusal });
  }
}

async function doStep(world: World, elsewhere: World, step: Step): Promise<void> {
  const wired = findWired(world, step.in);
  switch (step.step) {
    case 'directory':
      return changeDirectory(world, wired, step.value);
    case 'sync':
      return sync(world, wired, step.value);
    case 'approve': {
      const digest = step.value.digest === 'another' ? 'not-what-was-shown' : null;
      return approve(world, wired, { actor: step.value.by ?? 'operator:test', digest });
    }
    case 'discard': {
      const waiting = await findWaiting(world, wired);
      if (waiting === null) throw new Error(`No run of ${wired.name} waits for anybody.`);
      return world.engine.reconciliation.discardRun(world.tenantId, waiting.id, 'operator:test');
    }
    case 'byHand':
      for (const one of [step.value].flat()) await workByHand(world, one);
      return;
    case 'case':
      return decideCase(world, step.value);
    case 'time':
      return passTime(world, step.value);
    case 'connection':
      return changeConnection(world, wired, step.value);
    case 'pause':
      await world.engine.reconciliation.pauseConnection(
        'operator:test',
        world.tenantId,
        wired.connectionId,
        step.value,
      );
      return;
    case 'resume':
      return resume(world, wired);
    case 'undo':
      return undo(world, step.value);
    case 'release': {
      const filter = { userId: await mustFindUserId(world, step.value) };
      await world.engine.reconciliation.releaseLinks('operator:test', world.tenantId, filter);
      return;
    }
    case 'provision': {
      const { tenantId, engine } = world;
      const request = {
        tenantId,
        connectionId: wired.connectionId,
        reference: step.value,
        actor: 'operator:test',
      };
      await engine.reconciliation.provisionObject({ ...request, signal: new AbortController().signal });
      return;
    }
    case 'crash':
      return crash(world, wired, step.value);
    case 'elsewhere':
      for (const one of step.value) await takeStep(elsewhere, world, one);
      return;
    case 'then':
      return expectThen(world, step.value);
  }
}

async function sync(world: World, wired: Wired, how: StepValues['sync']): Promise<void> {
  // a push is settled when it is answered; there is nothing to read
  if (wired.isPushed) return;
  await run(world, wired, how === 'preview' ? 'plan' : 'auto');
  if (how !== 'approved') return;
  const waiting = await findWaiting(world, wired);
  if (waiting !== null) await approve(world, wired, { actor: 'operator:test', digest: null });
}

async function undo(world: World, { user, keepsRunning }: StepValues['undo']): Promise<void> {
  const { tenantId, lastApplied } = world;
  if (lastApplied === null) throw new Error('No run of this story has applied anything.');
  const userId = user === undefined ? undefined : await mustFindUserId(world, user);
  const request = {
    tenantId,
    runId: lastApplied,
    requestedBy: 'operator:test',
    mode: 'plan',
    userId,
    keepsRunning,
  } as const;
  await execute(world, await world.engine.reconciliation.requestUndo(request));
}

async function crash(world: World, wired: Wired, value: StepValues['crash']): Promise<void> {
  if (value.approve !== true) return execute(world, await requestRun(world, wired, 'auto', 'full'), value.at);
  const waiting = await findWaiting(world, wired);
  if (waiting === null) throw new Error(`No run of ${wired.name} waits for anybody.`);
  const approval = { actor: 'operator:test', digest: waiting.digest ?? '' };
  await world.engine.reconciliation.approveRun(world.tenantId, waiting.id, approval);
  await execute(world, waiting.id, value.at);
}

// ------------------------------------------------------------------ by hand

async function workByHand(world: World, hand: ByHand): Promise<void> {
  const { operator, access, users } = world;
  const id = (name: string | undefined) => mustFindUserId(world, mustHave(name, hand));
  if (hand.create !== undefined) {
    return makeByHand(world, hand.create, hand.user ?? { roles: ['user'] });
  }
  if (hand.edit !== undefined) {
    const userId = await id(hand.edit);
    const { version } = await users.get(operator, userId);
    await users.edit(operator, userId, { ...fieldsOf(world, hand.set ?? {}), version });
  } else if (hand.grant !== undefined) {
    await access.grantManually(operator, { ...readRole(world, hand.grant), userId: await id(hand.to) });
  } else if (hand.revoke !== undefined) {
    await access.revokeManually(operator, { ...readRole(world, hand.revoke), userId: await id(hand.from) });
  } else if (hand.exclude !== undefined) {
    const until = hand.days === undefined ? null : new Date(Date.now() + hand.days * 86_400_000).toISOString();
    const userId = await id(hand.exclude);
    await access.addExclusion(operator, {
      ...readRole(world, mustHave(hand.from, hand)),
      userId,
      reason: 'Not this one.',
      until,
    });
  } else if (hand.allow !== undefined) await liftExclusions(world, hand.allow);
  else if (hand.protect !== undefined) await users.setProtection(operator, await id(hand.protect), true);
  else if (hand.unprotect !== undefined) await users.setProtection(operator, await id(hand.unprotect), false);
  else if (hand.suspend !== undefined) await users.suspend(operator, await id(hand.suspend), {});
  else if (hand.reactivate !== undefined) await users.reactivate(operator, await id(hand.reactivate), {});
  else throw new Error(`Nothing is done by hand here: ${JSON.stringify(hand)}`);
}

function mustHave(value: string | undefined, hand: ByHand): string {
  if (value === undefined) throw new Error(`Something is missing in ${JSON.stringify(hand)}.`);
  return value;
}

async function liftExclusions(world: World, name: string): Promise<void> {
  const userId = await mustFindUserId(world, name);
  for (const organizationId of world.organizations.values()) {
    const page = await world.access.listExclusions(world.operator, organizationId, { limit: 200, cursor: undefined });
    for (const exclusion of page.items.filter((one) => one.userId === userId)) {
      await world.access.removeExclusion(world.operator, organizationId, exclusion.id);
    }
  }
}

async function decideCase(world: World, value: StepValues['case']): Promise<void> {
  const [open] = await openCasesAbout(world, value.about);
  if (open === undefined) throw new Error(`No case about ${value.about} is open.`);
  const { decide } = value;
  const resolution =
    decide === 'link'
      ? { action: decide, userId: await mustFindUserId(world, value.user ?? value.about) }
      : { action: decide };
  await world.engine.reconciliation.resolveCase('operator:test', world.tenantId, open.id, resolution);
}

async function openCasesAbout(world: World, name: string) {
  const cases = await world.engine.reconciliation.listCases(world.tenantId, 'open');
  return cases.filter((one) => one.anchor === name);
}

// ------------------------------------------------------------------ the connection

async function changeConnection(world: World, wired: Wired, changed: Readonly<Record<string, unknown>>): Promise<void> {
  const ownWay = wired === world.wired[0] ? world.way : null;
  const document = {
    ...wired.document,
    ...documentOf(world.tenant, { kind: wired.document['kind'], ...changed }, ownWay),
  };
  const kept = Object.fromEntries(
    Object.entries(document).map(([key, value]) => [key, key in changed ? value : wired.document[key]]),
  );
  await world.engine.reconciliation.updateConnection('operator:test', world.tenantId, wired.connectionId, kept);
  wired.document = kept;
  if (wired.isPushed) await executeQueued(world, wired);
}

async function resume(world: World, wired: Wired): Promise<void> {
  await world.engine.reconciliation.resumeConnection('operator:test', world.tenantId, wired.connectionId);
  if (wired.isPushed) await executeQueued(world, wired);
}

/** What a pushed connection queues for itself, as the worker would take it. */
async function executeQueued(world: World, wired: Wired): Promise<void> {
  const runs = await world.engine.reconciliation.listRuns(world.tenantId, {
    connectionId: wired.connectionId,
    status: 'queued',
    limit: 10,
  });
  for (const queued of runs.toReversed()) await execute(world, queued.id);
}

// ------------------------------------------------------------------ time

/** Records that nobody may change, and times that say when something was announced. */
const timeless = new Set(['audit_events', 'outbox_messages']);

/** Everything this tenant has recorded grows older; what lies in the future comes nearer. */
async function passTime(world: World, span: string): Promise<void> {
  await world.db.tenant(world.tenantId, async ({ sql, tenantId }) => {
    const columns = await sql<{ table: string; column: string }[]>`
      select c.relname as "table", a.attname as "column" from pg_class c
      join pg_attribute t on t.attrelid = c.oid and t.attname = 'tenant_id'
      join pg_attribute a on a.attrelid = c.oid and a.atttypid = 'timestamptz'::regtype and not a.attisdropped
      where c.relnamespace = 'public'::regnamespace and c.relkind = 'r' and has_column_privilege(c.oid, a.attname, 'update')
      order by 1, 2`;
    for (const [table, own] of Map.groupBy(columns, (row) => row.table)) {
      if (timeless.has(table)) continue;
      const sets = own.map(({ column }) => `${column} = ${column} - interval '${span}'`);
      await sql.unsafe(`update ${table} set ${sets.join(', ')} where tenant_id = '${tenantId}'`);
    }
    await sql`
      update connections set baseline = jsonb_set(baseline, '{at}', to_jsonb((baseline ->> 'at')::timestamptz - ${span}::interval))
      where tenant_id = ${tenantId} and baseline ? 'at'`;
  });
}
