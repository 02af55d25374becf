/** The sign-in side: POST /{tenant}/oauth2/v2.0/token and the OpenID document, with the AADSTS errors of A9. */
import type { FederatedCredential } from './assertions.ts';
import { refuseAssertion } from './assertions.ts';
import type { OpaqueTokens } from './opaque-tokens.ts';
import type { Reply } from './reply.ts';
import { json } from './reply.ts';

export type AppRegistration = {
  readonly clientId: string;
  readonly clientSecret: string;
  secretExpiresAt: Date | null;
  /** PEM of the registered certificates. */
  certificates: readonly string[];
  federatedCredentials: readonly FederatedCredential[];
  /** False: registered in another tenant, with only its service principal here. */
  isInTenant: boolean;
  /** Further secrets of the registration, as it shows them. */
  otherSecrets: readonly { readonly hint: string | null; readonly endDateTime: string }[];
  isEnabled: boolean;
  hasConsent: boolean;
  isBlockedByPolicy: boolean;
  permissions: readonly string[];
  /** Lifetime of issued tokens. */
  expiresInSeconds: number;
};

export type TokenEndpointState = {
  readonly tenantId: string;
  readonly app: AppRegistration;
  readonly graphRoot: string;
  readonly tokens: OpaqueTokens;
  readonly now: () => Date;
  readonly random: () => number;
};

const texts: Readonly<Record<number, { readonly status: number; readonly error: string; readonly text: string }>> = {
  90002: { status: 400, error: 'invalid_request', text: "Tenant '{tenant}' not found." },
  700016: { status: 400, error: 'unauthorized_client', text: "Application with identifier '{client}' was not found." },
  7000215: { status: 401, error: 'invalid_client', text: 'Invalid client secret provided.' },
  7000222: { status: 401, error: 'invalid_client', text: 'The provided client secret keys are expired.' },
  7000112: { status: 401, error: 'unauthorized_client', text: "Application '{client}' is disabled." },
  7000218: {
    status: 401,
    error: 'invalid_client',
    text: 'The request body must contain client_assertion or client_secret.',
  },
  65001: {
    status: 400,
    error: 'invalid_grant',
    text: 'The user or administrator has not consented to use the application.',
  },
  53003: { status: 400, error: 'invalid_grant', text: 'Access has been blocked by Conditional Access policies.' },
  70011: {
    status: 400,
    error: 'invalid_scope',
    text: "The provided value for the input parameter 'scope' isn't valid.",
  },
  700023: { status: 401, error: 'invalid_client', text: 'Client assertion audience claim does not match.' },
  700024: { status: 401, error: 'invalid_client', text: 'Client assertion is not within its valid time range.' },
  700027: { status: 401, error: 'invalid_client', text: 'Client assertion failed signature validation.' },
  70021: {
    status: 400,
    error: 'invalid_request',
    text: 'No matching federated identity record found for presented assertion.',
  },
  50027: { status: 400, error: 'invalid_request', text: 'Invalid JWT token because of its format.' },
  90033: { status: 400, error: 'temporarily_unavailable', text: 'A transient error has occurred. Please try again.' },
};

/** Shape of graph-examples "token-error". */
function tokenError(code: number, tenantId: string, clientId: string, now: Date): Reply {
  const found = texts[code] ?? { status: 400, error: 'invalid_request', text: 'Refused by the test.' };
  const timestamp = `${now.toISOString().slice(0, 19).replace('T', ' ')}Z`;
  const trace = '0000aaaa-11bb-cccc-dd33-eeeeee333333';
  const text = found.text.replace('{tenant}', tenantId).replace('{client}', clientId);
  return {
    status: found.status,
    headers: {},
    body: {
      error: found.error,
      error_description: `AADSTS${code}: ${text}\r\nTrace ID: ${trace}\r\nCorrelation ID: ${trace}\r\nTimestamp: ${timestamp}`,
      error_codes: [code],
      timestamp,
      trace_id: trace,
      correlation_id: trace,
      error_uri: `https://login.microsoftonline.com/error?code=${code}`,
    },
  };
}

export function answerOpenId(state: TokenEndpointState, tenantId: string): Reply {
  if (tenantId !== state.tenantId) return tokenError(90002, tenantId, '', state.now());
  const root = `${state.graphRoot}/${tenantId}`;
  return json({
    issuer: `${root}/v2.0`,
    token_endpoint: `${root}/oauth2/v2.0/token`,
    authorization_endpoint: `${root}/oauth2/v2.0/authorize`,
    jwks_uri: `${root}/discovery/v2.0/keys`,
  });
}

const jwtBearer = 'urn:ietf:params:oauth:client-assertion-type:jwt-bearer';

function refuseCredential(state: TokenEndpointState, tenantId: string, form: URLSearchParams): number | null {
  const { app } = state;
  if (form.get('client_assertion_type') === jwtBearer) {
    return refuseAssertion(form.get('client_assertion') ?? '', {
      ...app,
      tokenEndpoint: `${state.graphRoot}/${tenantId}/oauth2/v2.0/token`,
      now: state.now(),
    });
  }
  const secret = form.get('client_secret');
  if (secret === null) return 7000218;
  if (secret !== app.clientSecret) return 7000215;
  return app.secretExpiresAt !== null && app.secretExpiresAt <= state.now() ? 7000222 : null;
}

function refusal(
  state: TokenEndpointState,
  tenantId: string,
  form: URLSearchParams,
  forced: number | null,
): number | null {
  const { app } = state;
  if (forced !== null) return forced;
  if (tenantId !== state.tenantId) return 90002;
  if (form.get('client_id') !== app.clientId) return 700016;
  if (!app.isEnabled) return 7000112;
  const unproven = refuseCredential(state, tenantId, form);
  if (unproven !== null) return unproven;
  if (!app.hasConsent) return 65001;
  if (app.isBlockedByPolicy) return 53003;
  const scopes = (form.get('scope') ?? '').split(' ');
  return scopes.includes(`${state.graphRoot}/.default`) ? null : 70011;
}

/** `forced` is an AADSTS number a test asked for. */
export function answerToken(state: TokenEndpointState, tenantId: string, body: string, forced: number | null): Reply {
  const form = new URLSearchParams(body);
  if (form.get('grant_type') !== 'client_credentials') {
    return {
      status: 400,
      headers: {},
      body: { error: 'unsupported_grant_type', error_description: 'AADSTS70003: no.' },
    };
  }
  const code = refusal(state, tenantId, form, forced);
  if (code !== null) return tokenError(code, tenantId, form.get('client_id') ?? '', state.now());
  const expiresIn = state.app.expiresInSeconds;
  const token = issueToken(state, expiresIn);
  return json({ token_type: 'Bearer', expires_in: expiresIn, ext_expires_in: expiresIn, access_token: token });
}

export function issueToken(
  state: Pick<TokenEndpointState, 'app' | 'tokens' | 'now' | 'random'>,
  expiresInSeconds: number,
): string {
  return state.tokens.seal({
    kind: 'access',
    app: state.app.clientId,
    until: state.now().getTime() + expiresInSeconds * 1_000,
    permissions: state.app.permissions.join(' '),
    unique: Math.floor(state.random() * 1e9),
  });
}
