/** The demo as a newcomer runs it. */
import { existsSync } from 'node:fs';
import { dirname } from 'node:path';
import { describe, expect, it } from 'vitest';
import { processTree } from '../bench/processes.ts';
import { isOpenldapInstalled } from '../servers/openldap.ts';
import { isListening } from '../servers/process.ts';
import { runRollcall, startRollcall } from './daemon-process.ts';

const program = 'test/demo/main.ts';

/** Ports and the folder that its output names. */
async function whatIsLeft(output: string): Promise<string[]> {
  const ports = new Set(
    [...output.matchAll(/127\.0\.0\.1:(\d+)|^ +port: (\d+)$/gm)].map((match) => match[1] ?? match[2]),
  );
  expect(ports.size).toBeGreaterThan(0);
  const left: string[] = [];
  for (const port of ports) if (await isListening('127.0.0.1', Number(port))) left.push(`port ${port ?? ''}`);
  const config = /ROLLCALL_CONFIG=(\S+)/.exec(output)?.[1];
  if (config !== undefined && existsSync(dirname(config))) left.push(dirname(config));
  return left;
}

describe('npm run demo', () => {
  it('--once tells the whole story, ends with 0 and leaves nothing', async () => {
    const { code, stdout, stderr } = await runRollcall({ program, args: ['--once'] });
    expect([code, stderr]).toEqual([0, '']);
    for (const fact of [
      /of Contoso Entra: held, it waits for a person/,
      /Joiners: 3\d\d\n {2}WHO +WHAT +WHY\n/,
      /\.\.\. and 3\d\d more/,
      /- 1\d grants of privileged roles wait for a person/,
      /Conflicts: 1\n {2}WHO +WHY\n {2}Dana Whitfield +Dana Whitfield has the same username and is protected/,
      /approves exactly this plan, digest [0-9a-f]{12}/,
      /Pat Okafor +pat\.okafor@contoso\.example +active +user in Americas/,
      /delta read, asked for by operator:/,
      /admin in Contoso \(held\) +In the group Portal Admins\./,
      /suspended +Deleted in Contoso Entra\./,
      /jobTitle +Security Analyst +Contoso Entra \(priority 10\)/,
      /Contoso +user +Contoso Entra: group Portal Users/,
      /export SCIM_TOKEN=rcl_scim_/,
    ]) {
      expect(stdout).toMatch(fact);
    }
    if (isOpenldapInstalled()) {
      expect(stdout).toMatch(/recognized, user in Contoso +The same username as the user/);
      expect(stdout).toMatch(/Reception Desk +disputed match +2 users have the same email/);
    } else {
      expect(stdout).toContain('slapd is not installed here');
    }
    expect(Math.max(...stdout.split('\n').map((line) => line.length))).toBeLessThanOrEqual(100);
    expect(await whatIsLeft(stdout)).toEqual([]);
  });

  it('Ctrl-C in the middle of the story leaves nothing', async () => {
    const demo = startRollcall({ program, args: [] });
    await demo.line('The first run of a connection stops at the plan. Nothing is changed yet.');
    demo.process.kill('SIGINT');
    expect([await demo.exit, demo.stderr()]).toEqual([130, 'demo: stopped by SIGINT; everything is removed.\n']);
    expect(await whatIsLeft(demo.lines.map((line) => line.msg).join('\n'))).toEqual([]);
  });

  it('a daemon that dies in the middle of the story: a sentence, exit code 1, and nothing is left', async () => {
    const demo = startRollcall({ program, args: ['--once'] });
    await demo.line('The first run of a connection stops at the plan. Nothing is changed yet.');
    const { pid = 0 } = demo.process;
    const daemon = processTree(pid).find((one) => one.parent === pid && one.name !== 'slapd');
    if (daemon === undefined) throw new Error('The demo has no daemon.');
    process.kill(daemon.pid, 'SIGKILL');
    expect([await demo.exit, demo.stderr()]).toEqual([
      1,
      expect.stringMatching(/^demo: The daemon ended by itself \(killed\)\. Its last words:\n\{/),
    ]);
    expect(demo.stderr()).not.toMatch(/^\s+at /m);
    expect(await whatIsLeft(demo.lines.map((line) => line.msg).join('\n'))).toEqual([]);
  });

  it('Ctrl-C after the story, while the schedule runs, ends with 0', async () => {
    const demo = startRollcall({ program, args: [] });
    await demo.line('everything and removes it.');
    demo.process.kill('SIGINT');
    // a terminal and npm both send it
    demo.process.kill('SIGINT');
    expect([await demo.exit, demo.stderr()]).toEqual([0, '']);
    expect(await whatIsLeft(demo.lines.map((line) => line.msg).join('\n'))).toEqual([]);
  });
});
