/** `p1..p100` stands for a hundred names: a guard is about crowds, and a crowd must fit on one line. */

const range = /^(?<prefix>.*\D)(?<first>\d+)\.\.\k<prefix>(?<last>\d+)$/;
const largest = 2_000;

export function expandName(name: string): string[] {
  const groups = range.exec(name)?.groups;
  if (groups === undefined) return [name];
  const [first, last] = [Number(groups['first']), Number(groups['last'])];
  if (last < first || last - first >= largest) throw new Error(`${name} names nobody, or more than ${largest}.`);
  return Array.from({ length: last - first + 1 }, (_value, index) => `${groups['prefix']}${first + index}`);
}

export function expandNames(names: readonly string[]): string[] {
  return names.flatMap(expandName);
}

export function expandKeys<T>(record: Readonly<Record<string, T>>): [string, T][] {
  return Object.entries(record).flatMap(([name, value]) => expandName(name).map((one): [string, T] => [one, value]));
}

/** `suspend p1..p9` stands for nine lines; the range is the word that has one. */
export function expandLines(lines: readonly string[]): string[] {
  return lines.flatMap((line) => {
    const words = line.split(' ');
    const at = words.findIndex((word) => range.test(word));
    if (at < 0) return [line];
    return expandName(words[at] ?? '').map((one) => words.with(at, one).join(' '));
  });
}
