/** The end of the story and what comes after: addresses and tokens, then the schedule at work until Ctrl-C. */
import { setTimeout as delay } from 'node:timers/promises';
import type { RunSummary } from '../../src/reconciliation/reconciliation.ts';
import { changeCountsOf, renderHolds } from '../../src/cli/render-plan.ts';
import { groupOf } from '../simulators/entra/sample-tenant.ts';
import type { Directories } from './directories.ts';
import type { Scene } from './scene.ts';
import type { Ending } from './story.ts';

export function showEnding({ narrator, installation }: Scene, ending: Ending): void {
  narrator.chapter('Your turn');
  const { origin, managementUrl, configFile } = installation;
  narrator.show(
    [
      `API       ${origin}/api/v1`,
      `OpenAPI   ${origin}/api/v1/openapi.json`,
      `SCIM      ${ending.scimUrl}`,
      `health    ${managementUrl}/readyz`,
      `metrics   ${managementUrl}/metrics`,
    ].join('\n'),
  );
  narrator.say('In another terminal, in this folder:');
  narrator.show(
    [
      `export API_TOKEN=${ending.apiToken}`,
      `export SCIM_TOKEN=${ending.scimToken}`,
      `curl -s -H "Authorization: Bearer $API_TOKEN" ${origin}/api/v1/me`,
      `curl -s -H "Authorization: Bearer $SCIM_TOKEN" \\`,
      `  ${ending.scimUrl}/Users`,
      '',
      `export ROLLCALL_CONFIG=${configFile}`,
      'npm run --silent rollcall -- users list --search pat',
      'npm run --silent rollcall -- runs list',
      'npm run --silent rollcall -- cases list',
      'npm run --silent rollcall -- audit tail',
    ].join('\n'),
  );
}

const everyMinute = { cron: '* * * * *', timeZone: 'UTC' };
const lookEveryMs = 500;
const changeEveryMs = 25_000;

/** Returns when the signal is aborted. */
export async function watchSchedule(scene: Scene, ending: Ending): Promise<void> {
  const { narrator, office, signal } = scene;
  const { tenantId, principal } = ending.place;
  for (const connection of [ending.entra, ...(ending.ldap === null ? [] : [ending.ldap])]) {
    const document = await office.reconciliation.exportConnection(tenantId, connection.id);
    await office.reconciliation.updateConnection(principal.actor, tenantId, connection.id, {
      ...document,
      schedule: everyMinute,
    });
  }
  narrator.say(
    'The directories are now read every minute, and small things keep happening in them. Ctrl-C stops everything and removes it.',
  );
  const started = await office.reconciliation.listRuns(tenantId, { limit: 1 });
  const seen = new Map<string, string>(started.map((run) => [run.id, run.status]));
  const newest = started[0]?.id ?? '';
  let nextChangeAt = performance.now() + changeEveryMs / 5;
  let changes = 0;
  while (!signal.aborted) {
    if (performance.now() >= nextChangeAt) {
      narrator.line(`${clockText()}  ${await changeSomething(scene, changes)}`);
      changes += 1;
      nextChangeAt = performance.now() + changeEveryMs;
    }
    const runs = await office.reconciliation.listRuns(tenantId, { limit: 20 });
    for (const run of runs.toReversed()) {
      // ids are time-ordered: what the story did is told already
      if (run.id <= newest || seen.get(run.id) === run.status || !isAtRest(run)) continue;
      seen.set(run.id, run.status);
      for (const line of [`${clockText()}  ${describeRun(run)}`, ...describeHold(run)]) narrator.line(line);
    }
    await pause(signal);
  }
}

async function pause(signal: AbortSignal): Promise<void> {
  try {
    await delay(lookEveryMs, undefined, { signal });
  } catch (error) {
    if (!signal.aborted) throw error;
  }
}

function clockText(): string {
  return new Date().toTimeString().slice(0, 8);
}

function isAtRest(run: RunSummary): boolean {
  return run.status !== 'queued' && run.status !== 'running' && run.status !== 'superseded';
}

function describeRun(run: RunSummary): string {
  const counts = new Map<string, number>();
  for (const { kind, rows } of changeCountsOf(run)) counts.set(kind, (counts.get(kind) ?? 0) + rows);
  const changes = [...counts].map(([kind, rows]) => `${kind} ${rows}`).join(', ');
  const words = changes === '' ? 'nothing changed' : `changes of ${changes}`;
  return `${run.connectionName}: ${run.kind} read ${run.status}, ${words}`;
}

/** What waits, and the command that lets it through; the worker applies what is approved. */
function describeHold(run: RunSummary): string[] {
  if (run.status !== 'held' && run.status !== 'planned') return [];
  const reasons = renderHolds(run).split('\n').slice(1, -1);
  return [...reasons, `  - approve it: npm run --silent rollcall -- approve ${run.id}`].map((line) => `      ${line}`);
}

const promotionTurn = 3;

/** In turn: somebody moves in Entra, somebody joins or moves in LDAP; once, somebody is to become Admin. */
async function changeSomething({ directories }: Scene, turn: number): Promise<string> {
  const { entra, sample, ldap } = directories;
  if (turn === promotionTurn) return promote(directories);
  if (ldap !== null && turn % 3 === 1) return `LDAP: ${await ldap.hire()}`;
  if (ldap !== null && turn % 3 === 2) return `LDAP: ${await ldap.move()}`;
  const live = sample.people.filter((person) => entra.tenant.isLive(person.id));
  const person = live[entra.random.integer(live.length)];
  if (person === undefined) return 'Entra: nothing happens.';
  const office = ['Berlin', 'Dublin', 'Boston'][turn % 3] ?? 'Berlin';
  entra.tenant.patchUser(person.id, { jobTitle: `${person.jobTitle}, ${office}` });
  return `Entra: ${person.displayName} is now ${person.jobTitle}, ${office}.`;
}

/** Something a guard holds, so that there is a plan to approve with the CLI. */
function promote({ entra, sample }: Directories): string {
  const admins = groupOf(sample.groups, 'Portal Admins');
  const edges = entra.tenant.entries.get(admins)?.edges;
  const person = sample.people.findLast(({ id }) => entra.tenant.isLive(id) && edges?.get(id)?.isPresent !== true);
  if (person === undefined) return 'Entra: nothing happens.';
  entra.tenant.addMember(admins, person.id);
  return `Entra: ${person.displayName} is put into the group Portal Admins.`;
}
