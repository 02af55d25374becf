/** The database's part of the configuration. */
import { z } from 'zod';

export const databaseConfigSchema = z.strictObject({
  poolSize: z
    .int()
    .min(2)
    .max(200)
    .default(10)
    .describe(
      'Most connections one process opens for the work of tenants; dispatch and staging take up to 4 each beside.',
    ),
});
export type DatabaseConfig = z.infer<typeof databaseConfigSchema>;
