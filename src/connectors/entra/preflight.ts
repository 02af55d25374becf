/**
 * DNS, TCP and TLS to both hosts before the first token, each on its own: MSAL says only "endpoints_resolution_error"
 * for all three (A5), and an admin needs to know which one it was.
 */
import { lookup as systemLookup } from 'node:dns';
import { connect, isIP } from 'node:net';
import type { LookupFunction } from 'node:net';
import { connect as connectTls } from 'node:tls';
import type { SecureContext, TLSSocket } from 'node:tls';
import { adviceOf, isRollcallError } from '../../core/errors.ts';
import type { TestStep } from '../contract/contract.ts';
import type { ConnectOptions } from './https-exchange.ts';
import { checkLiteralAddress, secureContextOf } from './https-exchange.ts';
import { describeTransportFailure } from './transport-failures.ts';

const stepTimeoutMs = 5_000;

type Place = { readonly host: string; readonly name: string; readonly port: number; readonly url: string };

function placeOf(url: string): Place {
  const parsed = new URL(url);
  const name = parsed.hostname.replace(/^\[|\]$/g, '');
  return { url, name, host: parsed.host, port: Number(parsed.port === '' ? 443 : parsed.port) };
}

type Facts = Readonly<Record<string, unknown>>;
/** What was found at the place, for those who want to see it. */
type Check = (place: Place) => Promise<Facts>;

/** Yields one step for each of dns, tcp, tls; ends after the first that failed. */
export async function* checkHosts(
  urls: readonly string[],
  options: ConnectOptions,
  caPem: string | undefined,
  signal: AbortSignal,
): AsyncGenerator<TestStep> {
  const places = [...new Set(urls)].map(placeOf);
  const lookup = options.lookup ?? (systemLookup as LookupFunction);
  const secureContext = secureContextOf(options, caPem);
  const checks: readonly { step: string; done: string; check: Check }[] = [
    { step: 'dns', done: 'resolves', check: async (place) => resolveName(place, options, lookup, signal) },
    { step: 'tcp', done: 'answers', check: async (place) => openTcp(place, lookup, signal) },
    {
      step: 'tls',
      done: 'has a valid certificate',
      check: async (place) => openTls(place, lookup, secureContext, signal),
    },
  ];
  for (const { step, done, check } of checks) {
    const facts: Record<string, Facts> = {};
    for (const place of places) {
      const found = await resultOf(step, place, check, signal);
      if ('failed' in found) {
        yield found.failed;
        return;
      }
      facts[place.host] = found.facts;
    }
    const names = places.map((place) => place.host).join(' and ');
    const verb = places.length === 1 ? done : done.replace(/^has /, 'have ').replace(/s$/, '');
    yield { step, outcome: 'ok', message: `${names} ${verb}.`, facts };
  }
}

type Result = { readonly failed: TestStep } | { readonly facts: Facts };

async function resultOf(step: string, place: Place, check: Check, signal: AbortSignal): Promise<Result> {
  try {
    return { facts: await check(place) };
  } catch (error) {
    signal.throwIfAborted();
    const failure = isRollcallError(error) ? error : describeTransportFailure(error, place.host);
    const raw = failure.raw === undefined ? {} : { raw: failure.raw };
    return { failed: { step, outcome: 'failed', message: adviceOf(failure), ...raw, facts: { host: place.host } } };
  }
}

async function resolveName(
  place: Place,
  options: ConnectOptions,
  lookup: LookupFunction,
  signal: AbortSignal,
): Promise<Facts> {
  await checkLiteralAddress(place.url, options.lookup);
  if (isIP(place.name) !== 0) return { addresses: [place.name] };
  return bounded<Facts>(signal, (done, fail) => {
    lookup(place.name, { all: true }, (error, addresses) => {
      if (error !== null) fail(error);
      else done({ addresses: [addresses].flat().map((one) => (typeof one === 'string' ? one : one.address)) });
    });
    return () => undefined;
  });
}

async function openTcp(place: Place, lookup: LookupFunction, signal: AbortSignal): Promise<Facts> {
  return bounded<Facts>(signal, (done, fail) => {
    const socket = connect({ host: place.name, port: place.port, lookup });
    socket.once('connect', () => done({ address: socket.remoteAddress, port: place.port })).on('error', fail);
    return () => socket.destroy();
  });
}

async function openTls(
  place: Place,
  lookup: LookupFunction,
  secureContext: SecureContext | undefined,
  signal: AbortSignal,
): Promise<Facts> {
  return bounded<Facts>(signal, (done, fail) => {
    const socket = connectTls({
      host: place.name,
      port: place.port,
      lookup,
      ...(isIP(place.name) === 0 ? { servername: place.name } : {}),
      ...(secureContext === undefined ? {} : { secureContext }),
    });
    socket.once('secureConnect', () => done(certificateFacts(socket))).on('error', fail);
    return () => socket.destroy();
  });
}

/** As an admin compares it with what a browser shows. */
function certificateFacts(socket: TLSSocket): Facts {
  const { subject, issuer, subjectaltname, valid_to: validTo, fingerprint256 } = socket.getPeerCertificate();
  return {
    protocol: socket.getProtocol(),
    subject: subject?.CN,
    alternativeNames: subjectaltname,
    issuer: issuer?.CN ?? issuer?.O,
    validTo,
    fingerprint256,
  };
}

/** Waits for `done`, at most the step's time; always cleans up. */
async function bounded<T>(
  signal: AbortSignal,
  start: (done: (found: T) => void, fail: (error: Error) => void) => () => void,
): Promise<T> {
  const limit = AbortSignal.any([signal, AbortSignal.timeout(stepTimeoutMs)]);
  signal.throwIfAborted();
  let cleanUp: (() => void) | undefined;
  let onAbort: (() => void) | undefined;
  try {
    return await new Promise<T>((resolve, reject) => {
      onAbort = () => reject(Object.assign(new Error('No answer in time.'), { code: 'ETIMEDOUT' }));
      limit.addEventListener('abort', onAbort, { once: true });
      cleanUp = start(resolve, reject);
    });
  } finally {
    cleanUp?.();
    if (onAbort !== undefined) limit.removeEventListener('abort', onAbort);
  }
}
