/** kill -9 in the middle of an apply: the end state equals that of an undisturbed run (design.md promise 6). */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { isOpenldapInstalled } from '../servers/openldap.ts';
import { holdBeforeGrants, killNow, people, preparePlan, untilHeld, type Planned } from './site.ts';
import { expectSameRows, type Rows } from './site-rows.ts';

// side by side: each waits most of its time for a heartbeat that does not come
let planned: Planned;
let undisturbed: Rows;

describe.skipIf(!isOpenldapInstalled())('kill -9 in the middle of an apply', { concurrent: true }, () => {
  beforeAll(async () => {
    planned = await preparePlan();
    await using site = await planned.clone();
    undisturbed = await site.applyUndisturbed();
    expect(undisturbed['users']).toHaveLength(people);
  });

  afterAll(async () => {
    await planned?.close();
  });

  it('of the worker: another one is started and ends the run as if nothing had happened', async () => {
    await using site = await planned.clone();
    const daemon = await site.start();
    const letGo = await holdBeforeGrants(site);
    await daemon.approve();
    await untilHeld(site);
    killNow(daemon.workerPid());
    await letGo();
    await daemon.daemon.line('the worker process died; it is started again');
    await site.rest();
    expectSameRows(await site.rows(), undisturbed);
    expect(await daemon.stop()).toBe(0);
  });

  it('of daemon and worker: the next start ends the run as if nothing had happened', async () => {
    await using site = await planned.clone();
    const first = await site.start();
    const letGo = await holdBeforeGrants(site);
    await first.approve();
    await untilHeld(site);
    await first.kill();
    await letGo();
    const second = await site.start();
    await site.rest();
    expectSameRows(await site.rows(), undisturbed);
    expect(await second.stop()).toBe(0);
  });
});
