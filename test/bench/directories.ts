/** What reading a directory costs, up to the events a connector yields; each half beside the limit of its protocol. */
import { benchEntra } from './directories-entra.ts';
import { benchLdap } from './directories-ldap.ts';
import type { BenchOptions } from './report.ts';

/** The page server keeps all pages ready in memory. */
const usersInMemory = 400_000;

export async function run(options: BenchOptions): Promise<void> {
  // a real tenant of a million pages at the speed of the network: there only LDAP has anything to show
  if (options.users <= usersInMemory) await benchEntra(options);
  await benchLdap(options);
}
