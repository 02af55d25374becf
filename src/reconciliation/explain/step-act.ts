/** The step act: what would be done now, what stands in its way, and what waits already. Pure. */
import type { Draft } from '../../core/subject.ts';
import type { Evidence, ExplainLine, ExplainStep } from './explain-object.ts';
import { shown } from './step-find.ts';

export function actStep(evidence: Evidence): ExplainStep {
  const { open, object, drafts, waiting } = evidence;
  const runs = [...new Set(waiting.map((row) => row.runId))];
  const waits = runs.map((runId) => ` Run ${runId} waits for approval with changes of this object.`).join('');
  return {
    step: 'act',
    input:
      object.settledVersion === null ? 'never applied' : `applied up to version ${object.settledVersion} of the object`,
    rule: gate(evidence),
    ruleVersion: open.row.version,
    outcome: `${drafts.length === 0 ? 'Nothing to do.' : `${drafts.length} steps.`}${waits}`,
    lines: [
      ...drafts.map((draft) => draftLine(evidence, draft)),
      ...waiting.map((row) => ({
        what: row.op.replaceAll('_', ' '),
        input: row.reason,
        rule: `run ${row.runId}, ${row.status}`,
        outcome: `${row.state} there`,
      })),
    ],
  };
}

/** What the next run does with any change of this connection. */
function gate({ open }: Evidence): string {
  const { row } = open;
  if (row.status === 'paused') return `${row.name} is paused: nothing is applied`;
  if (row.status === 'quarantined') return `${row.name} is in quarantine: nothing is applied until a read succeeds`;
  if (row.kind !== 'scim' && row.approvedVersion === null) return 'the first run of these rules stops after its plan';
  return row.kind === 'scim' ? 'applied with the next push' : 'applied by the next run, unless a guard holds its class';
}

function draftLine({ open }: Evidence, draft: Draft): ExplainLine {
  const isPrivileged = draft.class === 'grant' && draft.role !== 'user';
  return {
    what: describe(draft),
    input: draft.cause,
    rule: draft.grantSource,
    outcome: `${draft.reason}${isPrivileged && open.policy.guards.adminGrants <= 1 ? ' A privileged role is held for a person.' : ''}`,
  };
}

function describe(draft: Draft): string {
  const organization = draft.after?.['organization'] ?? draft.before?.['organization'];
  if (draft.role !== null && draft.op !== 'dispute') return `${draft.op} ${draft.role} in ${shown(organization)}`;
  if (draft.op === 'quota_home') return `quota home ${shown(organization)}`;
  const values = draft.op === 'update' || draft.op === 'key' ? Object.entries(draft.after ?? {}) : [];
  return [draft.op.replaceAll('_', ' '), ...values.map(([name, value]) => `${name} ${shown(value)}`)].join(' ');
}
