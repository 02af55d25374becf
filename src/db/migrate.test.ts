import { describe, expect, it } from 'vitest';
import { checkServerVersion } from './migrate.ts';
import { parseDatabaseUrl } from './pools.ts';
import { roleStatements } from './roles.ts';

describe('checkServerVersion', () => {
  it('accepts PostgreSQL 15 and newer', () => {
    for (const version of [150_000, 150_013, 160_004, 180_004]) expect(() => checkServerVersion(version)).not.toThrow();
  });

  it('names the version it found and the one it needs', () => {
    expect(() => checkServerVersion(140_011)).toThrow(
      expect.objectContaining({
        code: 'database_too_old',
        message: 'The database is PostgreSQL 14.',
        remedy: 'Rollcall needs PostgreSQL 15 or newer: upgrade the server.',
      }),
    );
  });
});

describe('roleStatements', () => {
  it('uses the grant options of 16 only where they exist', () => {
    expect(roleStatements('me', 150_004)).toContain('grant rollcall_tenant to "me";');
    expect(roleStatements('me', 160_000)).toContain('grant rollcall_tenant to "me" with set true, inherit false;');
  });

  it('quotes the login', () => {
    expect(roleStatements('a"b', 180_000).join()).toContain('to "a""b" with');
  });
});

describe('parseDatabaseUrl', () => {
  it('reads every part, decoded', () => {
    expect(parseDatabaseUrl('postgresql://us%40er:p%2Fw@db.example:6432/my%20db?sslmode=verify-full')).toEqual({
      host: 'db.example',
      port: 6432,
      user: 'us@er',
      password: 'p/w',
      database: 'my db',
      ssl: 'verify-full',
    });
  });

  it('takes a socket folder from the host parameter', () => {
    expect(parseDatabaseUrl('postgres://u:p@localhost/d?host=%2Fvar%2Frun').host).toBe('/var/run');
  });

  it.each(['', 'nonsense', 'mysql://x/y', 'postgresql://u@h/d?sslmode=sometimes'])(
    'refuses %j with a sentence',
    (url) => {
      expect(() => parseDatabaseUrl(url)).toThrow(expect.objectContaining({ code: 'invalid_config' }));
    },
  );
});
