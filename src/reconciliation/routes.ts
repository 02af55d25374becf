/** reconciliation/routes: connections, runs with their changes, approvals, cases, explain. */
import type { Route } from '../platform/route.ts';
import { caseRoutes } from './cases/routes.ts';
import { connectionRoutes } from './connections/routes.ts';
import { explainRoutes } from './explain/routes.ts';
import type { RoutesDeps } from './route-parts.ts';
import { runRoutes } from './run/routes.ts';
import { undoRoutes } from './undo/routes.ts';

export type { RoutesDeps } from './route-parts.ts';

export function reconciliationRoutes(deps: RoutesDeps): Route[] {
  return [
    ...connectionRoutes(deps),
    ...runRoutes(deps),
    ...caseRoutes(deps),
    ...explainRoutes(deps),
    ...undoRoutes(deps),
  ];
}
