/**
 * connectors/ldap: reads users and groups from LDAP directories: Active Directory, Samba, OpenLDAP, 389 Directory Server,
 * FreeIPA and others. Every read is full and happens on one connection bound once (session.ts); whatever is not proven
 * to be whole is an error, because absence in a full read makes people leave.
 */
import { RollcallError } from '../../core/errors.ts';
import type { AbsenceVerdict, Connector, DirectoryEvent, ReadRequest, TestStep } from '../contract/contract.ts';
import { checkDirectory } from './checks.ts';
import { openDirectory, withNamingContexts } from './directory.ts';
import type { Access, Directory, LdapDeps } from './directory.ts';
import { readFull } from './full-read.ts';
import { mappingsOf } from './profiles.ts';
import { proveBySearch } from './proof.ts';
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
    read: (request): AsyncIterable<DirectoryEvent> => readEvents(deps, request),
    proveAbsent: (request, kind, anchors): AsyncIterable<AbsenceVerdict> => prove(deps, request, kind, anchors),
  };
}

/** Where the password goes: when one of these changes, the stored password is forgotten. */
function targetOf(settings: LdapSettings): string {
  const { host, security, caPem = '', tlsServerName = '', bindDn } = settings;
  return JSON.stringify([host.toLowerCase(), portOf(settings), security, tlsServerName, caPem, bindDn]);
}

async function* readEvents(
  deps: LdapDeps,
  request: ReadRequest<LdapSettings, LdapSecrets>,
): AsyncGenerator<DirectoryEvent> {
  const { settings, signal, attributes } = request;
  const directory = await translated(() => openDirectory(deps, request), signal);
  const { pageSize, readGroups, userNameAttribute } = settings;
  const now = (deps.now ?? (() => new Date()))();
  const batches = readFull({ directory, pageSize, readGroups, userNameAttribute, attributes, now });
  try {
    for (;;) {
      const { done, value } = await translated(() => nextBatch(batches, directory), signal);
      if (done === true) return;
      for (const event of value) {
        signal.throwIfAborted();
        yield event;
      }
    }
  } finally {
    await batches.return();
    directory.session.close();
  }
}

async function nextBatch(
  batches: ReturnType<typeof readFull>,
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
