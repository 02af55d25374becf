/** Commands about the process itself: serve, worker, migrate, config. */
import type { Command } from 'commander';
import { readConfig, type CommandContext, type SharedOptions } from './context.ts';
import { exitCodes } from './exit-codes.ts';
import { printObject } from './output.ts';

export function addDaemonCommands(program: Command, context: CommandContext): void {
  program
    .command('serve')
    .description('the daemon: API, SCIM and a worker process; with an embedded Postgres unless DATABASE_URL is set')
    .action(async (_options: unknown, command: Command) => {
      const app = await import('../app/app.ts');
      const config = await readConfig(context, command.optsWithGlobals<SharedOptions>());
      const result = await app.serve(config, context.environment);
      if (result === 'abandoned') context.setExitCode(exitCodes.failed);
    });
  program
    .command('worker')
    .description('a worker on its own, beside API processes that share its database')
    .action(async (_options: unknown, command: Command) => {
      const app = await import('../app/app.ts');
      const config = await readConfig(context, command.optsWithGlobals<SharedOptions>());
      const result = await app.runWorker(config, context.environment);
      if (result === 'abandoned') context.setExitCode(exitCodes.failed);
    });
  program
    .command('migrate')
    .description('brings the database schema up to date (serve and worker do it when they start)')
    .action(async (_options: unknown, command: Command) => {
      const app = await import('../app/app.ts');
      const config = await readConfig(context, command.optsWithGlobals<SharedOptions>());
      await app.migrateDatabase(config, context.environment);
      context.environment.stderr.write('The database schema is up to date.\n');
    });
  addConfigCommands(program.command('config').description('the configuration file'), context);
}

function addConfigCommands(config: Command, context: CommandContext): void {
  config
    .command('check')
    .description('reports every fault of a configuration file')
    .option('--file <file>', 'file to check instead of the one in use')
    .action(async (options: { readonly file?: string }, command: Command) => {
      const app = await import('../app/app.ts');
      const shared = command.optsWithGlobals<SharedOptions>();
      const file = app.configFileOf(context.environment, options.file ?? shared.config);
      const loaded = app.loadConfig(file);
      printObject(context.environment, shared.output, loaded.config, `${file} is fine.`);
    });
  config
    .command('schema')
    .description('prints the JSON Schema of the configuration file, for editors')
    .action(async () => {
      const app = await import('../app/app.ts');
      context.environment.stdout.write(`${JSON.stringify(app.configJsonSchema(), null, 2)}\n`);
    });
}
