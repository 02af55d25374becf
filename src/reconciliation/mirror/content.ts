/**
 * Canonical text of everything the mirror keeps of an object: equal text, equal object. Written once per object of every
 * read, so by hand: each value with its kind and length in front, which no other sequence of values can imitate.
 */
import type { AttributeValue, DirectoryObject } from '../../connectors/contract/contract.ts';
import type { MappingResult } from '../../core/mapping.ts';

export function contentOf(object: DirectoryObject, result: MappingResult | null): string {
  let text = valueText(object.name) + valueText(object.locator);
  text += valueText(object.isActive) + valueText(object.inactiveReason);
  const { attributes } = object;
  for (const name of namesInOrder(Object.keys(attributes))) {
    text += `@${valueText(name)}${valueText(attributes[name] ?? null)}`;
  }
  if (result === null) return text;
  text += '>';
  for (const target of Object.keys(result.mapped)) text += valueText(target) + valueText(result.mapped[target] ?? null);
  return `${text}>${valueText(result.isInScope)}${valueText(result.ruleIds)}${valueText(result.problem)}`;
}

function valueText(value: AttributeValue): string {
  if (typeof value === 'string') return `"${value.length}:${value}`;
  if (value === null) return '-';
  if (typeof value === 'object') return `[${value.length}${value.map(valueText).join('')}`;
  return `${String(value)};`;
}

/** Objects of one read mostly have the same attributes, so that the order of the last one serves again. */
let recent: { readonly names: readonly string[]; readonly inOrder: readonly string[] } = { names: [], inOrder: [] };

function namesInOrder(names: readonly string[]): readonly string[] {
  const known = recent.names;
  if (known.length === names.length && names.every((name, place) => name === known[place])) return recent.inOrder;
  recent = { names, inOrder: names.toSorted() };
  return recent.inOrder;
}
