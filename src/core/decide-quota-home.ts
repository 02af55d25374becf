/**
 * Where a user's draws count (R59, R60, C5): what a person chose; else the organization of the role mapping of highest
 * precedence that grants in a sub-organization; else where the user was first added. Memberships that come in any other
 * way, a creator's above all, never move it. Pure.
 */
import { blank } from './drafts.ts';
import { isLiveLink } from './link-states.ts';
import { isWithinCeiling } from './roles.ts';
import type { DecisionContext, Draft, HomeRule, QuotaHome, Subject } from './subject.ts';

export function quotaHomeDrafts(subject: Subject, context: DecisionContext, drafts: readonly Draft[]): Draft[] {
  const created = drafts.find((draft) => draft.op === 'create');
  if (created === undefined && !isOurs(subject, drafts)) return [];
  const home = created === undefined ? subject.quotaHome : homeOfJoiner(context);
  if (home === null || home.source === 'manual') return [];
  const rule = firstRule([...rulesThatStay(subject, context, drafts), ...home.elsewhere]);
  const wanted =
    rule === null
      ? { id: home.first.id, name: home.first.name, source: 'first' }
      : { id: rule.organizationId, name: rule.organizationName, source: `rule:${rule.ruleId}` };
  if (wanted.id === home.id) return [];
  return [
    {
      ...blank(subject, created === undefined ? 'mover' : 'joiner', created === undefined ? subject.user : null),
      userId: created?.userId ?? subject.user?.id ?? null,
      class: 'update',
      op: 'quota_home',
      before: { quotaHome: home.id, organization: home.name },
      after: { quotaHome: wanted.id, organization: wanted.name, source: wanted.source },
      reason:
        rule === null
          ? `No role mapping grants in a sub-organization; ${wanted.name} is where the user was first added.`
          : `The role mapping of highest precedence in a sub-organization grants in ${wanted.name}.`,
      cause: `quota_home:${wanted.source}`,
    },
  ];
}

/** The user is this object's, and is within reach: what leaves a user alone leaves the quota home alone. */
function isOurs(subject: Subject, drafts: readonly Draft[]): boolean {
  const { link, user } = subject;
  if (user === null || user.isProtected || subject.isAbsent || link?.state === 'ignored' || link?.state === 'held') {
    return false;
  }
  if (
    drafts.some(
      (draft) => draft.op === 'remove' || (draft.op === 'dispute' && draft.cause !== 'drift') || draft.op === 'error',
    )
  )
    return false;
  if (drafts.some((draft) => draft.op === 'link')) return true;
  return link !== null && (isLiveLink(link.state) || drafts.length > 0) && user.status !== 'removed';
}

function homeOfJoiner(context: DecisionContext): QuotaHome {
  const first = context.organization;
  return { ...first, source: 'first', first, elsewhere: [] };
}

/** Our mappings that give the user something once these steps are done. */
function rulesThatStay(subject: Subject, context: DecisionContext, drafts: readonly Draft[]): readonly HomeRule[] {
  if (!subject.isDeleted && subject.isInScope) {
    return subject.entitlements.filter((wanted) => !wanted.isExcluded && isWithinCeiling(wanted.role, context.ceiling));
  }
  const ended = new Set(drafts.flatMap((draft) => (draft.op === 'revoke' ? [draft.grantSource] : [])));
  return subject.ruleGrants.filter((grant) => !ended.has(`rule:${grant.ruleId}`));
}

/** Lower precedence numbers win; equal ones by id, so that the answer never depends on chance. */
function firstRule(rules: readonly HomeRule[]): HomeRule | null {
  const inSubs = rules.filter((rule) => rule.isSubOrganization);
  const [first] = inSubs.toSorted((a, b) => a.precedence - b.precedence || (a.ruleId < b.ruleId ? -1 : 1));
  return first ?? null;
}
