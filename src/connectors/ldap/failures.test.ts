import { describe, expect, test } from 'vitest';
import { startFakeLdap } from '../../../test/servers/fake-ldap.ts';
import { RollcallError } from '../../core/errors.ts';
import { createDialer } from '../../platform/dialer.ts';
import { Secret } from '../../platform/secrets.ts';
import type { TestStep } from '../contract/contract.ts';
import { suggestedBases } from './check-server.ts';
import { bindFailure, bindSubCodes, rawResult, resultFailure } from './failures.ts';
import { ldapConnector } from './ldap.ts';
import type { LdapResult } from './results.ts';

function resultOf(code: number, message: string): LdapResult {
  return { code, message, matchedDn: '', referrals: [], oid: null, controls: new Map() };
}

/** As Windows writes it; the number behind v is the build of the server. */
const windowsText = (subCode: string): string =>
  `80090308: LdapErr: DSID-0C090439, comment: AcceptSecurityContext error, data ${subCode}, v4563`;

async function testAgainst(bindMessage: string): Promise<TestStep[]> {
  const server = await startFakeLdap({ search: () => undefined, bindCode: 49, bindMessage });
  const connector = ldapConnector({
    dialer: createDialer({ allowPrivateRanges: ['127.0.0.1'] }),
    allowPlaintext: true,
  });
  const settings = connector.settingsSchema.parse({
    host: '127.0.0.1',
    port: server.port,
    security: 'plain',
    bindDn: 'svc@x',
    baseDn: 'dc=x',
  });
  const steps: TestStep[] = [];
  const request = { settings, secrets: { password: new Secret('canary') }, attributes: [] };
  for await (const step of connector.test({ ...request, signal: AbortSignal.timeout(9_000) })) steps.push(step);
  await server.stop();
  return steps;
}

describe('a bind that Active Directory refuses', () => {
  test.each(Object.entries(bindSubCodes))(
    'data %s is told in words of its own, with a remedy and the raw text',
    (code, words) => {
      const error = bindFailure(resultOf(49, windowsText(code)));
      expect(error).toMatchObject({ code: 'directory_auth', message: words.says, remedy: words.remedy });
      expect(error.raw).toBe(`invalidCredentials (49): ${windowsText(code)}`);
    },
  );

  test('each sub-code says something else', () => {
    const words = Object.values(bindSubCodes);
    expect(new Set(words.map(({ says }) => says)).size).toBe(words.length);
  });

  test('reaches the admin as one failed step', async () => {
    const last = (await testAgainst(windowsText('533'))).at(-1);
    expect(last).toMatchObject({
      step: 'bind',
      outcome: 'failed',
      message: 'The account is disabled. Enable the service account.',
      raw: expect.stringContaining('data 533') as string,
    });
  });

  test('with a sub-code nobody knows is still a refused bind', () => {
    expect(bindFailure(resultOf(49, windowsText('999')))).toMatchObject({
      code: 'directory_auth',
      message: 'The server refused the bind DN or its password.',
    });
  });
});

test('a result names its code, and megabytes of text are cut', () => {
  const error = resultFailure(resultOf(80, 'x'.repeat(5_000_000)), 'reading users');
  expect(error).toBeInstanceOf(RollcallError);
  expect(error.raw?.length).toBe(1_000);
  expect(rawResult(resultOf(50, 'no'))).toBe('insufficientAccessRights (50): no');
});

test('trees that hold no people are not suggested as base', () => {
  const rootDse = {
    vendorText: null,
    supportedControls: new Set<string>(),
    dsServiceName: null,
    highestCommittedUsn: null,
    currentTime: null,
  };
  const windows = [
    'DC=x,DC=y',
    'CN=Configuration,DC=x,DC=y',
    'CN=Schema,CN=Configuration,DC=x,DC=y',
    'DC=DomainDnsZones,DC=x,DC=y',
  ];
  expect(suggestedBases({ ...rootDse, vendor: 'active_directory', namingContexts: windows })).toEqual(['DC=x,DC=y']);
  const openldap = ['cn=accesslog', 'dc=example,dc=org', 'cn=config'];
  expect(suggestedBases({ ...rootDse, vendor: 'openldap', namingContexts: openldap })).toEqual(['dc=example,dc=org']);
  const freeipa = ['dc=ipa,dc=test', 'o=ipaca', 'cn=changelog'];
  expect(suggestedBases({ ...rootDse, vendor: 'freeipa', namingContexts: freeipa })).toEqual([
    'cn=accounts,dc=ipa,dc=test',
  ]);
});
