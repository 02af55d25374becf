/** The part of the configuration that is the operator's: identities of this machine, and who may use them. */
import { z } from 'zod';

const lowerCase = z
  .string()
  .min(1)
  .transform((text) => text.toLowerCase());

export const entraConfigSchema = z.strictObject({
  federatedTokenFile: z
    .string()
    .min(1)
    .optional()
    .describe('File with the token of this workload, renewed by its platform (what AZURE_FEDERATED_TOKEN_FILE names).'),
  managedIdentity: z.boolean().default(false).describe('Whether this host has an Azure managed identity to lend.'),
  lendTo: z
    .array(
      z.strictObject({
        tenant: z.uuid().describe('Id of the root organization whose connections may use the identity.'),
        tenantId: lowerCase.describe('The tenant id of the connection, as it stands in its settings.'),
        clientId: lowerCase.describe('The client id of the connection.'),
        authority: z.string().optional().describe("The connection's own sign-in address, if it has one."),
        graphUrl: z.string().optional().describe("The connection's own Graph address, if it has one."),
      }),
    )
    .max(1_000)
    .default([])
    .describe('Who may sign in as this machine. Nobody, unless named here.'),
});
export type EntraConfig = z.output<typeof entraConfigSchema>;
