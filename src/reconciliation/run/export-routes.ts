/** GET /runs/:runId/export: the changes of a run as a download. */
import { z } from 'zod';
import { streamRoute, type Route } from '../../platform/route.ts';
import { reachedRun, runParams, view, type RoutesDeps } from '../route-parts.ts';
import { exportFormats } from './export.ts';

const contentTypes = { csv: 'text/csv; charset=utf-8', json: 'application/json; charset=utf-8' } as const;

export function exportRoutes({ reconciliation }: RoutesDeps): Route[] {
  return [
    streamRoute({
      path: '/runs/:runId/export',
      summary: 'Every change of a run as one file, safe to open in a spreadsheet.',
      permission: view,
      params: runParams,
      query: z.strictObject({ format: z.enum(exportFormats).default('csv') }),
      contentTypes: ['text/csv', 'application/json'],
      handler: async ({ params, query }, { principal }) => {
        const runId = await reachedRun({ reconciliation }, principal, params);
        const body = await reconciliation.exportRun(principal.tenantId, runId, query.format);
        const headers = {
          'Content-Type': contentTypes[query.format],
          'Content-Disposition': `attachment; filename="run-${runId}.${query.format}"`,
        };
        return { headers, body };
      },
    }),
  ];
}
