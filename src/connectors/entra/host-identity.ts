/**
 * Identities that belong to the operator's machine rather than to a connection: the token file of a federated
 * workload, and the managed identity of an Azure host. Whoever may use them signs in as this installation, and client
 * id and tenant id are no secrets; so the operator lends them, by name, to one tenant for one application, and to
 * no other address than the cloud's own or the one that is lent too.
 */
import { readFile } from 'node:fs/promises';
import { RollcallError } from '../../core/errors.ts';
import { Secret } from '../../platform/secrets.ts';
import type { EntraConfig } from './config.ts';
import type { EntraSecrets } from './credentials.ts';
import type { EntraSettings } from './settings.ts';

export const lendsNothing: EntraConfig = { managedIdentity: false, lendTo: [] };

type Borrower = { readonly tenantId: string | undefined; readonly settings: EntraSettings };

/** Throws unless the operator lends the identity to this tenant, for this application, at these addresses. */
export function requireLoan(config: EntraConfig, kind: EntraSecrets['kind'], borrower: Borrower): void {
  if (kind === 'client_secret' || kind === 'certificate') return;
  const { settings } = borrower;
  const isThere = kind === 'managed_identity' ? config.managedIdentity : config.federatedTokenFile !== undefined;
  const isLent = config.lendTo.some(
    (loan) =>
      loan.tenant === borrower.tenantId &&
      loan.tenantId === settings.tenantId &&
      loan.clientId === settings.clientId &&
      loan.authority === settings.authority &&
      loan.graphUrl === settings.graphUrl,
  );
  if (isThere && isLent) return;
  throw new RollcallError('directory_auth', 'This installation does not lend its own identity to this connection.', {
    raw: kind,
    remedy: 'Use a client secret or a certificate, or ask the operator to name the connection under entra.lendTo.',
  });
}

/** Service account tokens have a few kilobytes. */
const maxTokenBytes = 64 * 1_024;

/** Read for each sign-in: the platform writes a new token before the old one ends. */
export async function readFederatedToken(config: EntraConfig): Promise<Secret> {
  const text = await readTokenFile(config.federatedTokenFile ?? '');
  if (text !== '' && text.length <= maxTokenBytes) return new Secret(text);
  throw new RollcallError('directory_auth', 'The token file of this installation holds no token.', {
    remedy: 'The operator has to check entra.federatedTokenFile.',
  });
}

async function readTokenFile(file: string): Promise<string> {
  try {
    return (await readFile(file, 'utf8')).trim();
  } catch (cause) {
    const code: unknown = cause instanceof Error ? Reflect.get(cause, 'code') : undefined;
    throw new RollcallError('directory_auth', 'The token file of this installation can not be read.', {
      cause,
      raw: typeof code === 'string' ? code : 'unreadable',
      remedy: 'The operator has to check entra.federatedTokenFile and who may read it.',
    });
  }
}
