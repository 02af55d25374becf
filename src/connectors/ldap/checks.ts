/**
 * The connection test: one step after the other, each one plain sentence with what was found; the first failure ends it.
 * It asks what a read will ask (same account, same filters, same pages), but keeps nothing and stops counting early.
 */
import { adviceOf, RollcallError } from '../../core/errors.ts';
import type { TestStep } from '../contract/contract.ts';
import {
  checkName,
  checkPort,
  describeCapabilities,
  describeClock,
  describeTls,
  ok,
  suggestedBases,
} from './check-server.ts';
import type { Outcome } from './check-server.ts';
import {
  checkDeletions,
  checkDisabled,
  checkGroups,
  checkIncrements,
  checkUsers,
  describePaging,
} from './check-reading.ts';
import { baseMissing, bindSession, describeDirectory, fetchRootDse, openSession } from './directory.ts';
import type { Access, LdapDeps } from './directory.ts';
import type { ReadOptions } from './objects.ts';
import type { LdapSession } from './session.ts';

/** `attributes`: what the mapping reads; the sample shows them. */
export type CheckRequest = Access & { readonly attributes: readonly string[] };

export async function* checkDirectory(deps: LdapDeps, request: CheckRequest): AsyncGenerator<TestStep> {
  let session: LdapSession | undefined;
  let step = 'dns';
  const now = (deps.now ?? (() => new Date()))();
  try {
    yield { step, ...(await checkName(deps, request)) };
    step = 'tcp';
    yield { step, ...(await checkPort(deps, request)) };
    step = 'tls';
    session = await openSession(deps, request);
    yield { step, ...describeTls(session, request, now) };
    step = 'bind';
    await bindSession(session, request);
    yield { step, ...ok(`Signed in as ${request.settings.bindDn}.`) };
    step = 'capabilities';
    const { settings } = request;
    const directory = describeDirectory(session, await fetchRootDse(session, settings), settings);
    yield { step, ...describeCapabilities(directory) };
    step = 'read_users';
    if (settings.baseDn === '') throw baseMissing(suggestedBases(directory.rootDse));
    const { pageSize, readGroups, userNameAttribute, lockedAccounts } = settings;
    const { attributes } = request;
    const options = { directory, pageSize, readGroups, userNameAttribute, lockedAccounts, attributes, now };
    for (const each of readingSteps(options, request)) {
      ({ step } = each);
      yield { step, ...(await each.check()) };
    }
  } catch (error) {
    if (request.signal.aborted) throw request.signal.reason;
    yield failedStep(step, error);
  } finally {
    session?.close();
  }
}

type ReadingStep = { readonly step: string; readonly check: () => Promise<Outcome> };

function readingSteps(options: ReadOptions, { settings }: CheckRequest): readonly ReadingStep[] {
  return [
    { step: 'read_users', check: () => checkUsers(options, settings) },
    { step: 'read_groups', check: () => checkGroups(options) },
    { step: 'page', check: () => Promise.resolve(describePaging(options)) },
    { step: 'disabled', check: () => checkDisabled(options, settings) },
    { step: 'deletions', check: () => checkDeletions(options) },
    { step: 'increments', check: () => checkIncrements(options, settings) },
    { step: 'clock', check: () => Promise.resolve(describeClock(options.directory, options.now)) },
  ];
}

function failedStep(step: string, error: unknown): TestStep {
  if (!(error instanceof RollcallError)) {
    return { step, outcome: 'failed', message: 'The test failed for a reason of our own.', raw: String(error) };
  }
  // The dialer knows better than the order of our calls which part of connecting failed.
  const { step: named, certificate } = error.details;
  return {
    step: typeof named === 'string' ? named : step,
    outcome: 'failed',
    message: adviceOf(error),
    ...(error.raw === undefined ? {} : { raw: error.raw }),
    facts: { code: error.code, ...(certificate === undefined ? {} : { certificate }) },
  };
}
