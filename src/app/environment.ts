/** What main.ts takes from the process and hands on; nothing below it reads the process itself. */
import type { Secret } from '../platform/secrets.ts';

export type Environment = {
  readonly argv: readonly string[];
  /** Folder of the package: where the default configuration lies. */
  readonly home: string;
  /** The person at the keyboard; becomes the actor `operator:<name>`. */
  readonly osUser: string;
  readonly isRoot: boolean;
  readonly userHome: string;
  /** ROLLCALL_CONFIG */
  readonly configFile: string | undefined;
  /** DATABASE_URL; without it an embedded Postgres runs in the data folder. */
  readonly databaseUrl: Secret | undefined;
  /** ROLLCALL_MASTER_KEY, base64 of 32 bytes. */
  readonly masterKey: Secret | undefined;
  readonly stdout: Output;
  readonly stderr: Output;
  /** Aborted by the first SIGINT or SIGTERM; a second one, a second later, ends the process. */
  readonly stop: AbortSignal;
};

export type Output = { write(text: string): void; readonly isTty: boolean; readonly columns: number | undefined };
