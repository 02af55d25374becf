/** The steps of the connection test that read: what a run would see, and what it would not. */
import { RollcallError } from '../../core/errors.ts';
import type { TestStep } from '../contract/contract.ts';
import { ok, skipped, warning } from './check-server.ts';
import type { Outcome } from './check-server.ts';
import { controlOids } from './controls.ts';
import { seesDeletions } from './deletions.ts';
import { withNamingContexts } from './directory.ts';
import type { Place } from './directory.ts';
import type { LdapEntry } from './entry.ts';
import { allOf, parseFilter } from './filter.ts';
import { startIncrements } from './increments.ts';
import { anchorOf, searchOf, userFormOf } from './objects.ts';
import type { ReadOptions } from './objects.ts';
import { pagedWhole } from './ranged.ts';
import type { LdapSettings } from './settings.ts';

/** Enough to meet the size limits servers are shipped with, few enough to be quick on a big directory. */
const maxCounted = 20_000;
const sampleSize = 5;

type Count = { readonly count: number; readonly isAtLeast: boolean; readonly sample: readonly LdapEntry[] };

async function countEntries(
  { directory, pageSize }: ReadOptions,
  place: Place,
  attributes: readonly string[],
  doing: string,
): Promise<Count> {
  const search = searchOf(place, attributes, doing);
  let count = 0;
  const sample: LdapEntry[] = [];
  try {
    for await (const entries of pagedWhole(directory.session, search, pageSize)) {
      sample.push(...entries.slice(0, sampleSize - sample.length));
      count += entries.length;
      if (count >= maxCounted) return { count, isAtLeast: true, sample };
    }
  } catch (error) {
    throw withNamingContexts(error, directory.rootDse);
  }
  return { count, isAtLeast: false, sample };
}

const amountOf = ({ count, isAtLeast }: Count): string => `${isAtLeast ? 'At least ' : ''}${count}`;

function factsOf({ count, isAtLeast, sample }: Count): NonNullable<TestStep['facts']> {
  return { count, isAtLeast, sample: sample.map((entry) => entry.dn) };
}

/** The sample is read as a run reads it; the mapping is applied by whoever shows the step. */
export async function checkUsers(options: ReadOptions, settings: LdapSettings): Promise<Outcome> {
  const { directory } = options;
  const form = userFormOf(options);
  const found = await countEntries(options, directory.users, form.names, 'reading users');
  if (found.count === 0) {
    return warning(`No entry below ${directory.users.base} matches the user filter.`, { count: 0 });
  }
  const { idAttribute, hasPrimaryGroups } = directory.profile;
  const withoutId = found.sample.find((entry) => directory.anchors.read(entry) === null);
  if (withoutId !== undefined) {
    throw new RollcallError('directory_permission', `The entry ${withoutId.dn} shows no readable ${idAttribute}.`, {
      remedy: `Let the service account read ${idAttribute}, or set another idAttribute.`,
      raw: `${idAttribute} missing`,
    });
  }
  const facts = factsOf(found);
  const sample = found.sample.map((entry) => form.toObject(entry, anchorOf(directory, entry)));
  const isWindows = hasPrimaryGroups && settings.disabledRule === undefined;
  if (isWindows && found.sample.every((entry) => !entry.has('useraccountcontrol'))) {
    const message = 'Users can be read, but not userAccountControl: disabled accounts would look active.';
    return { ...warning(message, facts), sample };
  }
  return { ...ok(`${amountOf(found)} users can be read.`, facts), sample };
}

export async function checkGroups(options: ReadOptions): Promise<Outcome> {
  if (!options.readGroups) return skipped('Groups are not read.');
  const { profile, groups } = options.directory;
  const found = await countEntries(options, groups, [profile.idAttribute], 'reading groups');
  const facts = factsOf(found);
  if (found.count === 0) return warning(`No entry below ${groups.base} matches the group filter.`, facts);
  return ok(`${amountOf(found)} groups can be read.`, facts);
}

/** The reads above were paged already: had the server refused, they would have failed. */
export function describePaging({ directory, pageSize }: ReadOptions): Outcome {
  const isSupported = directory.rootDse.supportedControls.has(controlOids.paged);
  if (pageSize > 0) return ok(`Pages of up to ${pageSize} entries work.`);
  return warning('Reads are not paged: the size limit of the server bounds the whole directory.', { isSupported });
}

/** MS-ADTS section 3.1.1.3.4.4.1: LDAP_MATCHING_RULE_BIT_AND. */
const windowsDisabled = '(userAccountControl:1.2.840.113556.1.4.803:=2)';

/** An attribute that nobody shows is either unused or hidden: the server does not tell which. */
export async function checkDisabled(options: ReadOptions, { disabledRule }: LdapSettings): Promise<Outcome> {
  const { profile, users } = options.directory;
  const names = profile.accounts.attributes;
  if (disabledRule?.kind === 'never' || names.length === 0) return skipped('Nobody counts as disabled.');
  const isWindows = profile.hasPrimaryGroups && disabledRule === undefined;
  const shown = isWindows ? windowsDisabled : `(|${names.map((name) => `(${name}=*)`).join('')})`;
  const place = { base: users.base, filter: allOf(users.filter, parseFilter(shown)) };
  const found = await countEntries(options, place, [profile.idAttribute, ...names], 'counting disabled users');
  const facts = { ...factsOf(found), attributes: names };
  if (isWindows) return ok(`${amountOf(found)} of them are disabled.`, facts);
  if (found.count > 0) return ok(`${amountOf(found)} users show one of ${names.join(', ')}.`, facts);
  const message = `No user shows ${names.join(' or ')}: either nobody is disabled or locked, or the account may not read it.`;
  return warning(`${message} Disable a test user and test again.`, facts);
}

export async function checkDeletions({ directory }: ReadOptions): Promise<Outcome> {
  if (!directory.profile.hasPrimaryGroups) return skipped('Who was deleted is found by each full read.');
  if (await seesDeletions(directory)) return ok('The account is told about deleted users.');
  return warning(
    'The account is not told about deleted users: they are found by asking for all ids, which takes longer.',
    { remedy: 'To change that, let it read CN=Deleted Objects (docs/ldap.md).' },
  );
}

const wayNames = { dirsync: 'DirSync', usn: 'uSNChanged', syncrepl: 'syncrepl' } as const;

export async function checkIncrements(options: ReadOptions, settings: LdapSettings): Promise<Outcome> {
  const wanted = settings.increments === 'off' ? 'auto' : settings.increments;
  const { position, events } = await startIncrements(options, wanted);
  const why = events.flatMap((event) => (event.type === 'notice' ? [event.message] : []))[0];
  const facts = { setting: settings.increments, by: position?.by ?? null };
  if (position === null) {
    const message = why ?? 'Every run reads everything: from this server that is quick.';
    return settings.increments === 'off' || why === undefined ? ok(message, facts) : warning(message, facts);
  }
  const way = wayNames[position.by];
  if (settings.increments === 'off') return ok(`Changes alone could be read, by ${way}; it is switched off.`, facts);
  return ok(`Between full reads only changes are read, by ${way}.`, facts);
}
