/** The docs keep step with the code: error codes both ways, links that lead somewhere, commands that exist. */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { describe, expect, it } from 'vitest';
import packageJson from '../package.json' with { type: 'json' };
import type { Command } from 'commander';
import { parse } from 'yaml';
import type { Environment, Output } from '../src/app/app.ts';
import { buildProgram } from '../src/cli/cli.ts';
import { entraSettingsSchema } from '../src/connectors/entra/settings.ts';
import { ldapSettings } from '../src/connectors/ldap/settings.ts';
import { errorCodes } from '../src/core/errors.ts';
import { guardLimitsSchema } from '../src/core/policy.ts';
import { scimSettingsSchema } from '../src/core/scim-settings.ts';
import { connectionKinds } from '../src/core/vocabulary.ts';
import { connectionDocument, parseConnectionDocument } from '../src/reconciliation/connections/connection-document.ts';

const root = join(import.meta.dirname, '..');
const read = (path: string) => readFileSync(join(root, path), 'utf8');
const pages = [
  'README.md',
  'CHANGELOG.md',
  'CONTRIBUTING.md',
  ...readdirSync(join(root, 'docs'), { recursive: true, encoding: 'utf8' })
    .filter((path) => path.endsWith('.md'))
    .map((path) => `docs/${path}`),
];

type Row = { readonly code: string; readonly httpStatus: number; readonly retry: string; readonly remedy: string };

function readErrorRows(markdown: string): Row[] {
  return [...markdown.matchAll(/^\|\s*`(\w+)`\s*\|\s*(\d+)\s*\|\s*(\w+)\s*\|\s*(.+?)\s*\|$/gm)].map((match) => ({
    code: match[1] ?? '',
    httpStatus: Number(match[2]),
    retry: match[3] ?? '',
    remedy: match[4] ?? '',
  }));
}

function findBrokenLinks(page: string, markdown: string, exists: (path: string) => boolean): string[] {
  return [...markdown.matchAll(/\]\((?!https?:|#|mailto:)([^)#\s]+)(?:#[^)]*)?\)/g)]
    .map((match) => join(dirname(page), match[1] ?? ''))
    .filter((path) => !exists(path))
    .map((path) => `${page} links to ${path}, which does not exist.`);
}

function findUnknownScripts(page: string, markdown: string, scripts: readonly string[]): string[] {
  return [...markdown.matchAll(/\bnpm run (?:--silent )?([\w:-]+)/g)]
    .map((match) => match[1] ?? '')
    .filter((script) => !scripts.includes(script))
    .map((script) => `${page} tells people to run "npm run ${script}", which package.json does not have.`);
}

describe('docs/errors.md', () => {
  const rows = readErrorRows(read('docs/errors.md'));

  it('has exactly one row for every error code, with its status and retry class', () => {
    const documented = rows.map(({ code, httpStatus, retry }) => ({ code, httpStatus, retry }));
    const real = Object.entries(errorCodes).map(([code, { httpStatus, retry }]) => ({ code, httpStatus, retry }));
    const byCode = (a: { code: string }, b: { code: string }) => (a.code < b.code ? -1 : 1);
    expect(documented.sort(byCode)).toEqual(real.sort(byCode));
  });

  it('says for every code what to do, in a whole sentence', () => {
    for (const { code, remedy } of rows) {
      expect(remedy.length, `${code} needs a remedy`).toBeGreaterThan(40);
      expect(remedy, `${code} ends with a full stop`).toMatch(/\.$/);
    }
  });
});

describe('docs/connectors.md', () => {
  it('has a column for every kind of connection', () => {
    const head =
      read('docs/connectors.md')
        .split('\n')
        .find((line) => /^\|\s+\|/.test(line)) ?? '';
    for (const kind of connectionKinds) expect(head).toContain(`\`${kind}\``);
  });
});

/** Names in backticks in the first column of the table below a heading. */
function readKeys(markdown: string, heading: string): string[] {
  const from = markdown.indexOf(`\n${heading}\n`);
  const section = markdown.slice(from, markdown.indexOf('\n#', from + heading.length));
  return [...section.matchAll(/^\| (`[^|]+) \|/gm)].flatMap((row) =>
    [...(row[1] ?? '').matchAll(/`(\w+)`/g)].map((match) => match[1] ?? ''),
  );
}

describe('the document of a connection', () => {
  const page = read('docs/connectors.md');

  it('is described key by key, no more and no less', () => {
    const keys = Object.keys(connectionDocument.shape);
    expect(readKeys(page, '## The document of a connection').sort()).toEqual(keys.sort());
  });

  it('has every guard described', () => {
    const keys = Object.keys(guardLimitsSchema.shape);
    expect(readKeys(page, '### Guards').sort()).toEqual(keys.sort());
  });

  it.each([
    ['ldap', ldapSettings.shape],
    ['entra', entraSettingsSchema.shape],
    ['scim', scimSettingsSchema.shape],
  ])('has every setting of %s described', (kind, shape) => {
    expect(readKeys(page, `### Settings of \`${kind}\``).sort()).toEqual(Object.keys(shape).sort());
  });

  it.each(['README.md', 'docs/connectors.md'])('has examples in %s that are valid', (path) => {
    const examples = [...read(path).matchAll(/```yaml\n([\s\S]*?)```/g)].map((match) => parse(match[1] ?? ''));
    const documents = examples.filter(
      (example: unknown) => typeof example === 'object' && example !== null && 'kind' in example,
    );
    expect(documents.length).toBeGreaterThan(0);
    for (const example of documents) {
      const { kind, settings } = parseConnectionDocument(example);
      const schema = kind === 'ldap' ? ldapSettings : entraSettingsSchema;
      expect(schema.safeParse(settings).error).toBeUndefined();
    }
  });
});

function leafCommands(command: Command, path: readonly string[] = []): string[] {
  if (command.commands.length === 0) return [path.join(' ')];
  return command.commands.flatMap((child) => leafCommands(child, [...path, child.name()]));
}

describe('the commands in README.md', () => {
  const output: Output = { write: () => {}, isTty: false, columns: undefined };
  const environment: Environment = {
    argv: [],
    home: root,
    osUser: 'test',
    isRoot: false,
    userHome: root,
    configFile: undefined,
    databaseUrl: undefined,
    masterKey: undefined,
    stdout: output,
    stderr: output,
    stop: new AbortController().signal,
  };

  it('are those of the program, no more and no less', () => {
    const program = buildProgram({ environment, actor: 'test', signal: environment.stop, setExitCode: () => {} });
    const table = read('README.md').split('| command | does |')[1]?.split('\n\n')[0] ?? '';
    const documented = [...table.matchAll(/^\| ([^|]+) \|/gm)].flatMap((row) =>
      [...(row[1] ?? '').matchAll(/`([^`]+)`/g)].map((match) => match[1] ?? ''),
    );
    expect(documented.sort()).toEqual(leafCommands(program).sort());
  });
});

describe('docs/decisions', () => {
  const records = readdirSync(join(root, 'docs/decisions')).sort();

  it('are numbered without a gap', () => {
    expect(records.length).toBeGreaterThan(5);
    expect(records.map((name) => Number(name.slice(0, 4)))).toEqual(records.map((_, index) => index + 1));
  });

  it.each(records)('%s says context, decision, consequences and what would reopen it', (name) => {
    const headings = [...read(`docs/decisions/${name}`).matchAll(/^## (.+)$/gm)].map((match) => match[1]);
    expect(headings).toEqual(['Context', 'Decision', 'Consequences', 'What would reopen it']);
  });
});

describe('every page', () => {
  it.each(pages)('%s has links that lead somewhere', (page) => {
    expect(findBrokenLinks(page, read(page), (path) => existsSync(join(root, path)))).toEqual([]);
  });

  it.each(pages)('%s names only npm scripts that exist', (page) => {
    expect(findUnknownScripts(page, read(page), Object.keys(packageJson.scripts))).toEqual([]);
  });
});

describe('the readers of this test', () => {
  it('see a broken link and an unknown script', () => {
    expect(findBrokenLinks('docs/a.md', '[x](b.md) [y](https://example.com) [z](#part)', () => false)).toHaveLength(1);
    expect(findUnknownScripts('docs/a.md', 'npm run demo and npm run --silent nothing', ['demo'])).toHaveLength(1);
  });
});
