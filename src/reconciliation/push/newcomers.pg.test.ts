/** New people are decided from what was inserted; looked up like anybody else, each would be the same subject. */
import { describe, expect, test } from 'vitest';
import { createEngine } from '../../../test/fakes/engine.ts';
import { useDatabase } from '../../../test/setup/database.ts';
import { SecretBox } from '../../platform/secrets.ts';
import { newId } from '../../core/ids.ts';
import { loadSubjects, wantedOfAnchors } from '../plan/subjects.ts';
import { contentOf, writeMirrorUsers } from './mirror-users.ts';
import { subjectsOfNewcomers } from './newcomers.ts';
import { createOpenPush } from './open-push.ts';
import type { PushedUser } from './push-types.ts';

const database = useDatabase();

const opener = () =>
  createOpenPush({
    db: database.db,
    connectors: new Map(),
    secretBox: new SecretBox(Buffer.alloc(32, 1)),
    nextSlot: () => new Date(0).toISOString(),
    now: () => new Date(),
  });

type Said = Partial<Pick<PushedUser, 'isActive' | 'displayName' | 'externalId'>> & {
  readonly attributes?: PushedUser['attributes'];
};

/** The subject of one new person, by both ways; null where the short one does not apply. */
async function bothWays(document: Readonly<Record<string, unknown>>, said: Said) {
  const { reconciliation, tenantId, tenant } = await createEngine(database.db);
  const { id: connectionId } = await reconciliation.createConnection('test', tenantId, {
    name: 'Okta',
    kind: 'scim',
    organization: tenant.slug,
    ...document,
  });
  const userName = `ann@${tenant.builtInDomain}`;
  const user: PushedUser = {
    anchor: newId(),
    userName,
    externalId: said.externalId ?? null,
    displayName: said.displayName ?? null,
    isActive: said.isActive ?? true,
    attributes: { userName, ...said.attributes },
    resource: { userName },
  };
  return database.db.tenant(tenantId, async (tx) => {
    const opened = await opener().open(tx, { tenantId, connectionId, requestId: newId() });
    const content = contentOf(opened, user);
    const mirrored = writeMirrorUsers(tx, opened, [{ content, expect: 'new' }]);
    const short = await subjectsOfNewcomers(tx, opened, [content], mirrored);
    const whole = await loadSubjects(tx, {
      connectionId,
      anchors: [user.anchor],
      wanted: wantedOfAnchors(tx, connectionId, [user.anchor]),
      correlation: opened.connection.policy.correlation,
      provenDomains: [...opened.decision.provenDomains],
      few: 'new',
    });
    return { short, whole };
  });
}

describe('a new person is the same subject by both ways', () => {
  const everyone = { roles: [{ everyone: 'user' }] };
  test.each<[string, Readonly<Record<string, unknown>>, Said]>([
    ['with a role for everyone', everyone, { displayName: 'Ann', externalId: 'E1' }],
    ['without any rule', {}, {}],
    ['inactive', everyone, { isActive: false }],
    [
      'with a role by a predicate',
      { roles: [{ predicate: 'object.department == "Sales"', role: 'user' }, { everyone: 'user' }] },
      { attributes: { department: 'Sales', email: 'ann@elsewhere.example', employeeNumber: '7' } },
    ],
    ['out of scope', { ...everyone, scope: 'object.department == "Sales"' }, { attributes: { department: 'Legal' } }],
    [
      'with a group rule that does not concern anybody yet',
      { roles: [{ everyone: 'user' }, { group: { id: 'staff' }, role: 'user' }] },
      { displayName: 'Ann' },
    ],
  ])('%s', async (_what, document, said) => {
    const { short, whole } = await bothWays(document, said);
    expect(whole).toHaveLength(1);
    expect(short).toEqual(whole);
  });

  test('and is looked up where a rule compares what is no key', async () => {
    const correlation = [{ by: 'username', normalize: ['strip_domain'] }];
    const { short, whole } = await bothWays({ ...everyone, correlation }, {});
    expect(whole).toHaveLength(1);
    expect(short).toBeNull();
  });
});
