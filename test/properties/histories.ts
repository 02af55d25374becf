/** Random histories, in the very words of a scenario: what fails can be kept as one. */
import fc from 'fast-check';

/** As it would stand under `when` in a scenario. */
export type Event = Readonly<Record<string, unknown>> | string;

const pulled = fc.constantFrom('p1', 'p2', 'p3', 'p4');
const pushed = fc.constantFrom('q1', 'q2', 'q3');
const anybody = fc.oneof(pulled, pushed);
const department = fc.constantFrom('Sales', 'Lab', null);

const fields = fc.record(
  { department, enabled: fc.constantFrom(true, true, false), name: fc.constantFrom('Kim', 'Sam') },
  { requiredKeys: [] },
);

const inDirectory: fc.Arbitrary<Event> = fc.oneof(
  { weight: 6, arbitrary: fc.tuple(pulled, fields).map(([id, value]) => ({ directory: { people: { [id]: value } } })) },
  {
    weight: 4,
    arbitrary: fc
      .tuple(pulled, fc.constantFrom('deleted', 'unseen', 'seen'))
      .map(([id, fate]) => ({ directory: { people: { [id]: fate } } })),
  },
  {
    weight: 5,
    arbitrary: fc
      .tuple(
        fc.constantFrom('Staff', 'Inner', 'Ops'),
        fc.uniqueArray(
          fc.oneof({ weight: 5, arbitrary: pulled }, { weight: 2, arbitrary: fc.constantFrom('Inner', 'Staff') }),
          { maxLength: 4 },
        ),
      )
      .map(([group, members]) => ({ directory: { groups: { [group]: members } } })),
  },
  { weight: 1, arbitrary: fc.constantFrom('unknown', 'the truth').map((proof) => ({ directory: { proof } })) },
);

const inProvider: fc.Arbitrary<Event> = fc.oneof(
  {
    weight: 5,
    arbitrary: fc
      .tuple(pushed, fields)
      .map(([id, value]) => ({ directory: { people: { [id]: value } }, in: 'Second' })),
  },
  { weight: 1, arbitrary: pushed.map((id) => ({ directory: { people: { [id]: 'deleted' } }, in: 'Second' })) },
  {
    weight: 3,
    arbitrary: fc
      .tuple(
        fc.constantFrom('Crew', 'Core'),
        fc.uniqueArray(fc.oneof({ weight: 5, arbitrary: pushed }, { weight: 1, arbitrary: fc.constant('Core') }), {
          maxLength: 3,
        }),
      )
      .map(([group, members]) => ({ directory: { groups: { [group]: members } }, in: 'Second' })),
  },
);

const byHand: fc.Arbitrary<Event> = fc.oneof(
  fc.tuple(anybody, department).map(([edit, value]) => ({ byHand: { edit, set: { department: value } } })),
  anybody.map((to) => ({ byHand: { grant: 'billing_admin', to } })),
  anybody.map((from) => ({ byHand: { revoke: 'user', from } })),
  anybody.map((suspend) => ({ byHand: { suspend } })),
  anybody.map((protect) => ({ byHand: { protect } })),
  anybody.map((unprotect) => ({ byHand: { unprotect } })),
);

const swap: fc.Arbitrary<Event> = fc
  .uniqueArray(pulled, { minLength: 2, maxLength: 2 })
  .map(([one = 'p1', other = 'p2']) => ({ swap: [one, other] }));

const reads: fc.Arbitrary<Event> = fc.oneof(
  { weight: 4, arbitrary: fc.constant({ sync: 'approved' }) },
  { weight: 2, arbitrary: fc.integer({ min: 1, max: 110 }).map((at) => ({ crash: { at } })) },
  { weight: 1, arbitrary: fc.integer({ min: 0, max: 6 }).map((objects) => ({ broken: objects })) },
);

const rules: fc.Arbitrary<Event> = fc
  .tuple(fc.constantFrom('user', 'view_only_admin'), fc.boolean())
  .map(([ceiling, hasOps]) => ({ rules: { ceiling, hasOps: hasOps && ceiling !== 'user' } }));

export const history: fc.Arbitrary<readonly Event[]> = fc.array(
  fc.oneof(
    { weight: 6, arbitrary: inDirectory },
    { weight: 4, arbitrary: inProvider },
    { weight: 4, arbitrary: byHand },
    { weight: 4, arbitrary: reads },
    { weight: 1, arbitrary: rules },
    { weight: 1, arbitrary: swap },
  ),
  { minLength: 10, maxLength: 22, size: 'max' },
);
