/** The steps of the connection test before anybody signs in, and what the server says of itself. */
import type { DetailedPeerCertificate, PeerCertificate } from 'node:tls';
import { TLSSocket } from 'node:tls';
import { RollcallError } from '../../core/errors.ts';
import type { TestStep } from '../contract/contract.ts';
import { controlOids } from './controls.ts';
import type { Access, Directory, LdapDeps } from './directory.ts';
import { dnKey } from './dn.ts';
import { mappingsOf } from './profiles.ts';
import type { RootDse } from './profiles.ts';
import type { LdapSession } from './session.ts';
import { portOf } from './settings.ts';

const defaultProbeTimeoutMs = 5_000;
const soonMs = 14 * 86_400_000;
const maxChain = 10;

export type Outcome = Omit<TestStep, 'step'>;
export const ok = (message: string, facts: TestStep['facts'] = {}): Outcome => ({ outcome: 'ok', message, facts });
export const warning = (message: string, facts: TestStep['facts'] = {}): Outcome => ({
  outcome: 'warning',
  message,
  facts,
});
export const skipped = (message: string): Outcome => ({ outcome: 'skipped', message });

export async function checkName({ dialer }: LdapDeps, { settings, signal }: Access): Promise<Outcome> {
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

export async function checkPort(deps: LdapDeps, { settings, signal }: Access): Promise<Outcome> {
  const port = portOf(settings);
  const timeoutMs = deps.connectTimeoutMs ?? defaultProbeTimeoutMs;
  const socket = await deps.dialer.connectTcp({ host: settings.host, port, timeoutMs, signal });
  const remoteAddress = socket.remoteAddress ?? '';
  socket.destroy();
  return ok(`${settings.host}:${port} accepts connections.`, { address: remoteAddress, port });
}

export function describeTls(session: LdapSession, { settings }: Access, now: Date): Outcome {
  const { socket } = session;
  if (!(socket instanceof TLSSocket)) {
    return warning('The connection is not encrypted: the password and all data travel in the clear.');
  }
  const certificate = socket.getPeerCertificate(true);
  const facts = {
    protocol: socket.getProtocol(),
    subject: certificate.subject?.CN,
    alternativeNames: certificate.subjectaltname,
    issuer: certificate.issuer?.CN ?? certificate.issuer?.O,
    validFrom: certificate.valid_from,
    validTo: certificate.valid_to,
    fingerprint256: certificate.fingerprint256,
    chain: chainOf(certificate),
  };
  const name = settings.tlsServerName ?? settings.host;
  const endsInMs = Date.parse(certificate.valid_to) - now.getTime();
  const message = `The certificate of ${name} is valid until ${certificate.valid_to}.`;
  return endsInMs < soonMs
    ? warning(`${message} Renew it on the directory server in time.`, facts)
    : ok(message, facts);
}

/** Names from the server's certificate to the authority; a self-signed one is its own issuer. */
function chainOf(certificate: DetailedPeerCertificate): string[] {
  const names: string[] = [];
  let at: DetailedPeerCertificate | undefined = certificate;
  while (at !== undefined && names.length < maxChain) {
    names.push(subjectOf(at));
    at = at.issuerCertificate === at ? undefined : at.issuerCertificate;
  }
  return names;
}

function subjectOf({ subject }: PeerCertificate): string {
  const name = subject?.CN ?? subject?.O ?? '';
  return typeof name === 'string' ? name : name.join(' ');
}

export function describeCapabilities({ rootDse, profile }: Directory): Outcome {
  const { supportedControls, namingContexts, vendorText } = rootDse;
  const facts = {
    vendor: profile.vendor,
    vendorText,
    namingContexts,
    suggestedBaseDns: suggestedBases(rootDse),
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

/** Trees that hold no people: configuration, schema, change logs, DNS zones of AD, FreeIPA's certificate store. */
const notForPeople =
  /^(?:cn=(?:config|configuration|schema|accesslog|changelog|monitor)\b|dc=(?:domaindns|forestdns)zones\b|o=ipaca$)/i;

/** Where people usually are, from what the root DSE says. */
export function suggestedBases({ vendor, namingContexts }: RootDse): string[] {
  const trees = namingContexts.filter((context) => context !== '' && !notForPeople.test(dnKey(context)));
  return vendor === 'freeipa' ? trees.map((tree) => `cn=accounts,${tree}`) : trees;
}

/** Kerberos refuses five minutes; accounts that end at an hour are judged by our clock. */
const mostSkewMs = 120_000;

export function describeClock({ rootDse }: Directory, now: Date): Outcome {
  if (rootDse.currentTime === null) return skipped('The server does not say what time it is there.');
  const skewMs = now.getTime() - rootDse.currentTime.getTime();
  const facts = { skewSeconds: Math.round(skewMs / 1_000) };
  if (Math.abs(skewMs) <= mostSkewMs) return ok("This machine's clock agrees with the server's.", facts);
  const minutes = Math.round(Math.abs(skewMs) / 60_000);
  const how = skewMs > 0 ? 'ahead of' : 'behind';
  return warning(`This machine's clock is ${minutes} minutes ${how} the server's: set up time synchronization.`, facts);
}
