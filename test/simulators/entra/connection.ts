/** A connection document for the simulator, in the form the connector's schemas take. */
import type { EntraSimulator } from './entra.ts';

export function connectionSettings(simulator: EntraSimulator) {
  return {
    tenantId: simulator.tenantId,
    clientId: simulator.app.clientId,
    cloud: 'global' as const,
    authority: simulator.url,
    graphUrl: simulator.url,
    caPem: simulator.caPem,
    properties: [],
  };
}
