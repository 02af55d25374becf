/** The connection documents of the demo, as an admin would write them. */
import { parse, stringify } from 'yaml';
import type { Openldap } from '../servers/openldap.ts';
import { connectionSettings } from '../simulators/entra/connection.ts';
import type { EntraSimulator } from '../simulators/entra/entra.ts';

/** `text` is what is shown: without certificates and secrets. */
export type Document = { readonly text: string; readonly value: Readonly<Record<string, unknown>> };

const entraPolicy = `name: Contoso Entra
kind: entra
organization: contoso
priority: 10               # where two directories disagree, the lower number wins
ceiling: admin             # the highest role this directory may ever give
roles:
  - { group: Portal Users, role: user }
  - { group: EMEA, role: user, organization: contoso/emea }
  - { group: Americas, role: user, organization: contoso/americas }
  - { group: Portal Admins, role: admin }
leaver: { policy: suspend }
`;

export function entraDocument(simulator: EntraSimulator): Document {
  const { caPem, properties: _properties, ...settings } = connectionSettings(simulator);
  const shown = { settings, secrets: { clientSecret: "(the secret's value)" } };
  return {
    text: `${entraPolicy}${stringify(shown)}`,
    value: {
      ...(parse(entraPolicy) as Record<string, unknown>),
      settings: { ...settings, caPem },
      secrets: { clientSecret: simulator.app.clientSecret },
    },
  };
}

const ldapPolicy = `name: Contoso LDAP
kind: ldap
organization: contoso
priority: 50
correlation: [username, email, employee_id]   # how somebody who is known already is recognized
roles:
  - everyone: user
`;

export function ldapDocument(server: Openldap): Document {
  const settings = {
    host: server.host,
    port: server.tlsPort,
    baseDn: server.peopleDn,
    groupBaseDn: server.groupsDn,
    bindDn: server.bindDn,
  };
  return {
    text: `${ldapPolicy}${stringify({ settings, secrets: { password: '(of that account)' } })}`,
    value: {
      ...(parse(ldapPolicy) as Record<string, unknown>),
      settings: { ...settings, caPem: server.caPem },
      secrets: { password: server.password },
    },
  };
}

const scimPolicy = `name: Contoso SCIM
kind: scim
organization: contoso
priority: 70
roles:
  - { group: Field Service, role: user, organization: contoso/americas }
`;

export const scimDocument: Document = {
  text: scimPolicy,
  value: parse(scimPolicy) as Record<string, unknown>,
};
