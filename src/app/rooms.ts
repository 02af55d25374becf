/** Builds the rooms, each from exactly what it needs. The one place that knows them all. */
import { createAccess, type Access } from '../access/access.ts';
import { createAudit, type Audit } from '../audit/audit.ts';
import type { Connector } from '../connectors/contract/contract.ts';
import { entraConnector } from '../connectors/entra/entra.ts';
import { ldapConnector } from '../connectors/ldap/ldap.ts';
import { nextSlot, parseCron, requireTimeZone } from '../core/cron.ts';
import { RollcallError } from '../core/errors.ts';
import type { ConnectionKind } from '../core/vocabulary.ts';
import type { Db } from '../db/db.ts';
import { createOrganizations, type Organizations } from '../organizations/organizations.ts';
import { createHttpsSend, createOutbox, type Outbox } from '../outbox/outbox.ts';
import { systemClock, type Clock } from '../platform/clock.ts';
import { createDialer, type Dialer } from '../platform/dialer.ts';
import type { Logger } from '../platform/logger.ts';
import type { SecretBox } from '../platform/secrets.ts';
import { createReconciliation, type Reconciliation } from '../reconciliation/reconciliation.ts';
import { createScimAdmin, type ScimAdmin } from '../scim/scim.ts';
import { createUsers, type Users } from '../users/users.ts';
import type { Config } from './config.ts';

export type RoomsOptions = {
  readonly config: Config;
  readonly db: Db;
  readonly secretBox: SecretBox;
  readonly logger: Logger;
};

export type Rooms = {
  readonly clock: Clock;
  readonly access: Access;
  readonly audit: Audit;
  readonly organizations: Organizations;
  readonly users: Users;
  readonly outbox: Outbox;
  readonly reconciliation: Reconciliation;
  readonly scim: ScimAdmin;
};

export function createRooms({ config, db, secretBox, logger }: RoomsOptions): Rooms {
  const clock = systemClock;
  const dialer = createDialer({ allowPrivateRanges: config.outbound.allowPrivateRanges });
  const pepper = secretBox.pepper();
  const reconciliation = createReconciliation({
    db,
    connectors: createConnectors(config, dialer, clock),
    secretBox,
    nextSlot: nextSlotText,
    now: () => clock.now(),
    clock,
    log: logger,
  });
  return {
    clock,
    access: createAccess({ db, pepper, clock }),
    audit: createAudit({ db }),
    organizations: createOrganizations({ db, baseDomain: config.baseDomain }),
    users: createUsers({ db }),
    outbox: createOutbox({ db, secretBox, clock, logger, send: createHttpsSend({ dialer }) }),
    reconciliation,
    scim: createScimAdmin({
      db,
      pushes: reconciliation.pushes,
      pepper,
      clock,
      reach: reconciliation.reach,
      log: logger,
    }),
  };
}

/** Kinds that are pulled. A SCIM connection is pushed to and has no connector. */
function createConnectors(config: Config, dialer: Dialer, clock: Clock): ReadonlyMap<ConnectionKind, Connector> {
  return new Map<ConnectionKind, Connector>([
    [
      'entra',
      erased(entraConnector({ clock, random: Math.random, connect: { lookup: dialer.lookup }, config: config.entra })),
    ],
    ['ldap', erased(ldapConnector({ dialer, allowPlaintext: config.outbound.allowPlainLdap, now: () => clock.now() }))],
  ]);
}

/** The engine hands a connector only settings and secrets that the connector's own schemas have parsed. */
function erased<Settings, Secrets>(connector: Connector<Settings, Secrets>): Connector {
  return connector as unknown as Connector;
}

/** The next slot as ISO text; throws invalid_input for a schedule that never comes, or can not be read. */
export function nextSlotText(cron: string, timeZone: string, after: Date): string {
  requireTimeZone(timeZone);
  const slot = nextSlot(parseCron(cron), timeZone, after);
  if (slot !== null) return slot.toISOString();
  throw new RollcallError('invalid_input', `The schedule "${cron}" never comes.`, {
    remedy: 'Choose a day that exists, for example "0 2 * * *" for every day at 2:00.',
  });
}
