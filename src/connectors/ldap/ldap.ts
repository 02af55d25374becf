/**
 * connectors/ldap: reads users and groups from LDAP directories: Active Directory, Samba, OpenLDAP, 389 Directory Server,
 * FreeIPA and others. A read happens on one connection bound once (session.ts); whatever is not proven to be whole is an
 * error, because absence in a full read makes people leave. Every read is full unless the settings ask for increments.
 */
import { RollcallError } from '../../core/errors.ts';
import { eventsOf } from '../contract/contract.ts';
import type { AbsenceVerdict, Connector, DirectoryEvent, ReadRequest, TestStep } from '../contract/contract.ts';
import { checkDirectory } from './checks.ts';
import { openCursor } from './cursor.ts';
import { readDelta } from './delta-read.ts';
import { openDirectory, withNamingContexts } from './directory.ts';
import type { Access, Directory, LdapDeps } from './directory.ts';
import { readFull } from './full-read.ts';
import { bindingOf } from './increments.ts';
import type { ReadOptions } from './objects.ts';
import { mappingsOf } from './profiles.ts';
import { proveBySearch } from './proof.ts';
import { readUser } from './read-object.ts';
import { ldapSecrets, ldapSettings, portOf } from './settings.ts';
import type { LdapSecrets, LdapSettings } from './settings.ts';

export type { LdapDeps } from './directory.ts';
export type { LdapSecrets, LdapSettings } from './settings.ts';

export function ldapConnector(deps: LdapDeps): Connector<LdapSettings, LdapSecrets> {
  return {
    kind: 'ldap',
    settingsSchema: ldapSettings,
    secretsSchema: ldapSecrets,
    target: targetOf,
    defaultMappings: (settings) => mappingsOf(settings.vendor),
    test: (request): AsyncIterable<TestStep> => checkDirectory(deps, request),
    read: (request): AsyncIterable<DirectoryEvent> => eventsOf(readTranslated(deps, request), request.signal),
    proveAbsent: (request, kind, anchors): AsyncIterable<AbsenceVerdict> => prove(deps, request, kind, anchors),
    readObject: async (request, reference) => {
      const directory = await translated(() => openDirectory(deps, request), request.signal);
      try {
        return await translated(() => readUser(readOptionsOf(deps, request, directory), reference), request.signal);
      } finally {
        directory.session.close();
      }
    },
  };
}

/** Where the password goes: when one of these changes, the stored password is forgotten. */
function targetOf(settings: LdapSettings): string {
  const { host, security, caPem = '', tlsServerName = '', bindDn } = settings;
  return JSON.stringify([host.toLowerCase(), portOf(settings), security, tlsServerName, caPem, bindDn]);
}

async function* readTranslated(
  deps: LdapDeps,
  request: ReadRequest<LdapSettings, LdapSecrets>,
): AsyncGenerator<DirectoryEvent[], void> {
  const { signal } = request;
  const directory = await translated(() => openDirectory(deps, request), signal);
  const options = readOptionsOf(deps, request, directory);
  const batches = readBatches(options, request);
  try {
    for (;;) {
      const { done, value } = await translated(() => nextBatch(batches, directory), signal);
      if (done === true) return;
      yield value;
    }
  } finally {
    await batches.return();
    directory.session.close();
  }
}

function readOptionsOf(
  deps: LdapDeps,
  { settings, attributes }: Pick<ReadRequest<LdapSettings, LdapSecrets>, 'settings' | 'attributes'>,
  directory: Directory,
): ReadOptions {
  const { pageSize, readGroups, userNameAttribute, lockedAccounts } = settings;
  const now = (deps.now ?? (() => new Date()))();
  return { directory, pageSize, readGroups, userNameAttribute, lockedAccounts, attributes, now };
}

/** A connection without increments answers a delta request by a full read. */
async function* readBatches(
  options: ReadOptions,
  { settings, mode, cursor }: ReadRequest<LdapSettings, LdapSecrets>,
): AsyncGenerator<DirectoryEvent[], void> {
  if (mode === 'full' || settings.increments === 'off' || cursor === null) {
    yield* readFull(options, settings.increments);
    return;
  }
  const binding = await bindingOf(options);
  const from = binding === null ? 'The server does not say which one it is.' : openCursor(cursor, binding);
  if (typeof from === 'string') yield [{ type: 'reset', reason: from }];
  else if (settings.increments !== 'auto' && settings.increments !== from.position.by) {
    yield [{ type: 'reset', reason: 'The way in which changes are read was set differently.' }];
  } else yield* readDelta(options, from);
}

async function nextBatch(
  batches: ReturnType<typeof readBatches>,
  directory: Directory,
): Promise<IteratorResult<DirectoryEvent[], void>> {
  try {
    return await batches.next();
  } catch (error) {
    throw withNamingContexts(error, directory.rootDse);
  }
}

async function* prove(
  deps: LdapDeps,
  access: Access,
  kind: 'user' | 'group',
  anchors: readonly string[],
): AsyncGenerator<AbsenceVerdict> {
  if (anchors.length === 0) return;
  const directory = await translated(() => openDirectory(deps, access), access.signal);
  const verdicts = proveBySearch(directory, kind, anchors, access.settings.pageSize);
  try {
    for (;;) {
      const { done, value } = await translated(() => verdicts.next(), access.signal);
      if (done === true) return;
      yield value;
    }
  } finally {
    await verdicts.return(undefined);
    directory.session.close();
  }
}

/** Nothing but RollcallError and the abort's own reason leaves this room. */
async function translated<T>(work: () => Promise<T>, signal: AbortSignal): Promise<T> {
  try {
    signal.throwIfAborted();
    return await work();
  } catch (cause) {
    if (signal.aborted) throw signal.reason;
    if (cause instanceof RollcallError) throw cause;
    throw new RollcallError('internal', 'Reading the directory failed for a reason of our own.', {
      cause,
      raw: String(cause),
    });
  }
}
