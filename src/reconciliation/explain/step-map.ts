/** The step map: each mapping with what it read, and what it made of it. Pure. */
import type { MappingResult } from '../../core/mapping.ts';
import type { Evidence, ExplainStep } from './explain-object.ts';
import { inputsOf, shown } from './step-find.ts';

function whoseMappings({ mappings, extendMappings }: Evidence['open']['policy']): string {
  if (mappings.length === 0) return ', the defaults of the connector';
  return extendMappings === true ? `, ${mappings.length} of them beside the defaults of the connector` : '';
}

export function mapStep({ open, object }: Evidence, result: MappingResult | null): ExplainStep {
  const problem = result === null ? object.problem : result.problem;
  const mapped = result?.mapped ?? object.mapped;
  return {
    step: 'map',
    input: object.name,
    rule: `${open.mappings.length} mappings${whoseMappings(open.policy)}`,
    ruleVersion: open.row.version,
    outcome:
      problem === null
        ? `${open.mappings.filter((mapping) => (mapped[mapping.target] ?? null) !== null).length} values.`
        : `A fault stops this object alone: ${problem}.`,
    lines: open.mappings.map((mapping) => ({
      what: mapping.target,
      // of a pushed object the mirror keeps the resource, not the flat view that the expressions read
      input: object.isPushed ? null : inputsOf(mapping.expression, object.source),
      rule: `${mapping.expression} (${mapping.strength}, empty: ${mapping.onNull})`,
      outcome: shown(mapped[mapping.target]),
    })),
  };
}
