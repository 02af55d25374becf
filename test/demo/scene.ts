/** What every chapter of the demo works with. */
import type { Office } from '../../src/app/app.ts';
import type { OrganizationId, TenantId } from '../../src/core/ids.ts';
import type { Principal } from '../../src/platform/route.ts';
import type { Installation } from '../sandbox/installation.ts';
import type { Directories } from './directories.ts';
import type { Narrator } from './narrator.ts';

export type Scene = {
  readonly narrator: Narrator;
  readonly installation: Installation;
  readonly office: Office;
  readonly directories: Directories;
  readonly signal: AbortSignal;
};

/** The sample organization, once it exists. */
export type Place = {
  readonly principal: Principal;
  readonly tenantId: TenantId;
  readonly organizationId: OrganizationId;
};
