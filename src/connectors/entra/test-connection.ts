/** What "Test connection" tries, in the order in which things can be wrong. Reads little and changes nothing. */
import { RollcallError, adviceOf, isRollcallError } from '../../core/errors.ts';
import type { TestStep } from '../contract/contract.ts';
import type { DeltaPage, Resource } from './delta-page.ts';
import { checkPage } from './delta-page.ts';
import type { EntraDependencies, GraphSession, SessionRequest } from './graph-session.ts';
import { openGraphSession, testEndurance } from './graph-session.ts';
import { userObject } from './objects.ts';
import { checkHosts } from './preflight.ts';
import type { Selection } from './selection.ts';
import { deltaUrl } from './selection.ts';
import { hostsOf } from './settings.ts';

type Attempt = { readonly message: string; readonly facts?: Readonly<Record<string, unknown>> };

/** Ends after the first step that failed; counting is the last, and only warns. */
export async function* testConnection(
  dependencies: EntraDependencies,
  request: SessionRequest,
  selection: Selection,
): AsyncGenerator<TestStep> {
  const { settings, signal } = request;
  const { authority, graphUrl } = hostsOf(settings);
  for await (const step of checkHosts([authority, graphUrl], dependencies.connect ?? {}, settings.caPem, signal)) {
    yield step;
    if (step.outcome === 'failed') return;
  }
  const session = openGraphSession(dependencies, request, testEndurance);
  try {
    yield* testReads(session, selection, signal);
  } finally {
    session.close();
  }
}

async function* testReads(session: GraphSession, selection: Selection, signal: AbortSignal): AsyncGenerator<TestStep> {
  let users: DeltaPage | undefined;
  const steps: readonly { step: string; attempt: () => Promise<Attempt> }[] = [
    {
      step: 'token',
      attempt: async () => {
        await session.tokens.get(true);
        return { message: 'Microsoft accepts the application and its secret.' };
      },
    },
    {
      step: 'read_users',
      attempt: async () => {
        users = await firstPage(session, 'users', selection.user);
        return { message: 'The application may read users.' };
      },
    },
    {
      step: 'read_groups',
      attempt: async () => {
        const groups = await firstPage(session, 'groups', selection.group);
        const facts = { groupsOnFirstPage: groups.items.length };
        return { message: 'The application may read groups and their members.', facts };
      },
    },
    { step: 'page', attempt: async () => Promise.resolve(describePage(users)) },
  ];
  for (const { step, attempt } of steps) {
    const result = await outcomeOf(step, attempt, signal, 'failed');
    yield result;
    if (result.outcome === 'failed') return;
  }
  yield await outcomeOf('counts', async () => countObjects(session), signal, 'warning');
}

async function firstPage(session: GraphSession, resource: Resource, select: readonly string[]): Promise<DeltaPage> {
  const url = deltaUrl(session.graphUrl, resource, select);
  return checkPage(await session.getPage(url), session.graphUrl, resource);
}

function describePage(page: DeltaPage | undefined): Attempt {
  const items = (page?.items ?? []).filter((item) => item.removed === null);
  const isReadable = items.length === 0 || items.some((item) => userObject(item) !== null);
  if (!isReadable) {
    throw new RollcallError('directory_permission', 'The application sees users, but not whether they are enabled.', {
      remedy:
        'Add the application permission User.Read.All (User.ReadBasic.All is not enough) and grant admin consent.',
      raw: 'accountEnabled',
    });
  }
  const more = page?.link.kind === 'next' ? ', and there are more' : '';
  return { message: `The first page has ${items.length} users${more}.`, facts: { usersOnFirstPage: items.length } };
}

async function countObjects(session: GraphSession): Promise<Attempt> {
  const users = await count(session, 'users');
  const groups = await count(session, 'groups');
  return { message: `The directory has about ${users} users and ${groups} groups.`, facts: { users, groups } };
}

async function count(session: GraphSession, resource: Resource): Promise<number> {
  const text = await session.getText(`${session.graphUrl}/v1.0/${resource}/$count`);
  const number = Number(text.replace(/^\uFEFF/, '').trim());
  if (text.trim() !== '' && Number.isSafeInteger(number) && number >= 0) return number;
  throw new RollcallError('directory_protocol', `Microsoft Graph did not say how many ${resource} there are.`, {
    raw: text.slice(0, 50),
  });
}

async function outcomeOf(
  step: string,
  attempt: () => Promise<Attempt>,
  signal: AbortSignal,
  bad: 'failed' | 'warning',
): Promise<TestStep> {
  try {
    const { message, facts } = await attempt();
    return { step, outcome: 'ok', message, ...(facts === undefined ? {} : { facts }) };
  } catch (error) {
    signal.throwIfAborted();
    const raw = isRollcallError(error) && error.raw !== undefined ? { raw: error.raw } : {};
    return { step, outcome: bad, message: adviceOf(error), ...raw };
  }
}
