/**
 * What must be in the end, told by the promises alone: a plain model of one tenant with a directory that is read and a
 * provider that pushes. It knows nothing of runs, plans or rows: a complete read replaces what is known of the
 * directory, a push says it at once, a person's hand counts more, and the rules follow from that.
 */

export type Fields = {
  readonly name?: string;
  readonly department?: string | null;
  readonly enabled?: boolean;
  readonly username?: string;
};

export type Rules = {
  readonly ceiling: 'user' | 'view_only_admin';
  /** Whether the group Ops is mapped to View-Only Admin. */
  readonly hasOps: boolean;
};

type Source = {
  readonly people: Map<string, { name: string; department: string | null; enabled: boolean; username: string }>;
  readonly groups: Map<string, readonly string[]>;
};

type User = {
  status: 'active' | 'suspended';
  /** Who suspended: the directory may bring back only whom it suspended itself. */
  by: 'directory' | 'hand' | null;
  name: string;
  username: string;
  department: string | null;
  /** What the directory said last of the department; a person's word stays until that changes. */
  said: string | null;
  isByHand: boolean;
  isProtected: boolean;
  given: Set<string>;
  byHand: Set<string>;
  isExcluded: boolean;
};

export type Standing = {
  readonly status: string;
  readonly suspendedBy: 'directory' | 'hand' | null;
  readonly name: string;
  readonly username: string;
  readonly department: string | null;
  readonly roles: readonly string[];
};

export class Model {
  readonly users = new Map<string, User>();
  readonly directory: Source = { people: new Map(), groups: new Map() };
  readonly provider: Source = { people: new Map(), groups: new Map() };
  readonly unseen = new Set<string>();
  rules: Rules = { ceiling: 'view_only_admin', hasOps: true };
  /** Whether the directory can say what became of somebody. */
  isProving = true;

  source(isPushed: boolean): Source {
    return isPushed ? this.provider : this.directory;
  }

  put(isPushed: boolean, id: string, fields: Fields): void {
    const { people } = this.source(isPushed);
    const before = people.get(id) ?? {
      name: `${id.charAt(0).toUpperCase()}${id.slice(1)}`,
      department: null,
      enabled: true,
      username: id,
    };
    people.set(id, { ...before, ...fields });
    if (isPushed) this.settle(id, this.provider, ['Crew', 'Core'], new Map([['Crew', 'user']]));
  }

  delete(isPushed: boolean, id: string): void {
    this.source(isPushed).people.delete(id);
    if (isPushed) this.leave(id);
  }

  group(isPushed: boolean, name: string, members: readonly string[]): void {
    this.source(isPushed).groups.set(name, members);
    if (isPushed) this.settleProvider();
  }

  settleProvider(): void {
    for (const id of this.provider.people.keys()) {
      this.settle(id, this.provider, ['Crew', 'Core'], new Map([['Crew', 'user']]));
    }
  }

  /** A complete read: everybody the directory shows, and everybody of whom it proves that they are gone. */
  read(): void {
    const roles = new Map([['Staff', 'user']]);
    if (this.rules.hasOps && this.rules.ceiling !== 'user') roles.set('Ops', 'view_only_admin');
    for (const id of this.directory.people.keys()) {
      if (!this.unseen.has(id)) this.settle(id, this.directory, ['Staff', 'Ops', 'Inner'], roles);
    }
    if (!this.isProving) return;
    for (const [id] of this.users) if (id.startsWith('p') && !this.directory.people.has(id)) this.leave(id);
  }

  private settle(id: string, source: Source, groups: readonly string[], roles: ReadonlyMap<string, string>): void {
    const person = source.people.get(id);
    if (person === undefined) return;
    const user = this.users.get(id) ?? (person.enabled ? newUser(person) : undefined);
    if (user === undefined) return;
    this.users.set(id, user);
    if (user.isProtected) return;
    user.name = person.name;
    user.username = person.username;
    if (person.department !== user.department && (!user.isByHand || person.department !== user.said)) {
      user.department = person.department;
      user.isByHand = false;
    }
    user.said = person.department;
    if (!person.enabled && user.status === 'active') [user.status, user.by] = ['suspended', 'directory'];
    else if (person.enabled && user.by === 'directory') [user.status, user.by] = ['active', null];
    user.given = new Set(
      groups.flatMap((group) => {
        const role = roles.get(group);
        const has = role !== undefined && membersOf(source, group).has(id);
        return has && !(user.isExcluded && role === 'user') ? [role] : [];
      }),
    );
  }

  private leave(id: string): void {
    const user = this.users.get(id);
    if (user === undefined || user.isProtected || user.status !== 'active') return;
    [user.status, user.by] = ['suspended', 'directory'];
  }

  expected(): Map<string, Standing> {
    return new Map(
      [...this.users].map(([id, user]) => [
        id,
        {
          status: user.status,
          suspendedBy: user.by,
          name: user.name,
          username: user.username,
          department: user.department,
          roles: [...new Set([...user.given, ...user.byHand])].toSorted(),
        },
      ]),
    );
  }
}

function newUser(person: { name: string; department: string | null; username: string }): User {
  const { name, department, username } = person;
  return {
    status: 'active',
    by: null,
    name,
    username,
    department,
    said: department,
    isByHand: false,
    isProtected: false,
    given: new Set(),
    byHand: new Set(),
    isExcluded: false,
  };
}

/** Through groups in groups, each looked at once. */
function membersOf(source: Source, group: string, seen = new Set<string>()): Set<string> {
  if (seen.has(group)) return new Set();
  seen.add(group);
  const members = source.groups.get(group) ?? [];
  return new Set(
    members.flatMap((member) => (source.groups.has(member) ? [...membersOf(source, member, seen)] : [member])),
  );
}
