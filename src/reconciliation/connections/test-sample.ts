/** The people a connection test shows, as the rules of the connection make them: also with values not yet saved. */
import type { Connector, DirectoryObject, TestStep } from '../../connectors/contract/contract.ts';
import { compileMapper, type Mapper } from '../../core/mapping.ts';
import { usableUsername } from '../../core/merge-attributes.ts';
import { mappingsInForce, type Policy } from '../../core/policy.ts';

export type SampledUser = {
  readonly name: string;
  readonly place: string | null;
  readonly isActive: boolean;
  readonly inactiveReason: string | null;
  readonly isInScope: boolean;
  /** Attributes of the user, by mapping; null where the directory has no value. */
  readonly mapped: Readonly<Record<string, string | null>>;
  /** False: the user would join without one, because the tenant has no domain it lies in. */
  readonly hasUsername: boolean;
  readonly problem: string | null;
};

export type SampleRules = Pick<Policy, 'mappings' | 'extendMappings'> & {
  readonly scope?: string | undefined;
  /** A username outside of them is none. */
  readonly domains: ReadonlySet<string>;
};

/** Asks the connector for what the rules read, and puts what they make of it into the facts of the step (`users`). */
export async function* testWithRules(
  connector: Connector,
  request: Omit<Parameters<Connector['test']>[0], 'attributes'>,
  rules: SampleRules,
): AsyncGenerator<TestStep> {
  const mappings = mappingsInForce(rules, connector.defaultMappings(request.settings));
  const mapper = compileMapper({ mappings, scope: rules.scope, keys: [], predicates: [] });
  for await (const step of connector.test({ ...request, attributes: mapper.attributes })) {
    const { sample, ...rest } = step;
    if (sample === undefined) yield step;
    else
      yield {
        ...rest,
        sample,
        facts: { ...step.facts, users: sample.map((object) => mappedOf(object, mapper, rules.domains)) },
      };
  }
}

function mappedOf(object: DirectoryObject, mapper: Mapper, domains: ReadonlySet<string>): SampledUser {
  const { mapped, isInScope, problem } = mapper.map(object.attributes);
  const { name, locator, isActive, inactiveReason } = object;
  const username = mapped?.['username'] ?? null;
  const hasUsername = usableUsername(username, domains) !== null;
  return { name, place: locator, isActive, inactiveReason, isInScope, mapped, hasUsername, problem };
}
