/** What stands around a workload: the platform that signs its token file, and the metadata endpoint of its machine. */
import { createSign, generateKeyPairSync } from 'node:crypto';
import { createServer } from 'node:http';
import type { IncomingHttpHeaders } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { EntraSimulator } from './entra.ts';

const part = (value: unknown): string => Buffer.from(JSON.stringify(value)).toString('base64url');

export type WorkloadPlatform = {
  readonly issuer: string;
  readonly publicKey: string;
  /** A service account token as a cluster writes it into a file. */
  sign(claims: Readonly<Record<string, unknown>>): string;
};

export function createWorkloadPlatform(issuer = 'https://cluster.example/oidc'): WorkloadPlatform {
  const { publicKey, privateKey } = generateKeyPairSync('rsa', { modulusLength: 2_048 });
  return {
    issuer,
    publicKey: publicKey.export({ type: 'spki', format: 'pem' }).toString(),
    sign: (claims) => {
      const signed = `${part({ alg: 'RS256', typ: 'JWT', kid: 'test' })}.${part({ iss: issuer, ...claims })}`;
      return `${signed}.${createSign('sha256').update(signed).sign(privateKey).toString('base64url')}`;
    },
  };
}

export type IdentityEndpoint = {
  readonly url: string;
  /** Of the metadata service of a virtual machine; scheme, host and port only. */
  readonly metadataUrl: string;
  /** The header value that proves that the request comes from the machine itself. */
  readonly header: string;
  readonly asked: readonly string[];
  /** Answers the next requests with this status and no token. */
  failWith(...statuses: readonly number[]): void;
  stop(): Promise<void>;
};

/** As "How to use managed identities on an Azure VM to acquire an access token" shows the request. */
const metadataPath = '/metadata/identity/oauth2/token';

/**
 * The managed identity endpoint of an App Service (Azure App Service, "REST endpoint reference"): GET with
 * `api-version=2019-08-01`, `resource`, `client_id` for a user-assigned identity, and the header X-IDENTITY-HEADER. And the
 * metadata service of a virtual machine: its own path, `api-version=2018-02-01`, and the header `Metadata: true`, which
 * nobody can send who only makes a browser or a server follow an address; forwarded requests are refused.
 */
export async function startIdentityEndpoint(simulator: EntraSimulator): Promise<IdentityEndpoint> {
  const header = 'machine-secret';
  const asked: string[] = [];
  const failures: number[] = [];
  const server = createServer((request, response) => {
    const url = new URL(request.url ?? '/', 'http://localhost');
    asked.push(url.search);
    // MSAL writes a slash behind the path when its host is set by hand
    const isMetadata = url.pathname.replace(/\/$/, '') === metadataPath;
    const send = (status: number, body: unknown): void => {
      response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body));
    };
    const failure = failures.shift();
    if (failure !== undefined) send(failure, { error: 'server_error', message: 'not now' });
    else if (isMetadata && !isFromMachine(request.headers, url)) {
      send(400, { error: 'invalid_request', error_description: 'Required metadata header not specified' });
    } else if (!isMetadata && request.headers['x-identity-header'] !== header) {
      send(403, { message: 'no' });
    } else if (url.searchParams.get('resource') !== simulator.url) send(400, { message: 'unknown resource' });
    else {
      const clientId = url.searchParams.get('client_id');
      if (clientId !== null && clientId !== simulator.app.clientId) {
        send(400, { statusCode: 400, message: 'No User Assigned or Delegated Managed Identity found' });
        return;
      }
      const expiresOn = Math.floor(Date.now() / 1_000) + 86_400;
      send(200, {
        access_token: simulator.issueToken(86_400),
        expires_on: String(expiresOn),
        resource: simulator.url,
        token_type: 'Bearer',
        client_id: simulator.app.clientId,
      });
    }
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const metadataUrl = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  return {
    url: `${metadataUrl}/msi/token`,
    metadataUrl,
    header,
    asked,
    failWith: (...statuses) => void failures.push(...statuses),
    stop: async () => {
      server.closeAllConnections();
      await new Promise<void>((resolve) => server.close(() => resolve()));
    },
  };
}

function isFromMachine(headers: IncomingHttpHeaders, url: URL): boolean {
  const isForwarded = headers['x-forwarded-for'] !== undefined;
  return headers['metadata'] === 'true' && !isForwarded && url.searchParams.get('api-version') === '2018-02-01';
}
