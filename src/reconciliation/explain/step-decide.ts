/** The step decide: who may say what about the user, value by value and role by role. Pure. */
import { isWithinCeiling } from '../../core/roles.ts';
import type { Entitlement, SubjectUser } from '../../core/subject.ts';
import type { Evidence, ExplainLine, ExplainStep } from './explain-object.ts';
import { shown } from './step-find.ts';

export function decideStep(evidence: Evidence): ExplainStep {
  const { open, subject, drafts } = evidence;
  return {
    step: 'decide',
    input: subject.user === null ? 'no user yet' : describeUser(subject.user),
    rule: `ceiling ${open.connection.ceiling}, leavers: ${open.policy.leaver.policy}, priority ${open.row.priority}`,
    ruleVersion: open.row.version,
    outcome:
      standing(evidence) ?? (drafts.length === 0 ? 'Everything is as it should be.' : `${drafts.length} changes.`),
    lines: [...valueLines(evidence), ...entitlementLines(evidence), ...endedLines(evidence), ...homeLines(evidence)],
  };
}

function describeUser(user: SubjectUser): string {
  const marks = [user.status, user.isProtected ? 'protected' : null, user.isSuperAdmin ? 'Super Admin' : null];
  return `user ${user.id}, version ${user.version}: ${marks.filter((mark) => mark !== null).join(', ')}`;
}

/** Why nothing is decided at all; null where something may be. */
function standing({ subject }: Evidence): string | null {
  const { link, user } = subject;
  if (link?.state === 'ignored') return 'Nothing: the object is ignored.';
  if (link?.state === 'held') return 'Nothing: the link is held.';
  if (subject.isAbsent && !subject.isDeleted && subject.isInScope)
    return 'Nothing: absence without proof means nothing.';
  if (link !== null && user?.isProtected === true)
    return 'Nothing: the user is protected, out of reach of every directory.';
  if (link === null && !subject.isActive) return 'Nothing: nobody is created only to be suspended.';
  if (link === null && !subject.isInScope) return 'Nothing: out of scope.';
  return null;
}

function valueLines(evidence: Evidence): ExplainLine[] {
  const { open, subject, drafts, names } = evidence;
  const { user, mapped } = subject;
  if (user === null || subject.link === null) return [];
  const changed = new Map<string, unknown>();
  for (const draft of drafts) {
    if (draft.op === 'update' || draft.op === 'key')
      for (const [key, value] of Object.entries(draft.after ?? {})) changed.set(key, value);
  }
  return open.mappings.map(({ target, strength }) => {
    const now = user.attributes[target] ?? null;
    const source = user.provenance[target];
    const wanted = mapped[target] ?? null;
    const outcome = changed.has(target)
      ? `becomes ${shown(changed.get(target))}`
      : now === wanted
        ? 'the same'
        : `stays ${shown(now)}: ${whyKept(source, strength, names, open.connection.id)}`;
    return {
      what: target,
      input: `now ${shown(now)}, here ${shown(wanted)}`,
      rule: sourceWords(source, names),
      outcome,
    };
  });
}

function whyKept(
  source: string | undefined,
  strength: string,
  names: ReadonlyMap<string, string>,
  own: string,
): string {
  if (source === 'manual') return 'set by hand, and the directory has said nothing new since';
  if (source !== undefined && source !== `connection:${own}`) return `${sourceWords(source, names)} decides`;
  if (strength !== 'authoritative') return `the mapping is ${strength}`;
  return 'what the directory says is not usable here (a username outside the proven domains) or is empty and kept';
}

export function sourceWords(source: string | undefined, names: ReadonlyMap<string, string>): string {
  if (source === undefined) return 'nobody set it';
  if (source === 'manual') return 'set by hand';
  return names.get(source.replace(/^connection:/, '')) ?? source;
}

function entitlementLines({ open, subject, paths, exclusions, object }: Evidence): ExplainLine[] {
  const has = new Set(subject.ruleGrants.map(grantKey));
  return subject.entitlements.map((wanted) => {
    const exclusion = exclusions.find(
      (found) => found.organizationId === wanted.organizationId && (found.role === null || found.role === wanted.role),
    );
    const outcome = wanted.isExcluded
      ? `withheld: excluded by ${exclusion?.text ?? 'a person'}`
      : !isWithinCeiling(wanted.role, open.connection.ceiling)
        ? `not given: above the ceiling ${open.connection.ceiling}`
        : has.has(grantKey(wanted))
          ? 'given'
          : 'to be given';
    return {
      what: `role ${wanted.role} in ${wanted.organizationName}`,
      input:
        wanted.groupAnchor === null
          ? 'the predicate holds'
          : `in ${paths.pathTo(object.anchor, wanted.groupAnchor) ?? wanted.groupName ?? ''}`,
      rule: `role mapping ${wanted.ruleId}, precedence ${wanted.precedence}`,
      outcome,
    };
  });
}

/** What mappings gave and no longer give. */
function endedLines({ subject, drafts }: Evidence): ExplainLine[] {
  const wanted = new Set(subject.entitlements.map(grantKey));
  return subject.ruleGrants
    .filter((grant) => !wanted.has(grantKey(grant)))
    .map((grant) => {
      const revoke = drafts.find(
        (draft) =>
          draft.op === 'revoke' &&
          draft.grantSource === `rule:${grant.ruleId}` &&
          draft.organizationId === grant.organizationId,
      );
      return {
        what: `role ${grant.role} in ${grant.organizationName}`,
        input: grant.groupName === null ? 'the predicate' : `group ${grant.groupName}`,
        rule: `role mapping ${grant.ruleId}${grant.isRuleEnded ? ', ended' : ''}`,
        outcome: revoke === undefined ? 'kept' : `to be revoked: ${revoke.reason}`,
      };
    });
}

function homeLines({ subject, drafts }: Evidence): ExplainLine[] {
  const home = subject.quotaHome;
  const move = drafts.find((draft) => draft.op === 'quota_home');
  if (home === null && move === undefined) return [];
  const rule =
    {
      manual: 'chosen by a person',
      first: 'where the user was first added',
    }[home?.source ?? 'first'] ?? `role mapping ${home?.source?.replace(/^rule:/, '') ?? ''}`;
  return [
    {
      what: 'quota home',
      input: home?.name ?? null,
      rule,
      outcome: move === undefined ? 'the same' : `becomes ${shown(move.after?.['organization'])}: ${move.reason}`,
    },
  ];
}

function grantKey(grant: Pick<Entitlement, 'ruleId' | 'organizationId' | 'role'>): string {
  return `${grant.organizationId}/${grant.role}/${grant.ruleId}`;
}
