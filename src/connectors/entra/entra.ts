/**
 * connectors/entra: Microsoft Entra ID through Microsoft Graph. Reads users and groups by delta queries, proves
 * deletions by id, and names what is wrong when a connection does not work.
 *
 * Position: two delta links, bound to tenant, properties and Graph address. When history is lost (410, an expired or
 * older link), the read says `reset` and the engine reads everything again. What Graph does not report (a soft-deleted
 * member, an undelete) is why a full read comes at least every six days.
 */
import type { Connector, DefaultMapping } from '../contract/contract.ts';
import { proveByIds } from './absence.ts';
import { isAppRole, proveRoles } from './app-roles.ts';
import { findCredentialEnds } from './credential-ends.ts';
import type { EntraSecrets } from './credentials.ts';
import { entraSecretsSchema } from './credentials.ts';
import type { EntraDependencies } from './graph-session.ts';
import { openGraphSession, runEndurance, testEndurance } from './graph-session.ts';
import type { EntraConfig } from './config.ts';
import { readDirectory } from './read-directory.ts';
import { readUser } from './read-object.ts';
import { selectProperties } from './selection.ts';
import type { EntraSettings } from './settings.ts';
import { entraSettingsSchema, hostsOf } from './settings.ts';
import { testConnection } from './test-connection.ts';

export type { EntraConfig, EntraDependencies, EntraSecrets, EntraSettings };

const defaultMappings: readonly DefaultMapping[] = [
  { target: 'username', expression: 'object.userPrincipalName' },
  { target: 'email', expression: 'object.mail' },
  { target: 'displayName', expression: 'object.displayName' },
  { target: 'givenName', expression: 'object.givenName' },
  { target: 'familyName', expression: 'object.surname' },
  { target: 'phone', expression: 'object.mobilePhone != null ? object.mobilePhone : object.businessPhones' },
  { target: 'employeeId', expression: 'object.employeeId' },
  { target: 'department', expression: 'object.department' },
  { target: 'jobTitle', expression: 'object.jobTitle' },
];

export function entraConnector(dependencies: EntraDependencies): Connector<EntraSettings, EntraSecrets> {
  return {
    kind: 'entra',
    // Input and output differ by defaults; the engine only ever sees parsed settings.
    settingsSchema: entraSettingsSchema,
    secretsSchema: entraSecretsSchema,
    target: (settings) => {
      const { authority, graphUrl } = hostsOf(settings);
      return JSON.stringify([authority, graphUrl, settings.tenantId, settings.clientId, settings.caPem ?? null]);
    },
    defaultMappings: () => defaultMappings,
    test: (request) => testConnection(dependencies, request, selectProperties(request.settings, request.attributes)),
    read: (request) => readDirectory(dependencies, request),
    proveAbsent: async function* (request, kind, anchors) {
      const session = openGraphSession(dependencies, request, runEndurance);
      try {
        yield* proveRoles(session, request.settings.appRolesOf, anchors.filter(isAppRole));
        yield* proveByIds(
          session,
          kind,
          anchors.filter((anchor) => !isAppRole(anchor)),
        );
      } finally {
        session.close();
      }
    },
    readObject: async (request, reference) => {
      request.signal.throwIfAborted();
      const session = openGraphSession(dependencies, request, testEndurance);
      try {
        const selection = selectProperties(request.settings, request.attributes);
        return await readUser(session, selection, reference, request.settings.appRolesOf);
      } finally {
        session.close();
      }
    },
    credentialEnds: async (request) => {
      const session = openGraphSession(dependencies, request, testEndurance);
      try {
        return await findCredentialEnds(session, { ...request, now: dependencies.clock.now() });
      } finally {
        session.close();
      }
    },
  };
}
