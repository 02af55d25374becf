/**
 * Which value each attribute of a user should have: the live sources by priority, three-way against what was last
 * applied and what stands now (design.md section 7.6). Pure.
 */
import type { ConnectionId } from './ids.ts';
import { goesBefore } from './source-order.ts';
import type { Attributes, DecisionContext, Subject, SubjectUser } from './subject.ts';
import { domainOf, textKey } from './text-keys.ts';

export type AttributeChange = {
  readonly target: string;
  readonly before: string | null;
  readonly after: string | null;
  /** Who says so. */
  readonly source: ConnectionId;
};

/** `drifts`: edits by hand that this connection contradicts and a person has to look at. */
export type Merged = { readonly changes: readonly AttributeChange[]; readonly drifts: readonly AttributeChange[] };

type Source = { readonly id: ConnectionId; readonly isOurs: boolean; readonly mapped: Attributes };

/** Live sources, most important first. */
function liveSources(subject: Subject, context: DecisionContext, ourObjectIsLive: boolean): Source[] {
  const sources: Source[] = subject.otherLinks
    .filter((link) => link.isLive)
    .map((link) => ({ id: link.connectionId, isOurs: false, mapped: link.mapped }));
  if (ourObjectIsLive) sources.push({ id: context.connectionId, isOurs: true, mapped: subject.mapped });
  return sources.toSorted((a, b) => (goesBefore(context, a.id, b.id) ? -1 : 1));
}

/** A username outside the tenant's domains is no username here: left null, never an error (design.md section 5.7). */
export function usableUsername(value: string | null, provenDomains: ReadonlySet<string>): string | null {
  const domain = domainOf(value);
  return domain !== null && provenDomains.has(domain) ? value : null;
}

type Wanted = { readonly value: string | null; readonly source: Source };

function wantedValue(
  target: string,
  sources: readonly Source[],
  context: DecisionContext,
  user: SubjectUser | null,
): Wanted | null {
  const rules = (source: Source) => context.sources.get(source.id)?.mappings[target];
  const speaking = sources.filter((source) => rules(source) !== undefined && target in source.mapped);
  const main = speaking.filter((source) => rules(source)?.strength !== 'fallback');
  const fallback = speaking.filter((source) => rules(source)?.strength === 'fallback');
  for (const source of [...main, ...fallback]) {
    const raw = source.mapped[target] ?? null;
    const value = target === 'username' ? usableUsername(raw, context.provenDomains) : raw;
    if (target === 'username' && raw !== null && value === null) return null;
    if (value === null) continue;
    const isInitial = rules(source)?.strength === 'initial';
    if (isInitial && (user?.attributes[target] ?? null) !== null) return null;
    return { value, source };
  }
  const first = main[0] ?? fallback[0];
  if (first === undefined || rules(first)?.onNull === 'keep' || rules(first)?.strength === 'initial') return null;
  return { value: null, source: first };
}

/** `stays`: the person's value; `drift`: a person decides between the two. */
type Verdict = 'write' | 'stays' | 'drift';

/**
 * A value that a person set by hand, against what this connection says now. `source`: it stays until the connection's
 * own value changes, because the admin made that authoritative. `local`: it stays until it is cleared. `review`: both
 * are shown to a person, once for each pair of values.
 */
function judgeLocalEdit(
  target: string,
  wanted: Wanted,
  subject: Subject,
  context: DecisionContext,
  user: SubjectUser,
): Verdict {
  if (user.provenance[target] !== 'manual') return 'write';
  if (!wanted.source.isOurs) return 'stays';
  const local = user.attributes[target] ?? null;
  const { applied = {}, resolved = {} } = subject.link ?? {};
  switch (context.sources.get(wanted.source.id)?.mappings[target]?.conflict ?? 'source') {
    case 'source':
      // at the first meeting there is no word of the source that could have changed
      if (!(target in applied)) return local === null ? 'write' : 'stays';
      return applied[target] === wanted.value ? 'stays' : 'write';
    case 'local':
      return local === null ? 'write' : 'stays';
    case 'review': {
      const decided = resolved[target];
      if (decided === undefined || decided.source !== wanted.value || decided.local !== local) return 'drift';
      return decided.take === 'source' ? 'write' : 'stays';
    }
  }
}

/** Differences between what should stand and what stands, in target order. `user` null: a joiner. */
export function mergeAttributes(
  subject: Subject,
  context: DecisionContext,
  user: SubjectUser | null,
  ourObjectIsLive: boolean,
): Merged {
  const sources = liveSources(subject, context, ourObjectIsLive);
  const targets = new Set(sources.flatMap((source) => Object.keys(source.mapped)));
  const changes: AttributeChange[] = [];
  const drifts: AttributeChange[] = [];
  for (const target of [...targets].toSorted()) {
    const wanted = wantedValue(target, sources, context, user);
    if (wanted === null) continue;
    const before = user?.attributes[target] ?? null;
    if (isSameValue(target, before, wanted.value)) continue;
    const verdict = user === null ? 'write' : judgeLocalEdit(target, wanted, subject, context, user);
    const change = { target, before, after: wanted.value, source: wanted.source.id };
    if (verdict === 'write') changes.push(change);
    else if (verdict === 'drift') drifts.push(change);
  }
  return { changes, drifts };
}

/** Usernames differ only when their keys do: a directory that changes case moves nobody. */
function isSameValue(target: string, before: string | null, after: string | null): boolean {
  return target === 'username' ? textKey(before) === textKey(after) : before === after;
}
