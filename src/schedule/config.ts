/** The schedule's part of the configuration. */
import { z } from 'zod';

export const scheduleConfigSchema = z.strictObject({
  concurrency: z
    .int()
    .min(1)
    .max(64)
    .default(2)
    .describe('Runs a worker process carries out at once; each belongs to another connection.'),
  heartbeatSeconds: z
    .int()
    .min(10)
    .max(600)
    .default(30)
    .describe('A run whose worker is silent for this long is taken over by another. 10 for the fast profile.'),
  pollSeconds: z.number().min(0.5).max(60).default(2).describe('How often a worker looks for work.'),
});
export type ScheduleConfig = z.infer<typeof scheduleConfigSchema>;
