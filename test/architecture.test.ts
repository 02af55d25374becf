/** The house keeps its own rules: rooms and arrows (docs/architecture.md), who writes which table, sizes and names. */
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import {
  checkArrows,
  checkBarrelsAndNames,
  checkDisabledTests,
  checkEnvironment,
  checkIntroductions,
  checkPackages,
  checkSizes,
  checkSqlTexts,
  checkTable,
  doorOf,
  type Room,
} from './architecture/rules.ts';
import { parseSource, readSources, type SourceFile } from './architecture/source.ts';
import { checkTableWriters, checkVocabularies, readTables } from './architecture/tables.ts';

const ground = ['audit', 'outbox', 'db', 'platform', 'core'];
const connectors = ['connectors/contract', 'connectors/entra', 'connectors/ldap', 'connectors/file'];
const middle = ['licenses', 'quotas', 'allowlists', 'organizations', 'users', 'access'];
const top = ['scim', 'schedule', 'decisions', 'reconciliation'];
const noDatabase = ['postgres', 'drizzle-orm', 'pg', 'pg-boss', 'express'];

/** Floors and arrows. A new arrow needs a row here and a reason in docs/decisions. */
const rooms: readonly Room[] = [
  { room: 'main.ts', floor: 1, mayImport: ['first.ts', 'cli', 'app'], purpose: 'argv, environment, signals' },
  {
    room: 'cli',
    floor: 2,
    mayImport: ['first.ts', 'app', ...top, ...connectors, ...middle, ...ground],
    purpose: 'commands and their output',
  },
  {
    room: 'app',
    floor: 2,
    mayImport: ['first.ts', ...top, ...connectors, ...middle, ...ground],
    purpose: 'composition: config -> resources -> HTTP and worker; closes in reverse order',
  },
  { room: 'console', floor: 2, mayImport: [], purpose: 'the React console, over /api only', isLater: true },
  {
    room: 'scim',
    floor: 3,
    mayImport: ['reconciliation', 'users', 'access', ...ground],
    purpose: 'SCIM 2.0 service provider',
  },
  { room: 'schedule', floor: 3, mayImport: ['reconciliation', ...ground], purpose: 'when a run is due; dispatch' },
  {
    room: 'decisions',
    floor: 3,
    mayImport: ['quotas', 'allowlists', 'access', ...ground],
    purpose: 'verdicts for gateways',
    isLater: true,
  },
  {
    room: 'reconciliation',
    floor: 4,
    mayImport: ['connectors/contract', 'organizations', 'users', 'quotas', 'access', ...ground],
    purpose: 'fetch, mirror, correlate, plan, guard, apply, undo, explain',
  },
  {
    room: 'connectors/contract',
    floor: 6,
    mayImport: ['platform', 'core'],
    purpose: 'the events every directory yields, and the suite every connector passes',
    forbiddenPackages: noDatabase,
  },
  ...['entra', 'ldap', 'file'].map((name): Room => ({
    room: `connectors/${name}`,
    floor: 5,
    mayImport: ['connectors/contract', 'platform', 'core'],
    purpose: 'speaks one protocol, yields events; no database, no other connector',
    forbiddenPackages: noDatabase,
    ...(name === 'file' ? { isLater: true } : {}),
  })),
  {
    room: 'licenses',
    floor: 5,
    mayImport: ['quotas', 'organizations', 'users', 'access', ...ground],
    purpose: 'licenses, deployments, alerts',
    isLater: true,
  },
  ...['quotas', 'allowlists'].map((room): Room => ({
    room,
    floor: 5,
    mayImport: ['organizations', 'users', 'access', ...ground],
    purpose: room === 'quotas' ? 'pools, allocations, draws' : 'CIDR lists',
    isLater: true,
  })),
  { room: 'organizations', floor: 5, mayImport: ['users', 'access', ...ground], purpose: 'the tree, domains' },
  { room: 'users', floor: 5, mayImport: ['access', ...ground], purpose: 'users and where each value came from' },
  { room: 'access', floor: 5, mayImport: ground, purpose: 'tokens, roles, grants, memberships, Super Admin' },
  { room: 'audit', floor: 6, mayImport: ['db', 'platform', 'core'], purpose: 'what was done, by whom, why' },
  {
    room: 'outbox',
    floor: 6,
    mayImport: ['audit', 'db', 'platform', 'core'],
    purpose: 'messages that leave when a commit does',
  },
  { room: 'db', floor: 7, mayImport: ['platform', 'core'], purpose: 'scopes, migrator, embedded Postgres, schema' },
  {
    room: 'platform',
    floor: 7,
    mayImport: ['core'],
    purpose: 'logger, clock, retry, secrets, dialer, HTTP basics',
    hasManyDoors: true,
  },
  {
    room: 'core',
    floor: 8,
    mayImport: [],
    purpose: 'the domain without IO',
    hasManyDoors: true,
    packages: ['zod', '@marcbachmann/cel-js', '@bufbuild/re2', 'node:crypto'],
  },
  { room: 'first.ts', floor: 8, mayImport: [], purpose: 'removes __proto__ before any library loads' },
];

/** Vocabularies that live inside a JSON document, checked by zod, rather than in a column of their own. */
const columnless = new Map([
  ['leaverPolicies', 'part of connections.policy'],
  ['correlationKeys', 'part of connections.policy'],
  ['scimScopes', 'a list in tokens.scopes'],
]);

/** Files whose statements are texts, and where those texts come from. */
const sqlTexts = new Map([
  ['src/db/embedded.ts', 'the name of the database, in the code'],
  ['src/db/roles.ts', 'the names of the database roles, in the code'],
  ['src/db/stage.ts', 'columns and types of tables of a read, in the code'],
  ['src/db/transaction.ts', 'names of savepoints, counted'],
  ['src/schedule/queue.ts', 'statements of pg-boss'],
  ['src/users/apply-changes.ts', 'names of columns, in the code'],
]);

const root = join(import.meta.dirname, '..');
const files = readSources(root, ['src', 'test', 'config']);

describe('the house', () => {
  it('has read something', () => {
    expect(files.filter((file) => file.path.startsWith('src/')).length).toBeGreaterThan(25);
    expect(files.flatMap((file) => file.imports).length).toBeGreaterThan(100);
    expect(readTables(files).length).toBeGreaterThan(15);
  });
  it('has a table of rooms that agrees with src/', () => expect(checkTable(files, rooms)).toEqual([]));
  it('follows the arrows and enters rooms by their doors', () => expect(checkArrows(files, rooms)).toEqual([]));
  it('uses in each room only the packages that fit it', () => expect(checkPackages(files, rooms)).toEqual([]));
  it('introduces every room at its door', () => expect(checkIntroductions(files, rooms)).toEqual([]));
  it('has no barrels and no names that say nothing', () => expect(checkBarrelsAndNames(files)).toEqual([]));
  it('writes each table only from the room that owns it', () => {
    expect(checkTableWriters(files, readTables(files))).toEqual([]);
  });
  it('guards its columns with the vocabularies of core', () =>
    expect(checkVocabularies(files, columnless)).toEqual([]));
  it('reads the environment only in main.ts', () => expect(checkEnvironment(files)).toEqual([]));
  it('makes no statement out of input', () => expect(checkSqlTexts(files, sqlTexts)).toEqual([]));
  it('keeps every file within 400 lines', () => expect(checkSizes(files, 400)).toEqual([]));
  it('has no test that is switched off', () => expect(checkDisabledTests(files)).toEqual([]));
});

const source = (path: string, text: string): SourceFile => parseSource(path, text);

describe('each rule of the house fails on its counter-example', () => {
  it('an arrow that is not in the table', () => {
    const file = source('src/users/users.ts', "import { x } from '../scim/scim.ts';");
    expect(checkArrows([file], rooms)).toEqual([expect.stringContaining('no arrow users -> scim')]);
  });

  it.each([
    ["import type { x } from '../scim/scim.ts';", 1],
    ["const x = await import('../scim/scim.ts');", 1],
    ["export { x } from '../scim/scim.ts';", 1],
    ["import '../scim/scim.ts';", 1],
    ["import {\n  a,\n  b,\n} from '../scim/scim.ts';", 1],
    ["// import { x } from '../scim/scim.ts';", 0],
    ["/* import { x } from '../scim/scim.ts'; */", 0],
    ["import { x } from '../access/access.ts';", 0],
  ])('an arrow however it is written: %j', (text, faults) => {
    expect(checkArrows([source('src/users/users.ts', text)], rooms)).toHaveLength(faults);
  });

  it('a connector that imports another connector or the database', () => {
    const ldap = 'src/connectors/ldap/ldap.ts';
    expect(checkArrows([source(ldap, "import { x } from '../entra/entra.ts';")], rooms)).toHaveLength(1);
    expect(checkArrows([source(ldap, "import { x } from '../../db/db.ts';")], rooms)).toHaveLength(1);
    expect(checkPackages([source(ldap, "import postgres from 'postgres';")], rooms)).toHaveLength(1);
    expect(checkArrows([source(ldap, "import { x } from '../contract/contract.ts';")], rooms)).toEqual([]);
  });

  it('entering another room by a window', () => {
    const file = source('src/scim/scim.ts', "import { x } from '../users/store.ts';");
    expect(checkArrows([file], rooms)).toEqual([expect.stringContaining('import the door src/users/users.ts')]);
    const app = source('src/app/app.ts', "import { userRoutes } from '../users/routes.ts';");
    expect(checkArrows([app], rooms)).toEqual([]);
  });

  it('src that imports test', () => {
    const file = source('src/app/app.ts', "import { fake } from '../../test/fakes/fake.ts';");
    expect(checkArrows([file], rooms)).toEqual([expect.stringContaining('never imports tests')]);
  });

  it('a folder that is in no room, a room that is not there, an arrow that points up', () => {
    expect(checkArrows([source('src/stuff/stuff.ts', '')], rooms)).toEqual([expect.stringContaining('no room')]);
    const rows: Room[] = [
      { room: 'a', floor: 1, mayImport: ['b'], purpose: 'above' },
      { room: 'b', floor: 2, mayImport: ['a', 'typo'], purpose: 'below' },
    ];
    const faults = checkTable([source('src/b/b.ts', '')], rows).join('\n');
    expect(faults).toContain('names the room a');
    expect(faults).toContain('b -> a points up');
    expect(faults).toContain('typo, which is no room');
  });

  it('IO in core', () => {
    const file = source('src/core/x.ts', "import { readFileSync } from 'node:fs';");
    expect(checkPackages([file], rooms)).toEqual([expect.stringContaining('core may not use')]);
  });

  it('a room without a door, a door without an introduction', () => {
    expect(checkIntroductions([source('src/users/store.ts', '')], rooms)).toEqual([
      expect.stringContaining(`create ${doorOf({ room: 'users', floor: 5, mayImport: [], purpose: '' })}`),
    ]);
    expect(checkIntroductions([source('src/users/users.ts', '/** Users. */')], rooms)).toHaveLength(1);
    expect(checkIntroductions([source('src/core/x.ts', 'export const x = 1;')], rooms)).toHaveLength(1);
  });

  it('barrels and names that say nothing', () => {
    for (const path of ['src/users/index.ts', 'src/users/utils.ts', 'src/helpers/x.ts', 'src/users/dateUtil.ts']) {
      expect(checkBarrelsAndNames([source(path, 'const x = 1;')]), path).not.toEqual([]);
    }
    const barrel = "export * from './a.ts';\nexport { b } from './b.ts';\n";
    expect(checkBarrelsAndNames([source('src/users/all.ts', barrel)])).toEqual([expect.stringContaining('barrel')]);
    expect(checkBarrelsAndNames([source('src/users/x.ts', 'class UserService {}')])).toHaveLength(1);
    expect(checkBarrelsAndNames([source('src/users/x.ts', `${barrel}export const c = 1;`)])).toEqual([]);
  });

  it.each([
    ['sql`insert into users (id) values (1)`', 1],
    ['sql`UPDATE "users" u SET x = 1`', 1],
    ['sql`delete from public.users where true`', 1],
    ['sql`insert into ${users} default values`', 1],
    ['sql`merge into users using x on true`', 1],
    ['await tx.query.insert(users).values(row)', 1],
    ['await tx.query.update(schema.users).set(row)', 1],
    ['await tx.query\n  .delete(users)\n  .where(x)', 1],
    ['sql`select * from users for update of users`', 0],
    ['sql`insert into stage.users_1 select 1`', 0],
    ['// insert into users', 0],
    ['const seen = new Set(); seen.delete(id);', 0],
  ])('a write to a table of another room: %j', (text, faults) => {
    const tables = [{ constant: 'users', name: 'users', owner: 'users' }];
    expect(checkTableWriters([source('src/access/store.ts', text)], tables)).toHaveLength(faults);
    expect(checkTableWriters([source('src/users/store.ts', text)], tables)).toEqual([]);
  });

  it('a vocabulary without a constraint, one spelled out, an enum', () => {
    const words = source('src/core/vocabulary.ts', "export const kinds = ['a'] as const;\n");
    const schema = (text: string) => source('src/db/schema/x.ts', text);
    expect(checkVocabularies([words, schema("check('k', oneOf(t.kind, kinds))")], new Map())).toEqual([]);
    expect(checkVocabularies([words, schema('')], new Map())).toHaveLength(1);
    expect(checkVocabularies([words, schema('')], new Map([['kinds', 'why']]))).toEqual([]);
    expect(checkVocabularies([words, schema("oneOf(t.kind, kinds); oneOf(t.x, ['b'])")], new Map())).toHaveLength(1);
    expect(checkVocabularies([words, schema("oneOf(t.kind, kinds); pgEnum('x', [])")], new Map())).toHaveLength(1);
    expect(checkVocabularies([], new Map())).toHaveLength(1);
  });

  it('the environment read in a room', () => {
    expect(checkEnvironment([source('src/app/app.ts', 'const x = process.env.X;')])).toHaveLength(1);
    expect(checkEnvironment([source('src/app/app.ts', "import { env } from 'node:process';")])).toHaveLength(1);
    expect(checkEnvironment([source('src/main.ts', 'start(process.env);')])).toEqual([]);
  });

  it('a statement made of a text', () => {
    const texts = new Map([['src/db/roles.ts', 'why']]);
    const named = source('src/db/roles.ts', 'await sql.unsafe(text);');
    expect(checkSqlTexts([named], texts)).toEqual([]);
    for (const text of ['sql.unsafe(filter)', 'const { unsafe } = sql;', 'sql`${sql.unsafe(x)}`']) {
      expect(checkSqlTexts([named, source('src/scim/list.ts', text)], texts), text).toHaveLength(1);
    }
    expect(checkSqlTexts([named, source('src/scim/list.ts', "// unsafe\nthrow new Error('unsafe');")], texts)).toEqual(
      [],
    );
    expect(checkSqlTexts([], texts)).toHaveLength(1);
  });

  it('a file that is too long', () => {
    expect(checkSizes([source('src/users/users.ts', 'x\n'.repeat(401))], 400)).toHaveLength(1);
    expect(checkSizes([source('src/users/users.ts', 'x\n'.repeat(400))], 400)).toEqual([]);
  });

  it('a test that is switched off', () => {
    for (const text of ["it.skip('x', f);", "describe.only('x', f);", "it.todo('x');"]) {
      expect(checkDisabledTests([source('src/users/users.test.ts', text)]), text).toHaveLength(1);
    }
    expect(checkDisabledTests([source('src/users/users.test.ts', "describe.skipIf(why)('x', f);")])).toEqual([]);
  });

  it('reads past strings, templates and regular expressions', () => {
    const text = "const a = 'http://x'; const b = `${f(`// ${c} /* `)} // no`; const r = /['\"`]/; import('./d.ts');";
    const file = source('src/users/users.ts', text);
    expect(file.imports).toEqual(['./d.ts']);
    expect(file.code).toBe(text);
    expect(file.bare).not.toContain('http');
    expect(file.bare).toContain('f(');
    expect(file.bare).toContain('c');
  });
});
