/** A scenario that is wrong says where and why; docs/scenarios.md knows every step. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { parseScenarios, stepNames } from './schema.ts';

const page = readFileSync(join(import.meta.dirname, '../../docs/scenarios.md'), 'utf8');

function faultsOf(scenario: Record<string, unknown>): string {
  try {
    parseScenarios('x.yaml', JSON.stringify({ subject: 'x', scenarios: [{ name: 'a story', ...scenario }] }));
    return '';
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
}

/** As JSON, because an object with a word of this name may be taken for a promise. */
const unchecked: unknown = JSON.parse('[{ "then": { "user": {} } }]');

it('accepts the example of the page', () => {
  const example = /```yaml\n([\s\S]*?)```/.exec(page)?.[1] ?? '';
  expect(parseScenarios('docs/scenarios.md', example).scenarios).toHaveLength(1);
});

it('is told of in full: the page names each step', () => {
  for (const name of stepNames) expect(page, name).toMatch(new RegExp(`^\\| .*\`${name}\`.* \\|`, 'm'));
});

it.each([
  ['a step that does not exist', [{ synk: 'normal' }], 'when[0]: needs exactly one of'],
  ['a step that does not exist, with what was probably meant', [{ synk: 'normal' }], 'Did you mean sync?'],
  ['two steps in one', [{ sync: 'normal', discard: true }], 'it has sync, discard'],
  ['an expectation nobody would check', unchecked, 'then: here: Unrecognized key: "user"'],
  [
    'a field that nobody has',
    [{ directory: { people: { ann: { mail: 'x' } } } }],
    'people.ann: Unrecognized key: "mail"',
  ],
  [
    'a fate that does not exist',
    [{ directory: { people: { ann: 'gone' } } }],
    'must be deleted, unseen, moved away, seen, or',
  ],
  ['a span of time in other words', [{ time: 'a week' }], 'must be like "10 days" or "25 hours"'],
  ['a step inside the other tenant', [{ elsewhere: [{ time: 'soon' }] }], 'when[0].elsewhere[0].time'],
])('refuses %s', (_what, when, message) => {
  expect(faultsOf({ when })).toContain(message);
});

it('names the file, the scenario and every fault at once', () => {
  const message = faultsOf({ when: ['syncc', 'discardd'] });
  expect(message.split('\n')).toHaveLength(2);
  expect(message).toMatch(/^x\.yaml: a story: when\[0\]/);
});

it('says where a file is no YAML at all', () => {
  expect(() => parseScenarios('x.yaml', 'subject: [')).toThrow(/^x\.yaml: /);
});
