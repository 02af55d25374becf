/** The connection's settings as a request finds them beside its token. */
import { scimSettingsSchema, type ScimSettings } from '../core/scim-settings.ts';

const defaults: ScimSettings = scimSettingsSchema.parse({});

/** What was stored was checked when it was stored; a setting of a later version counts as not given. */
export function readSettings(stored: Readonly<Record<string, unknown>>): ScimSettings {
  const parsed = scimSettingsSchema.safeParse(stored);
  return parsed.success ? parsed.data : defaults;
}
