/**
 * The two NOLOGIN roles everything but migrations and stage runs as. Roles belong to the server, not to a database, so
 * they are ensured before every migration and not by one (a dump restored elsewhere has the migrations, not the roles).
 */
import type postgres from 'postgres';
import { RollcallError } from '../core/errors.ts';
import { databaseErrorCode } from './failures.ts';

export const databaseRoles = ['rollcall_tenant', 'rollcall_engine'] as const;

/** PostgreSQL 16 made a membership's SET and INHERIT options of the grant; 15 has neither word. */
const versionWithGrantOptions = 160_000;

/** What a DBA runs where our login may not create roles. */
export function roleStatements(login: string, serverVersion: number): string[] {
  const options = serverVersion >= versionWithGrantOptions ? ' with set true, inherit false' : '';
  return databaseRoles.flatMap((role) => [
    `create role ${role} nologin;`,
    `grant ${role} to "${login.replaceAll('"', '""')}"${options};`,
  ]);
}

type Missing = { readonly login: string; readonly roles: number; readonly memberships: number };

async function findMissing(sql: postgres.Sql, serverVersion: number): Promise<Missing> {
  const privilege = serverVersion >= versionWithGrantOptions ? 'SET' : 'MEMBER';
  const [row] = await sql<Missing[]>`
    select current_user as login,
      count(*) filter (where r.oid is null)::int as roles,
      count(*) filter (where r.oid is not null and not pg_has_role(current_user, r.oid, ${privilege}))::int as memberships
    from unnest(${[...databaseRoles]}::text[]) as wanted(name)
    left join pg_roles r on r.rolname = wanted.name`;
  if (row === undefined) throw new RollcallError('internal', 'The database did not say which roles exist.');
  return row;
}

/**
 * Makes what is missing. Another database of the same server may do the same at the same moment (advisory locks end
 * at the database), so "exists already" and "concurrently updated" are answered by looking again.
 */
export async function ensureRoles(sql: postgres.Sql, serverVersion: number): Promise<void> {
  const attempts = 5;
  for (let attempt = 1; ; attempt += 1) {
    const missing = await findMissing(sql, serverVersion);
    if (missing.roles === 0 && missing.memberships === 0) return;
    try {
      await sql.unsafe(creationBlock(serverVersion)).simple();
      return;
    } catch (error) {
      const code = databaseErrorCode(error) ?? '';
      // duplicate_object, unique_violation on pg_authid, "tuple concurrently updated" (internal_error)
      if (['42710', '23505', 'XX000'].includes(code) && attempt < attempts) continue;
      // insufficient_privilege; 16+ says so, 15 too
      if (code === '42501') throw refusal(missing.login, serverVersion, error);
      throw error;
    }
  }
}

function creationBlock(serverVersion: number): string {
  const options = serverVersion >= versionWithGrantOptions ? ' with set true, inherit false' : '';
  return databaseRoles
    .map(
      (role) => `do $$ begin
  if not exists (select from pg_roles where rolname = '${role}') then create role ${role} nologin; end if;
  execute format('grant ${role} to %I${options}', current_user);
end $$;`,
    )
    .join('\n');
}

function refusal(login: string, serverVersion: number, cause: unknown): RollcallError {
  const statements = roleStatements(login, serverVersion);
  return new RollcallError('database_roles', `The database login "${login}" may not create the roles Rollcall needs.`, {
    cause,
    remedy: `Let a superuser run once:\n${statements.join('\n')}`,
    details: { statements },
  });
}
