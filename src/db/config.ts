/** The database's part of the configuration. */
import { z } from 'zod';

export const databaseConfigSchema = z.strictObject({
  poolSize: z
    .int()
    .min(2)
    .max(200)
    .default(10)
    .describe('Most connections one process opens for the work of tenants; staging takes up to 4 beside.'),
  enginePoolSize: z
    .int()
    .min(1)
    .max(50)
    .default(4)
    .describe('Most connections one process opens for dispatch; a wait there holds up schedules and webhooks.'),
});
export type DatabaseConfig = z.infer<typeof databaseConfigSchema>;
