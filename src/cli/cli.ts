/**
 * cli/: the host operator's tool. Each command calls the same use cases as the API, in process, as the actor
 * `operator:<os user>`. Data goes to stdout, progress and words about it to stderr; the exit code tells scripts.
 */
import { Command, CommanderError, Option } from 'commander';
import packageJson from '../../package.json' with { type: 'json' };
import type { Environment } from '../app/app.ts';
import { describeError } from '../core/errors.ts';
import { scrub } from '../platform/scrub.ts';
import type { CommandContext } from './context.ts';
import { addConnectionCommands } from './connection-commands.ts';
import { addDaemonCommands } from './daemon-commands.ts';
import { addDoctorCommand } from './doctor.ts';
import { exitCodeOf, exitCodes, type ExitCode } from './exit-codes.ts';
import { outputFormats } from './output.ts';
import { addPeopleCommands } from './people-commands.ts';
import { addExplainCommands } from './explain-commands.ts';
import { addRunCommands } from './run-commands.ts';
import { addScimCommands } from './scim-commands.ts';
import { addTenantCommands } from './tenant-commands.ts';
import { addUndoCommands } from './undo-commands.ts';

export { createSignalReader } from '../platform/lifecycle.ts';
export { Secret } from '../platform/secrets.ts';

/** Runs one command and answers the exit code. Never throws: what goes wrong is one sentence on stderr. */
export async function runCommandLine(environment: Environment): Promise<ExitCode> {
  let exitCode: ExitCode = exitCodes.ok;
  const context: CommandContext = {
    environment,
    actor: `operator:${environment.osUser}`,
    signal: environment.stop,
    setExitCode: (code) => {
      exitCode = code;
    },
  };
  try {
    await buildProgram(context).parseAsync([...environment.argv], { from: 'user' });
    return exitCode;
  } catch (error) {
    // commander has written its own words, about usage or because they were asked for
    if (error instanceof CommanderError) return error.exitCode === 0 ? exitCodes.ok : exitCodes.usage;
    environment.stderr.write(`rollcall: ${scrub(describeError(error))}\n`);
    return exitCodeOf(error, environment.stop.aborted);
  }
}

export function buildProgram(context: CommandContext): Command {
  const { stdout, stderr } = context.environment;
  const program = new Command('rollcall')
    .description(
      'Keeps the users and roles of a portal in step with directories: Entra ID, LDAP / Active Directory, SCIM.',
    )
    .version(packageJson.version, '-v, --version')
    .exitOverride()
    .configureOutput({
      writeOut: (text) => stdout.write(text),
      writeErr: (text) => stderr.write(text),
      // one prefix for every fault, ours and commander's
      outputError: (text, write) => write(text.replace(/^error: /, 'rollcall: ')),
      getOutHelpWidth: () => stdout.columns ?? 100,
      getErrHelpWidth: () => stderr.columns ?? 100,
    })
    .showSuggestionAfterError()
    .showHelpAfterError('(--help shows how it is written)')
    .addOption(
      new Option('-c, --config <file>', 'configuration file (default: ROLLCALL_CONFIG, else config/rollcall.yaml)'),
    )
    .addOption(new Option('-o, --output <format>', 'how data is printed').choices([...outputFormats]).default('human'))
    .addOption(new Option('--org <slug>', 'tenant the command is about'));
  addDaemonCommands(program, context);
  addTenantCommands(program, context);
  addConnectionCommands(program, context);
  addRunCommands(program, context);
  addScimCommands(program, context);
  addUndoCommands(program, context);
  addPeopleCommands(program, context);
  addExplainCommands(program, context);
  addDoctorCommand(program, context);
  return program;
}
