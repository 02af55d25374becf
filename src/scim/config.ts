/** The service provider's part of the configuration. */
import { z } from 'zod';

export const scimConfigSchema = z.strictObject({
  requestsPerSecond: z
    .int()
    .min(25)
    .max(1_000_000)
    .default(1_000)
    .describe(
      'Requests a second that one token may send to one process, twice as many at once; more are answered 429. Entra asks for at least 25.',
    ),
  requestLogDays: z
    .int()
    .min(1)
    .max(365)
    .default(30)
    .describe('How long the request log of a connection is kept, in days.'),
});
export type ScimConfig = z.infer<typeof scimConfigSchema>;
