/** The service provider on the real reconciliation: each client is a connection made from a document. */
import type { Db } from '../../src/db/db.ts';
import { systemClock } from '../../src/platform/clock.ts';
import { createLogger } from '../../src/platform/logger.ts';
import { SecretBox } from '../../src/platform/secrets.ts';
import { createReconciliation } from '../../src/reconciliation/reconciliation.ts';
import { startScimServer, type ScimServer } from './scim-server.ts';

let made = 0;

/** Everybody who is pushed gets the role `user` in the connection's organization; `more` is of the document. */
export async function startPortalServer(db: Db, more: Readonly<Record<string, unknown>> = {}): Promise<ScimServer> {
  const reconciliation = createReconciliation({
    db,
    connectors: new Map(),
    secretBox: new SecretBox(Buffer.alloc(32, 1)),
    nextSlot: () => new Date(0).toISOString(),
    now: () => new Date(),
    clock: systemClock,
    log: createLogger({ level: 'silent', fileDescriptor: 2 }),
  });
  return startScimServer(db, reconciliation.pushes, async (tenant) => {
    made += 1;
    const { id } = await reconciliation.createConnection('system', tenant.tenantId, {
      name: `Okta ${made}`,
      kind: 'scim',
      organization: tenant.slug,
      roles: [{ everyone: 'user' }],
      ...more,
    });
    await reconciliation.resumeConnection('system', tenant.tenantId, id);
    return id;
  });
}
