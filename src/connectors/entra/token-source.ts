/**
 * Access tokens for Graph, one request for many callers. MSAL keeps the token and knows when it ends. It is loaded with
 * the first request: it takes a tenth of the memory of a process, and who reads an LDAP directory never needs it.
 */
import type { EntraConfig } from './config.ts';
import type { EntraSecrets } from './credentials.ts';
import { requireLoan } from './host-identity.ts';
import type { HttpsChannel } from './https-exchange.ts';
import type { Patience } from './patience.ts';
import type { EntraSettings } from './settings.ts';

export type TokenSource = {
  /** `fresh` leaves the kept token aside: Graph refused it. Concurrent callers share one request. */
  get(fresh: boolean): Promise<string>;
};

export type TokenSourceOptions = {
  readonly settings: EntraSettings;
  readonly secrets: EntraSecrets;
  /** What the operator lends; and the tenant that asks. */
  readonly config: EntraConfig;
  readonly tenantId: string | undefined;
  readonly channel: HttpsChannel;
  readonly patience: Patience;
  readonly now: () => Date;
  readonly signal: AbortSignal;
};

/** MSAL renews a token five minutes before it ends, and takes half a millisecond to say that it need not yet. */
const keptForMs = 60_000;

export function createTokenSource(options: TokenSourceOptions): TokenSource {
  const inFlight = new Map<boolean, Promise<string>>();
  let tokens: ((fresh: boolean) => Promise<string>) | undefined;
  let kept: { readonly token: string; readonly untilMs: number } | null = null;
  const acquire = async (fresh: boolean): Promise<string> => {
    // at the first request, so that a refusal is the failure of the sign-in rather than of the session
    tokens ??= await tokensOf(options);
    const token = await tokens(fresh);
    kept = { token, untilMs: options.now().getTime() + keptForMs };
    return token;
  };
  return {
    get: async (fresh) => {
      if (!fresh && kept !== null && options.now().getTime() < kept.untilMs) return kept.token;
      const running = inFlight.get(fresh);
      if (running !== undefined) return running;
      const started = acquire(fresh).finally(() => inFlight.delete(fresh));
      inFlight.set(fresh, started);
      return started;
    },
  };
}

async function tokensOf(options: TokenSourceOptions): Promise<(fresh: boolean) => Promise<string>> {
  const { secrets, settings, config, tenantId, patience, signal } = options;
  requireLoan(config, secrets.kind, { tenantId, settings });
  if (secrets.kind === 'managed_identity') {
    const { managedIdentityTokens } = await import('./managed-identity.ts');
    return managedIdentityTokens({ settings, secrets, patience, signal });
  }
  const { applicationTokens } = await import('./application-tokens.ts');
  return applicationTokens(options);
}
