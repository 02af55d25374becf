/** Commands by which a person puts a user out of reach of directories, or says where its draws count. */
import { Option, type Command } from 'commander';
import type { Office } from '../app/app.ts';
import { RollcallError } from '../core/errors.ts';
import type { OrganizationId, TenantId } from '../core/ids.ts';
import { inTenant, type CommandContext } from './context.ts';
import { printObject } from './output.ts';

export function addProtectionCommands(users: Command, context: CommandContext): void {
  const { environment } = context;
  users
    .command('protect <user>')
    .description('puts a user out of reach of every directory')
    .requiredOption('--reason <text>', 'stands in every explanation')
    .action(async (reference: string, { reason }: { readonly reason: string }, command: Command) => {
      await inTenant(context, command, async ({ office, principal, output }) => {
        const found = await office.users.find(principal, reference);
        const user = await office.users.setProtection(principal, found.id, true, reason);
        printObject(environment, output, user, `${nameOf(user)} is out of reach of every directory.`);
      });
    });
  users
    .command('unprotect <user>')
    .description('puts a user back into the reach of directories')
    .option('--reason <text>', 'stands in the audit')
    .action(async (reference: string, { reason }: { readonly reason?: string }, command: Command) => {
      await inTenant(context, command, async ({ office, principal, output }) => {
        const found = await office.users.find(principal, reference);
        const user = await office.users.setProtection(principal, found.id, false, reason);
        printObject(
          environment,
          output,
          user,
          `${nameOf(user)} follows the directories again, from their next run on.`,
        );
      });
    });
  addQuotaHomeCommand(users, context);
  addEraseCommand(users, context);
}

type QuotaHomeOptions = { readonly organization?: string; readonly automatic?: true };

function addQuotaHomeCommand(users: Command, context: CommandContext): void {
  users
    .command('quota-home <user>')
    .description("chooses where a user's draws count")
    .addOption(
      new Option('--organization <path>', 'an organization of which it is a member, or the root').conflicts(
        'automatic',
      ),
    )
    .option('--automatic', 'as role mappings say, else where it was first added')
    .action(async (reference: string, options: QuotaHomeOptions, command: Command) => {
      if (options.organization === undefined && options.automatic === undefined) {
        throw new RollcallError('invalid_input', 'Say where: --organization PATH or --automatic.');
      }
      await inTenant(context, command, async ({ office, principal, tenantId, output }) => {
        const found = await office.users.find(principal, reference);
        const user = await office.users.chooseQuotaHome(
          principal,
          found.id,
          options.organization === undefined
            ? { automatic: true }
            : { organizationId: await organizationIn(office, tenantId, options.organization) },
        );
        const where = user.quotaHomeId ?? 'the root';
        printObject(context.environment, output, user, `Draws of ${nameOf(user)} count in ${where}.`);
      });
    });
}

/** For a user who is gone for good, before the purge would come; two operators, because nothing brings it back. */
function addEraseCommand(users: Command, context: CommandContext): void {
  const { environment, actor } = context;
  users
    .command('erase <user>')
    .description('deletes a suspended or removed user for good, once two operators of the host have asked for it')
    .requiredOption('--reason <text>', 'stands in the audit')
    .action(async (reference: string, { reason }: { readonly reason: string }, command: Command) => {
      await inTenant(context, command, async ({ office, principal, tenantId, output }) => {
        const { id: userId } = await office.users.find(principal, reference);
        const erasure = await office.reconciliation.eraseUser({ tenantId, userId, actor, reason });
        const { name, rows, isDone } = erasure;
        const what = `${rows.changes} change rows, ${rows.links} links, ${rows.roles} roles, ${rows.exclusions} exclusions`;
        const words = isDone
          ? `${name} is erased, with ${what}.`
          : `Nothing is erased yet. Another operator must repeat this command within 72 hours; then go ${name}, ${what}.`;
        printObject(environment, output, erasure, words);
      });
    });
}

async function organizationIn(office: Office, tenantId: TenantId, path: string): Promise<OrganizationId> {
  const organization = await office.organizations.findAcrossTenants(path);
  if (organization.tenantId === tenantId) return organization.organizationId;
  throw new RollcallError('not_found', `There is no organization ${path} in this tenant.`, {
    remedy: 'List them with: rollcall orgs list',
  });
}

function nameOf(user: {
  readonly displayName: string | null;
  readonly username: string | null;
  readonly id: string;
}): string {
  return user.displayName ?? user.username ?? user.id;
}
