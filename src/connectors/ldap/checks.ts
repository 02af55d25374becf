/**
 * The connection test: one step after the other, each one plain sentence with what was found; the first failure ends it.
 * It asks what a read will ask (same account, same filters, same pages), but keeps nothing and stops counting early.
 */
import { TLSSocket } from 'node:tls';
import { adviceOf, RollcallError } from '../../core/errors.ts';
import type { TestStep } from '../contract/contract.ts';
import { controlOids } from './controls.ts';
import { bindSession, describeDirectory, fetchRootDse, openSession, withNamingContexts } from './directory.ts';
import type { Access, Directory, LdapDeps, Place } from './directory.ts';
import type { LdapEntry } from './entry.ts';
import { mappingsOf } from './profiles.ts';
import { pagedWhole } from './ranged.ts';
import type { LdapSession } from './session.ts';
import { portOf } from './settings.ts';

/** Enough to meet the size limits servers are shipped with, few enough to be quick on a big directory. */
const maxCounted = 20_000;
const sampleSize = 3;
const defaultProbeTimeoutMs = 5_000;

type Outcome = Omit<TestStep, 'step'>;
const ok = (message: string, facts: TestStep['facts'] = {}): Outcome => ({ outcome: 'ok', message, facts });
const warning = (message: string, facts: TestStep['facts'] = {}): Outcome => ({ outcome: 'warning', message, facts });

export async function* checkDirectory(deps: LdapDeps, access: Access): AsyncGenerator<TestStep> {
  let session: LdapSession | undefined;
  let step = 'dns';
  try {
    yield { step, ...(await checkName(deps, access)) };
    step = 'tcp';
    yield { step, ...(await checkPort(deps, access)) };
    step = 'tls';
    session = await openSession(deps, access);
    yield { step, ...describeTls(session, access) };
    step = 'bind';
    await bindSession(session, access);
    yield { step, ...ok(`Signed in as ${access.settings.bindDn}.`) };
    step = 'capabilities';
    const directory = describeDirectory(session, await fetchRootDse(session, access.settings), access.settings);
    yield { step, ...describeCapabilities(directory) };
    step = 'read_users';
    yield { step, ...(await checkUsers(directory, access)) };
    step = 'read_groups';
    yield { step, ...(await checkGroups(directory, access)) };
    step = 'page';
    yield { step, ...describePaging(directory, access) };
  } catch (error) {
    if (access.signal.aborted) throw access.signal.reason;
    yield failedStep(step, error);
  } finally {
    session?.close();
  }
}

function failedStep(step: string, error: unknown): TestStep {
  if (!(error instanceof RollcallError)) {
    return { step, outcome: 'failed', message: 'The test failed for a reason of our own.', raw: String(error) };
  }
  // The dialer knows better than the order of our calls which part of connecting failed.
  const named = error.details['step'];
  return {
    step: typeof named === 'string' ? named : step,
    outcome: 'failed',
    message: adviceOf(error),
    ...(error.raw === undefined ? {} : { raw: error.raw }),
    facts: { code: error.code },
  };
}

async function checkName({ dialer }: LdapDeps, { settings, signal }: Access): Promise<Outcome> {
  const timer = AbortSignal.timeout(defaultProbeTimeoutMs);
  const addresses = await dialer.resolve(settings.host, AbortSignal.any([signal, timer])).catch((cause: unknown) => {
    if (!timer.aborted || signal.aborted) throw cause;
    throw new RollcallError('directory_unreachable', `DNS gave no answer for ${settings.host} in time.`, {
      cause,
      remedy: 'Check the DNS server of this machine.',
      raw: 'ETIMEDOUT',
    });
  });
  return ok(`${settings.host} is known.`, { addresses: addresses.map(({ address }) => address) });
}

async function checkPort(deps: LdapDeps, { settings, signal }: Access): Promise<Outcome> {
  const port = portOf(settings);
  const timeoutMs = deps.connectTimeoutMs ?? defaultProbeTimeoutMs;
  const socket = await deps.dialer.connectTcp({ host: settings.host, port, timeoutMs, signal });
  const remoteAddress = socket.remoteAddress ?? '';
  socket.destroy();
  return ok(`${settings.host}:${port} accepts connections.`, { address: remoteAddress, port });
}

function describeTls(session: LdapSession, { settings }: Access): Outcome {
  const { socket } = session;
  if (!(socket instanceof TLSSocket)) {
    return warning('The connection is not encrypted: the password and all data travel in the clear.');
  }
  const certificate = socket.getPeerCertificate();
  const facts = {
    protocol: socket.getProtocol(),
    subject: certificate.subject?.CN,
    alternativeNames: certificate.subjectaltname,
    issuer: certificate.issuer?.CN ?? certificate.issuer?.O,
    validTo: certificate.valid_to,
    fingerprint256: certificate.fingerprint256,
  };
  return ok(
    `The certificate of ${settings.tlsServerName ?? settings.host} is valid until ${certificate.valid_to}.`,
    facts,
  );
}

function describeCapabilities({ rootDse, profile }: Directory): Outcome {
  const { supportedControls, namingContexts, vendorText } = rootDse;
  const facts = {
    vendor: profile.vendor,
    vendorText,
    namingContexts,
    idAttribute: profile.idAttribute,
    userFilter: profile.userFilter,
    groupFilter: profile.groupFilter,
    hasPagedResults: supportedControls.has(controlOids.paged),
    hasDirSync: supportedControls.has(controlOids.dirSync),
    hasSyncrepl: supportedControls.has(controlOids.syncRequest),
    defaultMappings: mappingsOf(profile.vendor),
  };
  return ok(`The server is ${vendorText ?? profile.vendor}; it is read as ${profile.vendor}.`, facts);
}

type Count = { readonly count: number; readonly isAtLeast: boolean; readonly sample: readonly LdapEntry[] };

async function countEntries(
  directory: Directory,
  place: Place,
  attributes: readonly string[],
  pageSize: number,
  doing: string,
): Promise<Count> {
  const search = { base: place.base, scope: 'sub' as const, filter: place.filter, attributes, doing };
  let count = 0;
  const sample: LdapEntry[] = [];
  try {
    for await (const entries of pagedWhole(directory.session, search, pageSize)) {
      sample.push(...entries.slice(0, sampleSize - sample.length));
      count += entries.length;
      if (count >= maxCounted) return { count, isAtLeast: true, sample };
    }
  } catch (error) {
    throw withNamingContexts(error, directory.rootDse);
  }
  return { count, isAtLeast: false, sample };
}

async function checkUsers(directory: Directory, { settings }: Access): Promise<Outcome> {
  const { idAttribute, accounts } = directory.profile;
  const wanted = [idAttribute, 'cn', ...accounts.attributes];
  const found = await countEntries(directory, directory.users, wanted, settings.pageSize, 'reading users');
  if (found.count === 0) {
    return warning(`No entry below ${directory.users.base} matches the user filter.`, { count: 0 });
  }
  const withoutId = found.sample.find((entry) => directory.anchors.read(entry) === null);
  if (withoutId !== undefined) {
    throw new RollcallError('directory_permission', `The entry ${withoutId.dn} shows no readable ${idAttribute}.`, {
      remedy: `Let the service account read ${idAttribute}, or set another idAttribute.`,
      raw: `${idAttribute} missing`,
    });
  }
  const facts = { count: found.count, isAtLeast: found.isAtLeast, sample: found.sample.map((entry) => entry.dn) };
  const isWindows = directory.profile.hasExtendedDns && settings.disabledRule === undefined;
  if (isWindows && found.sample.every((entry) => !entry.has('useraccountcontrol'))) {
    return warning('Users can be read, but not userAccountControl: disabled accounts would look active.', facts);
  }
  return ok(`${found.isAtLeast ? 'At least ' : ''}${found.count} users can be read.`, facts);
}

async function checkGroups(directory: Directory, { settings }: Access): Promise<Outcome> {
  if (!settings.readGroups) return { outcome: 'skipped', message: 'Groups are not read.' };
  const wanted = [directory.profile.idAttribute];
  const found = await countEntries(directory, directory.groups, wanted, settings.pageSize, 'reading groups');
  const facts = { count: found.count, isAtLeast: found.isAtLeast, sample: found.sample.map((entry) => entry.dn) };
  if (found.count === 0) return warning(`No entry below ${directory.groups.base} matches the group filter.`, facts);
  return ok(`${found.isAtLeast ? 'At least ' : ''}${found.count} groups can be read.`, facts);
}

/** The reads above were paged already: had the server refused, they would have failed. */
function describePaging({ rootDse }: Directory, { settings }: Access): Outcome {
  const isSupported = rootDse.supportedControls.has(controlOids.paged);
  if (settings.pageSize > 0) return ok(`Pages of up to ${settings.pageSize} entries work.`);
  return warning('Reads are not paged: the size limit of the server bounds the whole directory.', { isSupported });
}
