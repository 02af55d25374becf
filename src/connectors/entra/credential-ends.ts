/**
 * When the credential of a connection ends. A certificate says it itself; of a client secret the app registration
 * tells, to those who may read it (Application.Read.All), by a hint of its first three characters; else what the
 * admin entered counts.
 */
import { isRollcallError } from '../../core/errors.ts';
import type { CredentialEnd } from '../contract/contract.ts';
import type { EntraSecrets } from './credentials.ts';
import { openCertificate } from './credentials.ts';
import type { GraphSession, JsonObject } from './graph-session.ts';
import type { EntraSettings } from './settings.ts';

type Registration = { readonly settings: EntraSettings; readonly secrets: EntraSecrets; readonly now: Date };

export async function findCredentialEnds(
  session: GraphSession,
  { settings, secrets, now }: Registration,
): Promise<readonly CredentialEnd[]> {
  if (secrets.kind === 'certificate') {
    const endsAt = openCertificate(secrets).endsAt.toISOString();
    return [{ credential: 'certificate', endsAt, source: 'certificate' }];
  }
  // a federated token and a managed identity are renewed by their platform
  if (secrets.kind !== 'client_secret') return [];
  const seen = await readSecretEnd(session, settings.clientId, secrets.clientSecret.reveal(), now);
  if (seen !== null) return [{ credential: 'client_secret', endsAt: seen, source: 'directory' }];
  return secrets.endsAt === undefined
    ? [{ credential: 'client_secret', endsAt: null, source: 'unknown' }]
    : [{ credential: 'client_secret', endsAt: new Date(secrets.endsAt).toISOString(), source: 'entered' }];
}

/** Without the permission, or with the registration in another tenant, there is nothing to see: not a failure. */
async function readSecretEnd(
  session: GraphSession,
  clientId: string,
  clientSecret: string,
  now: Date,
): Promise<string | null> {
  const url = `${session.graphUrl}/v1.0/applications(appId='${clientId}')?$select=appId,passwordCredentials`;
  try {
    const application = await session.getObject(url);
    return endOf(application['passwordCredentials'], clientSecret, now);
  } catch (error) {
    if (isRollcallError(error, 'directory_permission') || isRollcallError(error, 'directory_not_found')) return null;
    throw error;
  }
}

/**
 * Of several secrets with the same beginning the first to end counts: a reminder too early does no harm. Ones that
 * have ended are not ours, because ours has just been accepted.
 */
export function endOf(credentials: unknown, clientSecret: string, now: Date): string | null {
  const entries = (Array.isArray(credentials) ? (credentials as unknown[]) : []).flatMap((entry) => {
    const { hint, endDateTime } = (entry ?? {}) as JsonObject;
    const at = typeof endDateTime === 'string' ? Date.parse(endDateTime) : Number.NaN;
    return Number.isNaN(at) || at <= now.getTime() ? [] : [{ hint, at }];
  });
  const ours = entries.filter(({ hint }) => hint === clientSecret.slice(0, 3));
  const candidates = ours.length > 0 ? ours : entries.filter(({ hint }) => typeof hint !== 'string');
  const first = Math.min(...candidates.map(({ at }) => at));
  return Number.isFinite(first) ? new Date(first).toISOString() : null;
}

const dayMs = 86_400_000;

/** Whole days until then; negative once it has passed. */
export function daysUntil(endsAt: string, now: Date): number {
  return Math.floor((Date.parse(endsAt) - now.getTime()) / dayMs);
}
