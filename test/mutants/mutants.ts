/** The list of mutants (mutants.yaml): one-line breaks of what the product promises, each with the test that must notice. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { parse } from 'yaml';
import { z } from 'zod';

const oneLine = z.string().regex(/^[^\n]*$/, 'is one line');

const mutantSchema = z.strictObject({
  /** What is switched off. */
  breaks: oneLine.min(1),
  file: z.string().min(1),
  /** Part of a line; stands in the file exactly once. */
  replace: oneLine.min(1),
  with: oneLine,
  test: z.string().min(1),
  /** Part of the full name (`describe > test`) of the test that must turn red. */
  red: oneLine.min(1),
});
export type Mutant = z.output<typeof mutantSchema>;

export function readMutants(): Mutant[] {
  return z.array(mutantSchema).parse(parse(readFileSync(join(import.meta.dirname, 'mutants.yaml'), 'utf8')));
}

/** How often the text that is replaced stands in the text of its file; anything but 1 is a fault of the list. */
export function countOccurrences(text: string, part: string): number {
  return text.split(part).length - 1;
}
