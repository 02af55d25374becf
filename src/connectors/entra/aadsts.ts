/**
 * What Microsoft's sign-in numbers mean for an admin. Numbers and meanings: Microsoft Entra documentation,
 * "AADSTS error codes"; the advice is ours. Microsoft asks programs not to depend on the numbers, so they choose
 * sentences here, and whether a retry makes sense follows the HTTP status first.
 */
import type { ErrorCode } from '../../core/errors.ts';

export type AadstsMeaning = { readonly code: ErrorCode; readonly message: string; readonly remedy: string };

const wrongCloud: AadstsMeaning = {
  code: 'directory_not_found',
  message: 'This tenant belongs to a national cloud (US Government or China).',
  remedy: 'Choose that cloud in the connection.',
};
const noConsent: AadstsMeaning = {
  code: 'directory_permission',
  message: 'Nobody has granted admin consent to the application yet.',
  remedy: 'Open the app registration, API permissions, and choose "Grant admin consent".',
};
const graphMissing: AadstsMeaning = {
  code: 'directory_permission',
  message: 'The app registration does not list Microsoft Graph, or can not see it in this tenant.',
  remedy: 'Add the application permissions User.Read.All and GroupMember.Read.All, then grant admin consent.',
};
const appDisabled: AadstsMeaning = {
  code: 'directory_auth',
  message: 'The application is disabled in this tenant.',
  remedy: 'Enable sign-in for it under Enterprise applications, Properties.',
};
const wrongCertificate: AadstsMeaning = {
  code: 'directory_auth',
  message: 'The certificate is not the registered one, or its signature was refused.',
  remedy: "Upload the certificate to the app registration again, and check this machine's clock.",
};
const noFederation: AadstsMeaning = {
  code: 'directory_auth',
  message: 'No federated credential of the application matches the issuer, subject and audience that were sent.',
  remedy: 'Compare them with the federated credential in the app registration.',
};
const blocked: AadstsMeaning = {
  code: 'directory_auth',
  message: "The sign-in is blocked by the tenant's Conditional Access policy or security defaults.",
  remedy: 'Exclude the application, or the address of this machine, in that policy.',
};
const deviceNeeded: AadstsMeaning = {
  code: 'directory_auth',
  message: 'A Conditional Access policy asks for a managed or compliant device, which a service can not have.',
  remedy: 'Exclude the application in that policy.',
};
const wrongScope: AadstsMeaning = {
  code: 'directory_auth',
  message: 'The requested scope does not belong to this cloud.',
  remedy: "Check that the connection's cloud and Graph address belong together.",
};
const tokenThrottled: AadstsMeaning = {
  code: 'directory_throttled',
  message: 'Microsoft refuses further tokens for a while: too many were requested.',
  remedy: 'Wait; check that no other program uses the same application in a loop.',
};
const temporary: AadstsMeaning = {
  code: 'directory_unreachable',
  message: "Microsoft's sign-in service has a temporary fault.",
  remedy: 'Nothing to do: it is tried again.',
};

/** Every number of the shared fact sheet (A6); a test compares. */
export const aadstsMeanings: ReadonlyMap<number, AadstsMeaning> = new Map<number, AadstsMeaning>([
  [
    7000215,
    {
      code: 'directory_auth',
      message: "The client secret is wrong. Most often the secret's ID was pasted instead of its Value.",
      remedy: 'Create a new client secret in the app registration and enter its Value.',
    },
  ],
  [
    7000222,
    {
      code: 'directory_auth',
      message: 'The client secret has expired.',
      remedy: 'Create a new one in the app registration and enter its Value.',
    },
  ],
  [
    700016,
    {
      code: 'directory_auth',
      message: 'This tenant has no application with that client id.',
      remedy: 'Check the client id and the tenant id; the application may never have been consented to here.',
    },
  ],
  [
    90002,
    {
      code: 'directory_not_found',
      message: 'There is no such tenant in this cloud.',
      remedy: 'Check the tenant id; a tenant of the US Government or China cloud needs that cloud in the connection.',
    },
  ],
  [90038, wrongCloud],
  [900382, wrongCloud],
  [900432, wrongCloud],
  [65001, noConsent],
  [90094, noConsent],
  [650056, graphMissing],
  [650057, graphMissing],
  [500011, graphMissing],
  [7000112, appDisabled],
  [70001, appDisabled],
  [
    7000218,
    {
      code: 'directory_auth',
      message: 'The request carried no credential; that is a fault of this software.',
      remedy: 'Report it, with the request id.',
    },
  ],
  [
    700025,
    {
      code: 'directory_auth',
      message: 'The application is registered as a public client, so Microsoft refuses a secret from it.',
      remedy: 'In the app registration, Authentication, switch off "Allow public client flows".',
    },
  ],
  [700027, wrongCertificate],
  [700030, wrongCertificate],
  [50012, wrongCertificate],
  [70021, noFederation],
  [
    700024,
    {
      code: 'directory_auth',
      message: 'The federated token is outside the time in which it is valid.',
      remedy: "Check this machine's clock and that the token file is renewed.",
    },
  ],
  [53003, blocked],
  [530032, blocked],
  [530035, blocked],
  [53000, deviceNeeded],
  [53001, deviceNeeded],
  [53002, deviceNeeded],
  [530003, deviceNeeded],
  [70011, wrongScope],
  [1002012, wrongScope],
  [28002, wrongScope],
  [90055, tokenThrottled],
  [50196, tokenThrottled],
  [50033, temporary],
  [90006, temporary],
  [90012, temporary],
  [90024, temporary],
  [90033, temporary],
  [90090, temporary],
]);

/** 7002xx numbers are all about federated credentials (A6). */
export function aadstsMeaning(number: number): AadstsMeaning {
  const known = aadstsMeanings.get(number);
  if (known !== undefined) return known;
  if (number >= 700_200 && number < 700_300) return noFederation;
  return {
    code: 'directory_auth',
    message: "Microsoft's sign-in service refused the application.",
    remedy: `Look AADSTS${number} up in Microsoft's list of sign-in error codes.`,
  };
}
