/**
 * The rules of the house, each a pure function from files to sentences. A sentence says what is wrong and what to
 * do, because whoever reads it was busy with something else.
 */
import { isTest, resolveImport, type SourceFile } from './source.ts';

export type Room = {
  /** Folder below src/, or a file that stands there alone. */
  readonly room: string;
  /** 1 is the top; arrows point down. */
  readonly floor: number;
  readonly mayImport: readonly string[];
  readonly purpose: string;
  /** Every file is a door (a floor of small independent parts) rather than the one named like the room. */
  readonly hasManyDoors?: true;
  /** Planned in the design, allowed to be absent. */
  readonly isLater?: true;
  /** The only packages it may use; absent means any. */
  readonly packages?: readonly string[];
  readonly forbiddenPackages?: readonly string[];
};

/** The room a file of src/ lives in: the longest name that fits, so that connectors/ldap wins over connectors. */
export function roomOf(path: string, rooms: readonly Room[]): Room | undefined {
  const inside = path.replace(/^src\//, '');
  return rooms
    .filter((room) => inside === room.room || inside.startsWith(`${room.room}/`))
    .sort((a, b) => b.room.length - a.room.length)[0];
}

export function doorOf(room: Room): string {
  if (room.room.endsWith('.ts')) return `src/${room.room}`;
  return `src/${room.room}/${room.room.split('/').at(-1)}.ts`;
}

const product = (files: readonly SourceFile[]) => files.filter((file) => file.path.startsWith('src/') && !isTest(file));

export function checkArrows(files: readonly SourceFile[], rooms: readonly Room[]): string[] {
  const faults: string[] = [];
  for (const file of product(files)) {
    const from = roomOf(file.path, rooms);
    if (from === undefined) {
      faults.push(
        `${file.path} lies in no room of the table: put it into a room, or add a row (room, floor, arrows, purpose) to test/architecture.test.ts and to docs/architecture.md.`,
      );
      continue;
    }
    for (const specifier of file.imports) {
      const target = resolveImport(file, specifier);
      if (target !== null) faults.push(...checkOneArrow(file, from, target, rooms));
    }
  }
  return faults;
}

function checkOneArrow(file: SourceFile, from: Room, target: string, rooms: readonly Room[]): string[] {
  if (target.startsWith('test/') || target.endsWith('.test.ts')) {
    return [
      `${file.path} imports ${target}: what ships never imports tests. Move the shared part into a room, or hand the fake in from the test.`,
    ];
  }
  if (target === 'package.json') return [];
  const to = roomOf(target, rooms);
  if (to === undefined) return [`${file.path} imports ${target}, which lies in no room: import a room's door.`];
  if (to.room === from.room) return [];
  if (!from.mayImport.includes(to.room)) {
    return [
      `${file.path} imports ${target}, but there is no arrow ${from.room} -> ${to.room}. ${from.room} may import: ${from.mayImport.join(', ') || 'nothing'}. Take what you need as a parameter from app/, move the code, or change the table with a decision record.`,
    ];
  }
  if (isDoor(target, to, from)) return [];
  return [
    `${file.path} reaches into ${target}: import the door ${doorOf(to)} instead, and add to the door what you miss there.`,
  ];
}

function isDoor(target: string, to: Room, from: Room): boolean {
  if (to.hasManyDoors === true || target === doorOf(to)) return true;
  if (to.room === 'db' && target.startsWith('src/db/schema/')) return true;
  // the composition root also mounts each room's routes and joins its part of the configuration
  return from.room === 'app' && /\/(?:routes|config)\.ts$/.test(target);
}

/** Rows and folders agree: each room of the table exists (unless later), arrows point down or are named, no typo. */
export function checkTable(files: readonly SourceFile[], rooms: readonly Room[]): string[] {
  const faults: string[] = [];
  const byName = new Map(rooms.map((room) => [room.room, room]));
  for (const room of rooms) {
    const isThere = product(files).some((file) => roomOf(file.path, rooms)?.room === room.room);
    if (!isThere && room.isLater !== true) {
      faults.push(`The table names the room ${room.room}, but src/ has none: remove the row or mark it isLater.`);
    }
    for (const name of room.mayImport) {
      const target = byName.get(name);
      if (target === undefined) faults.push(`${room.room} may import ${name}, which is no room of the table.`);
      else if (target.floor < room.floor) {
        faults.push(`The arrow ${room.room} -> ${name} points up (floor ${room.floor} to ${target.floor}).`);
      }
    }
  }
  return faults;
}

export function checkIntroductions(files: readonly SourceFile[], rooms: readonly Room[]): string[] {
  const faults: string[] = [];
  for (const room of rooms) {
    const inside = product(files).filter((file) => roomOf(file.path, rooms)?.room === room.room);
    if (inside.length === 0) continue;
    const doors = room.hasManyDoors === true ? inside : inside.filter((file) => file.path === doorOf(room));
    if (doors.length === 0) {
      faults.push(`The room ${room.room} has no door: create ${doorOf(room)} with a head comment that introduces it.`);
    }
    for (const door of doors) {
      const head = /^(?:#![^\n]*\n)?\s*\/\*\*([\s\S]*?)\*\//.exec(door.text)?.[1] ?? '';
      if (head.replace(/[\s*]+/g, ' ').trim().length < 40) {
        faults.push(
          `${door.path} does not introduce itself: begin it with a /** comment */ that says what it is for, in a sentence or two.`,
        );
      }
    }
  }
  return faults;
}

export function checkPackages(files: readonly SourceFile[], rooms: readonly Room[]): string[] {
  const faults: string[] = [];
  for (const file of product(files)) {
    const room = roomOf(file.path, rooms);
    for (const specifier of file.imports) {
      if (room === undefined || specifier.startsWith('.')) continue;
      const name = specifier
        .split('/')
        .slice(0, specifier.startsWith('@') ? 2 : 1)
        .join('/');
      const isForbidden = room.forbiddenPackages?.includes(name) === true;
      if (isForbidden || (room.packages !== undefined && !room.packages.includes(name))) {
        faults.push(
          `${file.path} imports ${specifier}, which ${room.room} may not use (${room.purpose}): do that in another room and hand the result in.`,
        );
      }
    }
  }
  return faults;
}

const barrelExceptions = new Map([['src/db/schema/schema.ts', 'drizzle-kit wants one file that names every table']]);

export function checkBarrelsAndNames(files: readonly SourceFile[]): string[] {
  const faults: string[] = [];
  for (const file of files) {
    const name = file.path.split('/').at(-1) ?? '';
    const statements = file.code
      .replace(/^[ \t]*export\s+(?:type\s+)?(?:\*(?:\s+as\s+\w+)?|\{[^}]*\})\s*from\s*['"][^'"]+['"];?/gm, '')
      .trim();
    const isBarrel = statements === '' && /\bexport\b/.test(file.code) && !barrelExceptions.has(file.path);
    if (name.startsWith('index.') || isBarrel) {
      faults.push(`${file.path} is a barrel: name the file after what it holds and import from where the thing lives.`);
    }
    const badPart = file.path.split('/').find((part) => /(?:^|-)(?:utils?|helpers?|common|misc)(?:\.|$)/.test(part));
    if (badPart !== undefined) {
      faults.push(
        `${file.path}: "${badPart}" says nothing. Name it after what it does, beside the code that needs it.`,
      );
    }
    if (!/^[a-z0-9]+(?:[-.][a-z0-9]+)*\.ts$/.test(name)) faults.push(`${file.path}: file names are kebab-case.`);
    const className = /\bclass\s+(\w*(?:Service|Manager|Helper|Utils?))\b/.exec(file.bare)?.[1];
    if (className !== undefined)
      faults.push(
        `${file.path}: class ${className}: name it after what it is, without Service, Manager, Helper or Util.`,
      );
  }
  return faults;
}

/** Environment is read once, in main.ts, and handed on as configuration. */
export function checkEnvironment(files: readonly SourceFile[]): string[] {
  return product(files)
    .filter(
      (file) =>
        file.path !== 'src/main.ts' &&
        /\bprocess\s*\.\s*env\b|\benv\b[^;]*from\s*['"](?:node:)?process['"]/.test(file.code),
    )
    .map(
      (file) =>
        `${file.path} reads process.env: only src/main.ts does. Add a field to the room's config and take it as a parameter.`,
    );
}

/**
 * Input never becomes the text of a statement: what `unsafe` sends is text, so each file that uses it is named with
 * where its text comes from. The driver's templates send values apart and quote names.
 */
export function checkSqlTexts(files: readonly SourceFile[], mayUse: ReadonlyMap<string, string>): string[] {
  const using = product(files).filter((file) => /\bunsafe\b/.test(file.bare));
  return [
    ...using
      .filter((file) => !mayUse.has(file.path))
      .map((file) => `${file.path} sends a text as SQL (unsafe): write a template, its values are sent apart.`),
    ...[...mayUse.keys()]
      .filter((path) => !using.some((file) => file.path === path))
      .map((path) => `${path} may send texts as SQL, and does not: take it off the list.`),
  ];
}

export function checkSizes(files: readonly SourceFile[], maxLines: number): string[] {
  return files
    .filter((file) => file.text.trimEnd().split('\n').length > maxLines)
    .map(
      (file) =>
        `${file.path} has ${file.text.trimEnd().split('\n').length} lines, more than ${maxLines}: find the second thing it does and give it a file.`,
    );
}

/** A test that is switched off guards nothing and looks as if it did. `skipIf` says its reason and stays legal. */
export function checkDisabledTests(files: readonly SourceFile[]): string[] {
  return files
    .filter(isTest)
    .flatMap((file) =>
      [...file.bare.matchAll(/\b(?:it|test|describe|suite|bench)\s*\.\s*(?:skip|only|todo|fails)\b/g)].map(
        (match) =>
          `${file.path} has ${match[0]}: repair the test or delete it; a condition belongs into skipIf with its reason.`,
      ),
    );
}
