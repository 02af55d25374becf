/** The people a connection test shows, as the rules of the connection make them: also with values not yet saved. */
import type { Connector, DirectoryObject, TestStep } from '../../connectors/contract/contract.ts';
import { compileMapper, type Mapper } from '../../core/mapping.ts';
import { mappingSchema, type Mapping } from '../../core/policy.ts';

export type SampledUser = {
  readonly name: string;
  readonly place: string | null;
  readonly isActive: boolean;
  readonly inactiveReason: string | null;
  readonly isInScope: boolean;
  /** Attributes of the user, by mapping; null where the directory has no value. */
  readonly mapped: Readonly<Record<string, string | null>>;
  readonly problem: string | null;
};

export type SampleRules = { readonly mappings: readonly Mapping[]; readonly scope?: string | undefined };

/** Asks the connector for what the rules read, and puts what they make of it into the facts of the step (`users`). */
export async function* testWithRules(
  connector: Connector,
  request: Omit<Parameters<Connector['test']>[0], 'attributes'>,
  rules: SampleRules,
): AsyncGenerator<TestStep> {
  const own = connector.defaultMappings(request.settings).map((mapping) => mappingSchema.parse(mapping));
  const mappings = rules.mappings.length > 0 ? rules.mappings : own;
  const mapper = compileMapper({ mappings, scope: rules.scope, keys: [], predicates: [] });
  for await (const step of connector.test({ ...request, attributes: mapper.attributes })) {
    const { sample, ...rest } = step;
    if (sample === undefined) yield step;
    else yield { ...rest, sample, facts: { ...step.facts, users: sample.map((object) => mappedOf(object, mapper)) } };
  }
}

function mappedOf(object: DirectoryObject, mapper: Mapper): SampledUser {
  const { mapped, isInScope, problem } = mapper.map(object.attributes);
  const { name, locator, isActive, inactiveReason } = object;
  return { name, place: locator, isActive, inactiveReason, isInScope, mapped, problem };
}
