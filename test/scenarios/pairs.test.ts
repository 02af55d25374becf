/**
 * Each guard, each check of a reading and each promise has a scenario that breaches it and one that stays just below: the
 * first shows that it works, the second that it is no stricter than it says.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { guardNames } from '../../src/core/guard.ts';
import { parseScenarios, promiseNames, type Scenario } from './schema.ts';

const scenarios = new Map<string, Scenario>(
  readdirSync(import.meta.dirname)
    .filter((name) => name.endsWith('.yaml'))
    .flatMap((name) => parseScenarios(name, readFileSync(join(import.meta.dirname, name), 'utf8')).scenarios)
    .map((scenario) => [scenario.name, scenario]),
);

/** What `then` expects of guards, step by step. */
function guardsOf(name: string): readonly (readonly string[])[] {
  const scenario = scenarios.get(name);
  expect(scenario, `there is a scenario "${name}"`).toBeDefined();
  return (scenario?.when ?? []).flatMap((step) =>
    step.step === 'then' && step.value.guards !== undefined ? [step.value.guards] : [],
  );
}

const guards: readonly (readonly [string, string, string])[] = [
  [
    'leavers',
    'one leaver more than one in ten holds all of them, and the rest of the run goes on',
    'as many leavers as one in ten pass',
  ],
  ['leavers', 'in a small directory three leavers of nine are held', 'in a small directory three leavers of ten pass'],
  ['leavers', 'a limit on the number of leavers holds one more', 'a limit on the number of leavers passes that number'],
  ['revokes', 'revoked roles above 15 percent are held', 'revoked roles below 15 percent pass'],
  [
    'revokes',
    'a limit on the number of revoked roles holds one more',
    'a limit on the number of revoked roles holds one more',
  ],
  [
    'group_loss',
    'a group that loses more than half of its members is held, and other groups are not',
    'a group that loses half of its members passes',
  ],
  [
    'privileged_grants',
    'no privileged role is given without a person, not a single one',
    'privileged roles below a limit that a person has raised are given',
  ],
  ['joiners', 'more newcomers than a quarter are held', 'a quarter more newcomers pass'],
  ['key_changes', 'more changed usernames than one in ten are held', 'as many changed usernames as one in ten pass'],
  [
    'email_changes',
    'more changed e-mail addresses than one in ten are held',
    'as many changed e-mail addresses as one in ten pass',
  ],
  [
    'empty',
    'a directory without users holds the run, whatever it says of them',
    'a directory in which one user is left is no empty one',
  ],
  [
    'shrunk',
    'a directory that shrank by more than a fifth holds the whole run',
    'a directory that shrank by a fifth and ten people is read as it is',
  ],
  [
    'swapped',
    'a directory of other people than yesterday holds the whole run',
    'a directory of which half are new people is read as it is',
  ],
  [
    'attribute_gone',
    'an attribute that nobody has any more holds the whole run',
    'an attribute that one person still has is believed',
  ],
  [
    'group_gone',
    'a mapped group that is gone holds the run',
    'a group that is gone and that no role mapping names holds nothing',
  ],
  [
    'group_emptied',
    'a mapped group that is suddenly empty holds the run',
    'a mapped group with one member left is no empty one',
  ],
];

describe('each guard and each check of a reading', () => {
  it.each(guards)('%s: "%s" breaches it, "%s" does not', (guard, above, below) => {
    expect(guardsOf(above).flat()).toContain(guard);
    expect(guardsOf(below), 'says that nothing is held').toContainEqual([]);
  });

  it('is in the list', () => {
    const checks = [
      ...readFileSync(join(import.meta.dirname, '../../src/core/sanity.ts'), 'utf8').matchAll(/check: '(\w+)'/g),
    ];
    const all = new Set([...guardNames, ...checks.map((match) => match[1] ?? '')]);
    expect(new Set(guards.map(([guard]) => guard))).toEqual(all);
    expect(checks.length).toBeGreaterThan(5);
  });
});

/** Promise -> a story in which it is what stops the engine, and one in which the engine may go on. */
const promises: readonly (readonly [string, string, string])[] = [
  [
    'absence is not deletion',
    'a person whom a read leaves out stays while the directory does not say what became of them',
    'a person whom the directory deleted is suspended, and keeps the roles for the day of return',
  ],
  [
    'what was previewed is applied',
    'what a person edits between plan and approval is not overwritten, and the rest of the plan is done',
    'a preview changes nobody, and its approval does what it showed',
  ],
  [
    'nothing dangerous by surprise',
    'an approval after 72 hours is too old to be meant, and the next run makes the plan anew',
    'an approval within 72 hours is taken',
  ],
  [
    'sync takes only what sync gave',
    "a role given by hand survives the end of the group's",
    'a member of a mapped group has the role, and loses it on leaving the group',
  ],
  [
    'explained and undone',
    'what a person edited after the run is kept when the run is undone',
    'a run that is undone leaves users, roles and values as before it',
  ],
  [
    'a crash loses nothing',
    'a worker that dies while it applies an approved plan is taken over, and that plan is finished',
    'a preview made twice is the same preview',
  ],
  [
    'one bad object stops only itself',
    'an object that the mapping can not read is left alone, and everybody else goes on',
    'a poison object is retried when its source changes, and not before',
  ],
  [
    'identity is the immutable id',
    "an e-mail address in somebody else's domain finds nobody",
    "a user is found by an e-mail address in the tenant's own domains",
  ],
];

describe('each promise', () => {
  it.each(promises)('%s: "%s" is kept from it, "%s" is not', (promise, above, below) => {
    expect(scenarios.get(above)?.promise).toBe(promise);
    expect(scenarios.has(below)).toBe(true);
  });

  it('is in the list', () => {
    expect(promises.map(([promise]) => promise)).toEqual(promiseNames);
  });
});
