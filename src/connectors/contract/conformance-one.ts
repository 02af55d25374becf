/** The part of the conformance suite about looking one user up now. */
import { expect, test } from 'vitest';
import { isRollcallError } from '../../core/errors.ts';
import { expectNoCanary, failureOf, readAll, requestOf, type Get } from './conformance-fixture.ts';

export function describeOne<S, X>(fixture: Get<S, X>): void {
  test('one user is found by id and by name, as a full read shows it, with its direct groups', async () => {
    const { connector, directory, unknownAnchor, emailAttribute } = fixture();
    const anchor = await directory.addUser({ name: "Odd O'One", email: 'odd.one@example.org' });
    const [inner, outer] = [await directory.addGroup('one-inner'), await directory.addGroup('one-outer')];
    await directory.addMembers(inner, [anchor]);
    await directory.addMembers(outer, [inner]);
    const whole = (await readAll(fixture())).objects.get(anchor);
    const request = requestOf(fixture(), {});
    for (const reference of [{ anchor }, { name: "Odd O'One" }, { name: 'odd.one@example.org' }]) {
      const found = await connector.readObject(request, reference);
      expect(found.map(({ object }) => object.anchor)).toEqual([anchor]);
      expect(found[0]?.object).toMatchObject({ name: "Odd O'One", isActive: true, locator: whole?.locator });
      expect(found[0]?.object.attributes[emailAttribute]).toBe('odd.one@example.org');
      expect(found[0]?.groups).toContain(inner);
      expect(found[0]?.groups).not.toContain(outer);
    }
    expect(await connector.readObject(request, { anchor: unknownAnchor })).toEqual([]);
    expect(await connector.readObject(request, { name: 'Nobody At All (*' })).toEqual([]);
  });

  test('looking for one user with a refused password throws, and shows no secret', async () => {
    const { connector, wrongSecrets, canaries } = fixture();
    const request = requestOf(fixture(), { secrets: wrongSecrets });
    const error = await failureOf(connector.readObject(request, { name: 'anybody' }));
    expect(isRollcallError(error, 'directory_auth')).toBe(true);
    expectNoCanary(canaries, error);
  });
}
