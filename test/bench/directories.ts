/** What reading a directory costs, up to the events a connector yields; each half beside the limit of its protocol. */
import { benchEntra } from './directories-entra.ts';
import { benchLdap } from './directories-ldap.ts';
import type { BenchOptions } from './report.ts';

export async function run(options: BenchOptions): Promise<void> {
  await benchEntra(options);
  await benchLdap(options);
}
