/** The reconciliation's part of the configuration. */
import { z } from 'zod';

export const historyConfigSchema = z.strictObject({
  keepDays: z
    .int()
    .min(30)
    .max(3650)
    .default(180)
    .describe('Runs can be undone, and every change of them is kept, for this many days.'),
});
