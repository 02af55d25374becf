/** What every command works with: the options all share, the configuration, the rooms, where to write. */
import type { Config, Environment, Office } from '../app/app.ts';
import type { ExitCode } from './exit-codes.ts';
import type { OutputFormat } from './output.ts';

export type SharedOptions = {
  readonly config?: string;
  readonly output: OutputFormat;
  readonly org?: string;
};

export type CommandContext = {
  readonly environment: Environment;
  /** `operator:<os user>` */
  readonly actor: string;
  /** Ctrl-C. */
  readonly signal: AbortSignal;
  /** Ends the program with this code once the command is through. */
  setExitCode(code: ExitCode): void;
};

/** Loaded when a command needs it: --help and --version do not wait for the database driver. */
export async function readConfig(context: CommandContext, options: SharedOptions): Promise<Config> {
  const app = await import('../app/app.ts');
  return app.loadConfig(app.configFileOf(context.environment, options.config)).config;
}

export async function inOffice<Result>(
  context: CommandContext,
  options: SharedOptions,
  work: (office: Office) => Promise<Result>,
): Promise<Result> {
  const app = await import('../app/app.ts');
  const config = await readConfig(context, options);
  return app.withOffice(config, context.environment, work);
}
