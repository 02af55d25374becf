/**
 * Reads TypeScript well enough for the architecture test: what a file imports, its code without comments, and its
 * bare code without the content of strings. A small scanner of our own, because a rule that needs a compiler is a
 * rule that stops with the next compiler.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { join, posix, relative, sep } from 'node:path';

export type SourceFile = {
  /** From the repository's root, with forward slashes: `src/users/users.ts`. */
  readonly path: string;
  readonly text: string;
  /** Without comments. */
  readonly code: string;
  /** Without comments and without the content of strings and templates (expressions in templates stay). */
  readonly bare: string;
  /** Specifiers of static, dynamic and type imports and of `export from`. */
  readonly imports: readonly string[];
};

export function parseSource(path: string, text: string): SourceFile {
  const { code, bare } = scan(text);
  return { path, text, code, bare, imports: findImports(code) };
}

/** Every .ts file below the folders, in order; node_modules is never entered. */
export function readSources(root: string, folders: readonly string[]): SourceFile[] {
  const files: SourceFile[] = [];
  for (const folder of folders) {
    for (const entry of readdirSync(join(root, folder), { recursive: true, withFileTypes: true })) {
      if (!entry.isFile() || !entry.name.endsWith('.ts') || entry.parentPath.includes('node_modules')) continue;
      const path = relative(root, join(entry.parentPath, entry.name)).split(sep).join('/');
      files.push(parseSource(path, readFileSync(join(root, path), 'utf8')));
    }
  }
  return files.sort((a, b) => (a.path < b.path ? -1 : 1));
}

export function isTest(file: SourceFile): boolean {
  return file.path.startsWith('test/') || file.path.endsWith('.test.ts');
}

/** The path a relative specifier leads to; null for packages. */
export function resolveImport(file: SourceFile, specifier: string): string | null {
  if (!specifier.startsWith('.')) return null;
  return posix.normalize(posix.join(posix.dirname(file.path), specifier));
}

function findImports(code: string): string[] {
  const found = new Set<string>();
  const patterns = [
    /^[ \t]*import\s+(?:type\s+)?[\w$\s{},*]+?\bfrom\s*['"]([^'"]+)['"]/gm,
    /^[ \t]*import\s*['"]([^'"]+)['"]/gm,
    /^[ \t]*export\s+(?:type\s+)?(?:\*|\{)[\w$\s{},*]*?\bfrom\s*['"]([^'"]+)['"]/gm,
    /\bimport\s*\(\s*['"]([^'"]+)['"]/g,
  ];
  for (const pattern of patterns) {
    for (const match of code.matchAll(pattern)) if (match[1] !== undefined) found.add(match[1]);
  }
  return [...found];
}

/** Where a slash starts a regular expression rather than a division. */
const beforeRegex = /(?:^|[=(,:;[!&|?{}\n]|\breturn|=>)\s*$/;

/**
 * One pass over the text. `depths` holds, for each open template, how deep its current `${` is nested, so that
 * a template inside an expression inside a template is followed correctly.
 */
function scan(text: string): { code: string; bare: string } {
  let code = '';
  let bare = '';
  const depths: number[] = [];
  let at = 0;
  const keep = (end: number, isContent: boolean) => {
    const piece = text.slice(at, end);
    code += piece;
    if (!isContent) bare += piece;
    at = end;
  };
  while (at < text.length) {
    const rest = text.slice(at, at + 2);
    const char = text.charAt(at);
    const depth = depths.at(-1);
    if (depth === 0) {
      at = readTemplateText(text, at, depths, keep);
    } else if (rest === '//' || rest === '/*') {
      at = endOfComment(text, at);
      code += ' ';
      bare += ' ';
    } else if (char === "'" || char === '"') {
      keep(at + 1, false);
      keep(endOfQuoted(text, at, char), true);
      keep(Math.min(at + 1, text.length), false);
    } else if (char === '/' && beforeRegex.test(code.slice(-20))) {
      keep(endOfRegex(text, at + 1), true);
    } else {
      if (char === '`') depths.push(0);
      if (depth !== undefined && char === '{') depths[depths.length - 1] = depth + 1;
      if (depth !== undefined && char === '}') depths[depths.length - 1] = depth - 1;
      keep(at + 1, false);
    }
  }
  return { code, bare };
}

/** Consumes template text up to its end or to the next `${`; returns the new position. */
function readTemplateText(
  text: string,
  start: number,
  depths: number[],
  keep: (end: number, isContent: boolean) => void,
): number {
  let end = start;
  while (end < text.length && text.charAt(end) !== '`' && text.slice(end, end + 2) !== '${') {
    end += text.charAt(end) === '\\' ? 2 : 1;
  }
  keep(Math.min(end, text.length), true);
  if (text.charAt(end) === '`') {
    depths.pop();
    keep(end + 1, false);
    return end + 1;
  }
  if (end < text.length) {
    depths[depths.length - 1] = 1;
    keep(end + 2, false);
  }
  return Math.min(end + 2, text.length);
}

function endOfComment(text: string, start: number): number {
  if (text.charAt(start + 1) === '/') {
    const end = text.indexOf('\n', start);
    return end === -1 ? text.length : end;
  }
  const end = text.indexOf('*/', start + 2);
  return end === -1 ? text.length : end + 2;
}

function endOfQuoted(text: string, from: number, quote: string): number {
  let end = from;
  while (end < text.length && text.charAt(end) !== quote && text.charAt(end) !== '\n') {
    end += text.charAt(end) === '\\' ? 2 : 1;
  }
  return end;
}

function endOfRegex(text: string, from: number): number {
  let isInClass = false;
  for (let end = from; end < text.length; end += 1) {
    const char = text.charAt(end);
    if (char === '\\') end += 1;
    else if (char === '[') isInClass = true;
    else if (char === ']') isInClass = false;
    else if (char === '\n') return end;
    else if (char === '/' && !isInClass) return end + 1;
  }
  return text.length;
}
