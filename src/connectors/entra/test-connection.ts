/** What "Test connection" tries, in the order in which things can be wrong. Reads little and changes nothing. */
import { adviceOf, isRollcallError } from '../../core/errors.ts';
import type { CredentialEnd, DirectoryObject, TestStep } from '../contract/contract.ts';
import { openAppRoles } from './app-roles.ts';
import { countOf } from './counts.ts';
import { daysUntil, findCredentialEnds } from './credential-ends.ts';
import type { DeltaPage, PageItem, Resource } from './delta-page.ts';
import { checkPage } from './delta-page.ts';
import type { EntraDependencies, GraphSession, SessionRequest } from './graph-session.ts';
import { openGraphSession, testEndurance } from './graph-session.ts';
import { managerIn } from './managers.ts';
import { userObject } from './objects.ts';
import { checkHosts } from './preflight.ts';
import { tooNarrow } from './round-events.ts';
import type { Selection } from './selection.ts';
import { deltaUrl } from './selection.ts';
import { hostsOf } from './settings.ts';

type Found = Omit<TestStep, 'step' | 'outcome'> & { readonly outcome?: 'warning' | 'skipped' };
type Attempt = { readonly step: string; readonly isHelp?: boolean; readonly attempt: () => Promise<Found> };

const sampleSize = 5;

/** Ends after the first step that failed; the ones that only help to see warn instead. */
export async function* testConnection(
  dependencies: EntraDependencies,
  request: SessionRequest,
  selection: Selection,
): AsyncGenerator<TestStep> {
  const { settings, secrets, signal } = request;
  const { authority, graphUrl } = hostsOf(settings);
  // a managed identity is asked of the machine itself, not of the sign-in service
  const hosts = secrets.kind === 'managed_identity' ? [graphUrl] : [authority, graphUrl];
  for await (const step of checkHosts(hosts, dependencies.connect ?? {}, settings.caPem, signal)) {
    yield step;
    if (step.outcome === 'failed') return;
  }
  const session = openGraphSession(dependencies, request, testEndurance);
  try {
    for (const { step, isHelp, attempt } of stepsOf(session, request, selection, dependencies.clock.now())) {
      const result = await outcomeOf(step, attempt, signal, isHelp === true ? 'warning' : 'failed');
      yield result;
      if (result.outcome === 'failed') return;
    }
  } finally {
    session.close();
  }
}

function stepsOf(session: GraphSession, request: SessionRequest, selection: Selection, now: Date): readonly Attempt[] {
  const { settings } = request;
  const { appRolesOf } = settings;
  let users: DeltaPage | undefined;
  return [
    { step: 'token', attempt: async () => signIn(session, request) },
    {
      step: 'read_users',
      attempt: async () => {
        users = await firstPage(session, 'users', selection.user);
        return { message: 'The application may read users.' };
      },
    },
    { step: 'read_groups', attempt: async () => describeGroups(await firstPage(session, 'groups', selection.group)) },
    ...(appRolesOf === undefined
      ? []
      : [{ step: 'read_app_roles', attempt: async () => describeAppRoles(session, appRolesOf) }]),
    { step: 'page', attempt: async () => Promise.resolve(describePage(users)) },
    { step: 'deletions', isHelp: true, attempt: async () => describeDeletions(session) },
    { step: 'clock', isHelp: true, attempt: async () => Promise.resolve(describeClock(session)) },
    {
      step: 'credential',
      isHelp: true,
      attempt: async () => describeEnds(await findCredentialEnds(session, { ...request, now }), now),
    },
    { step: 'counts', isHelp: true, attempt: async () => countObjects(session) },
  ];
}

const credentialNames = {
  client_secret: 'its secret',
  certificate: 'its certificate',
  workload_identity: 'the token of this installation',
  managed_identity: 'the managed identity of this machine',
} as const;

async function signIn(session: GraphSession, { secrets }: SessionRequest): Promise<Found> {
  await session.tokens.get(true);
  return { message: `Microsoft accepts the application and ${credentialNames[secrets.kind]}.` };
}

async function firstPage(session: GraphSession, resource: Resource, select: readonly string[]): Promise<DeltaPage> {
  const url = deltaUrl(session.graphUrl, resource, select);
  return checkPage(await session.getPage(url), session.graphUrl, resource);
}

const livingOf = (page: DeltaPage | undefined): readonly PageItem[] =>
  (page?.items ?? []).filter((item) => item.removed === null);

/** Too narrow a permission gives objects whose properties are missing, not an error. */
function describeGroups(page: DeltaPage): Found {
  const groups = livingOf(page);
  if (groups.length > 0 && groups.every((group) => typeof group.raw['displayName'] !== 'string')) {
    throw tooNarrow('groups', groups.length);
  }
  const hidden = groups.filter((group) => group.raw['visibility'] === 'HiddenMembership').length;
  const facts = { groupsOnFirstPage: groups.length, ...(hidden === 0 ? {} : { withHiddenMembers: hidden }) };
  const message = 'The application may read groups and their members.';
  if (hidden === 0) return { message, facts };
  const advice = `${hidden} of the first groups hide their members; to see those it needs Member.Read.Hidden too.`;
  return { outcome: 'warning', message: `${message} ${advice}`, facts };
}

async function describeAppRoles(session: GraphSession, appId: string): Promise<Found> {
  const { application, roles, assignments } = await openAppRoles(session, appId);
  const message = `${application} has ${roles} app roles, with ${assignments} assignments.`;
  return { message, facts: { application, roles, assignments } };
}

function describePage(page: DeltaPage | undefined): Found {
  const items = livingOf(page);
  const users = items
    .map((item) => userObject(item, managerIn(item.raw)))
    .filter((user): user is DirectoryObject => user !== null);
  if (items.length > 0 && users.length === 0) throw tooNarrow('users', items.length);
  const more = page?.link.kind === 'next' ? ', and there are more' : '';
  const message = `The first page has ${items.length} users${more}.`;
  return { message, facts: { usersOnFirstPage: items.length }, sample: users.slice(0, sampleSize) };
}

/** Deletions come in delta pages to everybody; the recycle bin shows whether they can be looked at, too. */
async function describeDeletions(session: GraphSession): Promise<Found> {
  const url = `${session.graphUrl}/v1.0/directory/deletedItems/microsoft.graph.user?$select=id&$top=1`;
  const { value } = await session.getPage(url);
  const isEmpty = (value as readonly unknown[]).length === 0;
  return { message: isEmpty ? 'Deleted users can be seen; there are none just now.' : 'Deleted users can be seen.' };
}

/** A token is refused when clocks are five minutes apart (Microsoft identity platform); half of that is a warning. */
const mostSkewMs = 150_000;

function describeClock(session: GraphSession): Found {
  const skewMs = session.clockSkewMs();
  if (skewMs === null) return { outcome: 'skipped', message: 'Microsoft did not say what time it is there.' };
  const facts = { skewSeconds: Math.round(skewMs / 1_000) };
  if (Math.abs(skewMs) <= mostSkewMs) return { message: "This machine's clock agrees with Microsoft's.", facts };
  const minutes = Math.round(Math.abs(skewMs) / 60_000);
  const message = `This machine's clock is ${minutes} minutes ${skewMs > 0 ? 'ahead of' : 'behind'} Microsoft's.`;
  return {
    outcome: 'warning',
    message: `${message} Sign-in fails from five minutes on: set up time synchronization.`,
    facts,
  };
}

const warnDays = 30;

function describeEnds(ends: readonly CredentialEnd[], now: Date): Found {
  const [end] = ends;
  if (end === undefined) return { message: 'The credential is renewed by its platform.' };
  const name = end.credential === 'certificate' ? 'certificate' : 'client secret';
  if (end.endsAt === null) {
    return {
      outcome: 'skipped',
      message: `When the ${name} ends is not to be seen. Enter it as secrets.endsAt, or add the permission Application.Read.All.`,
    };
  }
  const days = daysUntil(end.endsAt, now);
  const facts = { endsAt: end.endsAt, days, source: end.source };
  const date = end.endsAt.slice(0, 10);
  if (days < 0) return { outcome: 'warning', message: `The ${name} ended on ${date}.`, facts };
  const message = `The ${name} ends on ${date}, in ${days} days.`;
  return days > warnDays
    ? { message, facts }
    : { outcome: 'warning', message: `${message} Make a new one soon.`, facts };
}

async function countObjects(session: GraphSession): Promise<Found> {
  const users = await countOf(session, 'users');
  const groups = await countOf(session, 'groups');
  return { message: `The directory has about ${users} users and ${groups} groups.`, facts: { users, groups } };
}

async function outcomeOf(
  step: string,
  attempt: () => Promise<Found>,
  signal: AbortSignal,
  bad: 'failed' | 'warning',
): Promise<TestStep> {
  try {
    return { step, outcome: 'ok', ...(await attempt()) };
  } catch (error) {
    signal.throwIfAborted();
    const raw = isRollcallError(error) && error.raw !== undefined ? { raw: error.raw } : {};
    return { step, outcome: bad, message: adviceOf(error), ...raw };
  }
}
