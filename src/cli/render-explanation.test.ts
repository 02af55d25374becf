import { describe, expect, it } from 'vitest';
import type { ConnectionId } from '../core/ids.ts';
import type { ObjectExplanation } from '../reconciliation/reconciliation.ts';
import { renderObject } from './render-explanation.ts';

const object: ObjectExplanation = {
  connectionId: 'c' as ConnectionId,
  connectionName: 'Directory',
  anchor: 'ann',
  name: 'Ann\u001b[31m',
  locator: null,
  userId: null,
  steps: [
    {
      step: 'scope',
      input: 'department = Sales',
      rule: 'object.department != null',
      ruleVersion: 3,
      outcome: 'In scope.',
      lines: [],
    },
    {
      step: 'map',
      input: 'Ann',
      rule: '1 mappings',
      ruleVersion: 3,
      outcome: '1 values.',
      lines: [{ what: 'email', input: 'mail = a@x.test', rule: 'object.mail', outcome: 'a@x.test' }],
    },
  ],
};

describe('an explained object', () => {
  const text = renderObject(object, 100);

  it('is told step by step with what was looked at, the rule with its version, and the outcome', () => {
    expect(text.split('\n').slice(1)).toEqual([
      '1. scope: In scope.',
      '   looked at: department = Sales',
      '   rule (version 3): object.department != null',
      '2. map: 1 values.',
      '   looked at: Ann',
      '   rule (version 3): 1 mappings',
      '   WHAT   INPUT            RULE         OUTCOME',
      '   email  mail = a@x.test  object.mail  a@x.test',
      '',
    ]);
  });

  it('lets no control character of a directory reach the terminal', () => {
    expect(text).not.toContain('\u001b');
  });
});
