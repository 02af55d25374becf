/** The steps import, scope and match: what the directory said, whether it is meant for us, and who it is. Pure. */
import { readRules } from '../../core/correlation.ts';
import { compileExpression, type MappingResult } from '../../core/mapping.ts';
import { words } from '../../core/drafts.ts';
import type { Evidence, ExplainLine, ExplainStep } from './explain-object.ts';

export function importStep({ open, object }: Evidence): ExplainStep {
  const reads = object.isPushed
    ? 'pushed by the identity provider'
    : `read in full last at ${open.row.lastFullAt ?? 'no time yet'}`;
  return {
    step: 'import',
    input: `user ${object.anchor}${object.locator === null ? '' : ` (${object.locator})`}`,
    rule: `${open.row.name}, ${open.connection.kind}, ${reads}`,
    ruleVersion: open.row.version,
    outcome: presence(object),
    lines: [],
  };
}

function presence(object: Evidence['object']): string {
  const version = `version ${object.version}, of ${object.updatedAt}`;
  if (object.deletedAt !== null) return `Deleted in the directory, known since ${object.deletedAt} (${version}).`;
  if (object.absentSince !== null) {
    return `Not shown by the directory since ${object.absentSince}, and not proven gone: nothing is done for it (${version}).`;
  }
  const reason = object.source['inactiveReason'];
  if (!object.isActive) return `There, but ${typeof reason === 'string' ? reason : 'disabled'} (${version}).`;
  return `There and active (${version}).`;
}

export function scopeStep({ open, object }: Evidence, result: MappingResult | null): ExplainStep {
  const { scope } = open.policy;
  const isInScope = result?.isInScope ?? object.isInScope;
  const outdated =
    result !== null && result.isInScope !== object.isInScope
      ? ' The rule changed since the last read, which said otherwise; the next full read decides.'
      : '';
  return {
    step: 'scope',
    input: scope === undefined || object.isPushed ? object.name : inputsOf(scope, object.source),
    rule: scope ?? 'none: everybody whom the connection reads',
    ruleVersion: open.row.version,
    outcome: `${isInScope ? 'In scope.' : 'Out of scope.'}${outdated}`,
    lines: [],
  };
}

/** `department = Sales, mail = (none)`: what an expression looks at. */
export function inputsOf(expression: string, source: Readonly<Record<string, unknown>>): string {
  const names = [...compileExpression(expression, 'explain').attributes].toSorted();
  return names.length === 0 ? '(nothing)' : names.map((name) => `${name} = ${shown(source[name])}`).join(', ');
}

export function shown(value: unknown): string {
  if (value === null || value === undefined || value === '') return '(none)';
  const text = typeof value === 'string' ? value : JSON.stringify(value);
  return text.length > 200 ? `${text.slice(0, 200)}…` : text;
}

export function matchStep(evidence: Evidence): ExplainStep {
  const { open, object, subject } = evidence;
  const order = readRules(open.policy.correlation).map((rule) => `${rule.label}${rule.isReview ? ' (to review)' : ''}`);
  const lines: ExplainLine[] = subject.candidates.map((candidate) => ({
    what: candidate.name,
    input: candidate.userId,
    rule: words(candidate.rule),
    outcome: candidate.isTaken
      ? 'The same, but linked to another object of this connection.'
      : candidate.isPrivileged
        ? 'The same, but protected or with a privileged role: a person decides.'
        : 'The same.',
  }));
  return {
    step: 'match',
    input: object.anchor,
    rule: `the immutable id; without a link: ${order.length === 0 ? 'no rule' : order.join(', then ')}`,
    ruleVersion: open.row.version,
    outcome: `${matched(evidence)}${caseWords(evidence)}`,
    lines,
  };
}

function matched({ subject, object }: Evidence): string {
  if (subject.correlationFault !== null) return `A rule can not be evaluated: ${subject.correlationFault}.`;
  const { link, user, candidates } = subject;
  const name = user?.attributes['displayName'] ?? user?.attributes['username'] ?? user?.id ?? 'nobody';
  if (link === null) {
    if (candidates.length === 0) return 'Not linked; no user matches.';
    return candidates.length === 1
      ? `Not linked; ${candidates[0]?.name ?? ''} matches.`
      : 'Not linked; several users match.';
  }
  const how = link.matchedBy === null ? '' : `, matched by ${words(link.matchedBy)}`;
  const why = object.linkReason === null ? '' : `: ${object.linkReason}`;
  if (link.state === 'disputed') return `Disputed${why}`;
  if (link.state === 'ignored') return 'Ignored: a person said that this object is left alone.';
  if (link.state === 'held') return `Linked to ${name}, and held${why} Runs leave it alone until it is released.`;
  return `Linked to ${name}${how}; the link is ${words(link.state)}.`;
}

function caseWords({ cases }: Evidence): string {
  return cases.map((found) => ` Case ${found.id} (${words(found.kind)}) is ${found.status}: ${found.reason}`).join('');
}
