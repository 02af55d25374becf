/** The settings of a connection of kind `scim`: where identity providers differ in what they expect. */
import { z } from 'zod';

export const scimSettingsSchema = z.strictObject({
  strictMembers: z
    .boolean()
    .default(false)
    .describe(
      'Refuse a change of members that names an id which is not there, instead of keeping it until the member arrives. For identity providers that show refusals to somebody.',
    ),
  inactiveDuplicate: z
    .enum(['refuse', 'reactivate'])
    .default('refuse')
    .describe(
      'What a POST for a userName does that an inactive user of this connection has: refuse with 409, or take that user back with the new content.',
    ),
});
export type ScimSettings = z.output<typeof scimSettingsSchema>;
