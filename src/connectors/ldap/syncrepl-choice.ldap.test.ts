/** Whether an OpenLDAP connection reads changes only, and what it says where it can not. */
import { readFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import {
  attributes,
  connector,
  incrementSettings,
  startIncrementsFixture,
} from '../../../test/servers/openldap-increments.ts';
import type { IncrementsFixture } from '../../../test/servers/openldap-increments.ts';
import { Secret } from '../../platform/secrets.ts';
import type { DirectoryEvent } from '../contract/contract.ts';
import type { LdapSettings } from './ldap.ts';

const noticeOf = (events: readonly DirectoryEvent[]): string =>
  events.flatMap((event) => (event.type === 'notice' ? [event.message] : [])).join();
describe('whether there are increments', () => {
  let fixture: IncrementsFixture;
  let bare: IncrementsFixture;
  beforeAll(async () => {
    fixture = await startIncrementsFixture();
    bare = await startIncrementsFixture({ without: ['syncprov'] });
  });
  afterAll(async () => {
    await fixture.stop();
    await bare.stop();
  });

  async function incrementsStep(
    { server }: IncrementsFixture,
    increments: LdapSettings['increments'],
  ): Promise<string> {
    const settings = { ...incrementSettings(server), increments };
    const request = {
      settings,
      secrets: { password: new Secret(server.password) },
      attributes,
      signal: AbortSignal.timeout(20_000),
    };
    for await (const step of connector.test(request)) {
      if (step.step === 'increments') return `${step.outcome}: ${step.message}`;
    }
    return '';
  }

  test('off is off: no position, and a delta request is answered by a full read', async () => {
    const { cursor } = await fixture.follow();
    for (const mode of ['full', 'delta'] as const) {
      const events = await fixture.read(mode, cursor, { increments: 'off' });
      expect(events.at(-1)).toMatchObject({ mode: 'full', cursor: null });
      expect(noticeOf(events)).not.toContain('changes alone');
    }
  });

  test('a database without the overlay is read in full, and a notice and the connection test say so', async () => {
    const events = await bare.read('full', null, {});
    expect(events.at(-1)).toMatchObject({ type: 'complete', mode: 'full', cursor: null });
    expect(noticeOf(events)).toContain('overlay syncprov');
    expect(await incrementsStep(bare, 'auto')).toMatch(/^warning: .*overlay syncprov/);
    expect(await incrementsStep(fixture, 'auto')).toBe('ok: Between full reads only changes are read, by syncrepl.');
    expect(await incrementsStep(fixture, 'off')).toContain('could be read, by syncrepl; it is switched off');
  });

  test('a position of another tree of the same name asks for a full read', async () => {
    const { cursor } = await fixture.follow();
    const events = await bare.read('delta', cursor, {});
    expect(events).toMatchObject([
      { type: 'reset', reason: 'Another server answers than the one the position belongs to.' },
    ]);
  });

  test('the lines of docs/ldap.md make a database tell its changes', async () => {
    const told = await startIncrementsFixture({ without: ['syncprov'] });
    try {
      const docs = readFileSync(new URL('../../../docs/ldap.md', import.meta.url), 'utf8');
      const [overlay = ''] = /^dn: olcOverlay=syncprov[^]*?\n\n/m.exec(docs) ?? [];
      await told.server.configure(overlay);
      const anchor = await told.directory.addUser({ name: 'First' });
      const follower = await told.follow();
      expect(follower.cursor).toMatchObject({ position: { by: 'syncrepl' } });
      await told.directory.setEmail(anchor, 'first@example.org');
      expect((await follower.expectInStep()).some(({ type }) => type === 'upsert')).toBe(true);
    } finally {
      await told.stop();
    }
  });

  test.each([
    ['389 Directory Server says nothing of a deletion', { vendor: '389ds', idAttribute: 'entryUUID' }, '389ds'],
    ['an id of its own is not what syncrepl tells', { idAttribute: 'uid' }, 'entryUUID as id attribute'],
    ['memberOf changes without a sign', { userFilter: '(!(memberOf=cn=x))' }, 'memberof'],
    ['DirSync is for Active Directory', { increments: 'dirsync' }, 'for Active Directory'],
  ] as const)('%s: read in full each time, and a notice says why', async (_why, overrides, word) => {
    const events = await fixture.read('full', null, overrides);
    expect(events.at(-1)).toMatchObject({ type: 'complete', mode: 'full', cursor: null });
    expect(noticeOf(events)).toContain(word);
  });

  test('an account that may not read the topmost entry is read in full, and a notice says why', async () => {
    const closed = await startIncrementsFixture({ isSuffixHidden: true });
    try {
      const events = await closed.read('full', null, {});
      expect(events.at(-1)).toMatchObject({ type: 'complete', mode: 'full', cursor: null });
      expect(noticeOf(events)).toContain('topmost entry');
    } finally {
      await closed.stop();
    }
  });
});
