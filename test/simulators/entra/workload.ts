/** What stands around a workload: the platform that signs its token file, and the metadata endpoint of its machine. */
import { createSign, generateKeyPairSync } from 'node:crypto';
import { createServer } from 'node:http';
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
  /** The header value that proves that the request comes from the machine itself. */
  readonly header: string;
  readonly asked: readonly string[];
  /** Answers the next requests with this status and no token. */
  failWith(...statuses: readonly number[]): void;
  stop(): Promise<void>;
};

/**
 * The managed identity endpoint of an App Service (Azure App Service, "REST endpoint reference"): GET with
 * `api-version=2019-08-01`, `resource`, `client_id` for a user-assigned identity, and the header X-IDENTITY-HEADER.
 */
export async function startIdentityEndpoint(simulator: EntraSimulator): Promise<IdentityEndpoint> {
  const header = 'machine-secret';
  const asked: string[] = [];
  const failures: number[] = [];
  const server = createServer((request, response) => {
    const url = new URL(request.url ?? '/', 'http://localhost');
    asked.push(url.search);
    const send = (status: number, body: unknown): void => {
      response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body));
    };
    const failure = failures.shift();
    if (failure !== undefined) send(failure, { error: 'server_error', message: 'not now' });
    else if (request.headers['x-identity-header'] !== header) send(403, { message: 'no' });
    else if (url.searchParams.get('resource') !== simulator.url) send(400, { message: 'unknown resource' });
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
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/msi/token`,
    header,
    asked,
    failWith: (...statuses) => void failures.push(...statuses),
    stop: async () => {
      server.closeAllConnections();
      await new Promise<void>((resolve) => server.close(() => resolve()));
    },
  };
}
