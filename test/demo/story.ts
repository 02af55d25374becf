/** The story of the demo, chapter by chapter. Each chapter does real work and says what it means. */
import { operatorPrincipal } from '../../src/access/access.ts';
import { renderExplanation } from '../../src/cli/render-explanation.ts';
import { cellText, renderTable } from '../../src/cli/output.ts';
import type { Connection, RunSummary } from '../../src/reconciliation/reconciliation.ts';
import { liveOneDay } from '../simulators/entra/live-one-day.ts';
import { groupOf } from '../simulators/entra/sample-tenant.ts';
import { firstAdmin } from './directories.ts';
import { entraDocument, ldapDocument, scimDocument, type Document } from './documents.ts';
import { approveAndApply, showRun, startRun } from './runs.ts';
import type { Place, Scene } from './scene.ts';
import { createWeb, type Web } from './web.ts';

export type Ending = {
  readonly place: Place;
  readonly entra: Connection;
  readonly ldap: Connection | null;
  readonly scimUrl: string;
  readonly scimToken: string;
  readonly apiToken: string;
};

export async function tellStory(scene: Scene): Promise<Ending> {
  const place = await foundContoso(scene);
  const entra = await connectEntra(scene, place);
  const ldap = await connectLdap(scene, place);
  const moved = await liveADay(scene);
  const { scimUrl, scimToken, apiToken } = await pushOverScim(scene, place);
  await syncAgain(scene, place, [entra, ...(ldap === null ? [] : [ldap])]);
  await explain(scene, place, moved);
  return { place, entra, ldap, scimUrl, scimToken, apiToken };
}

// ------------------------------------------------------------ 1. an organization

async function foundContoso({ narrator, office, installation }: Scene): Promise<Place> {
  narrator.chapter('An organization');
  const actor = `operator:${installation.operator}`;
  const root = await office.organizations.createRoot(actor, { name: 'Contoso', slug: 'contoso' });
  const principal = operatorPrincipal(installation.operator, root.tenantId, root.id);
  for (const name of ['EMEA', 'Americas']) {
    await office.organizations.createSub(principal, root.id, { name, slug: name.toLowerCase() });
  }
  const domain = await office.organizations.proveDomain(actor, root.tenantId, 'contoso.example');
  narrator.say(
    `Contoso has two sub-organizations, EMEA and Americas. The operator vouches for its domain ${domain.name}: usernames and first matches are made inside proven domains only.`,
  );
  const { displayName, userPrincipalName, mail } = firstAdmin;
  await office.users.create(principal, {
    organizationId: root.id,
    role: 'admin',
    displayName,
    username: userPrincipalName,
    email: mail,
  });
  narrator.say(
    `${displayName} is made Admin by hand. The first Admin of an organization is its Super Admin, whom no directory can suspend or demote.`,
  );
  return { principal, tenantId: root.tenantId, organizationId: root.id };
}

// ------------------------------------------------------------ 2. and 3. two directories

async function connectEntra(scene: Scene, place: Place): Promise<Connection> {
  const { narrator, directories } = scene;
  narrator.chapter('Entra ID');
  const { people, groups } = directories.sample;
  narrator.say(
    `The sample tenant has ${people.length + 1} people and a guest in ${groups.size} groups: nested ones, two that contain each other, a disabled account, somebody without e-mail, two with the same address. A connection is a document:`,
  );
  const connection = await connect(scene, place, entraDocument(directories.entra));
  const plan = await startRun(scene, place, connection.id, 'plan');
  narrator.say('The first run of a connection stops at the plan. Nothing is changed yet.');
  await showRun(scene, place, plan);
  await approveAloud(scene, place, plan);
  await decideCase(scene, place);
  return connection;
}

/** The first Admin stands in the directory as well; linking somebody so powerful is a person's decision. */
async function decideCase({ narrator, office }: Scene, place: Place): Promise<void> {
  const cases = await office.reconciliation.listCases(place.tenantId, 'open');
  const open = cases.find((one) => one.subject === firstAdmin.displayName);
  const [candidate] = open?.candidates ?? [];
  if (open === undefined || candidate === undefined) throw new Error('The case of the first Admin was not opened.');
  const { actor } = place.principal;
  await office.reconciliation.resolveCase(actor, place.tenantId, open.id, { action: 'link', userId: candidate.id });
  narrator.say(`${actor} decides the conflict: this is ${candidate.name}. The next run links the two.`);
}

async function connectLdap(scene: Scene, place: Place): Promise<Connection | null> {
  const { narrator, directories } = scene;
  narrator.chapter('OpenLDAP');
  const { ldap, sample } = directories;
  if (ldap === null) {
    narrator.say(
      'slapd is not installed here, so this chapter is left out. On Debian or Ubuntu: apt install slapd ldap-utils (the service itself need not run).',
    );
    return null;
  }
  narrator.say(
    `A real slapd holds ${ldap.peopleCount} people: ${sample.shared.length} who stand in Entra too, and the workers of a plant who stand nowhere else.`,
  );
  const connection = await connect(scene, place, ldapDocument(ldap.server));
  const plan = await startRun(scene, place, connection.id, 'plan');
  narrator.say('Who is known already is recognized and linked, not created twice.');
  await showRun(scene, place, plan);
  await approveAloud(scene, place, plan);
  return connection;
}

async function connect(scene: Scene, place: Place, document: Document): Promise<Connection> {
  const { narrator, office, signal } = scene;
  narrator.show(document.text);
  const connection = await office.reconciliation.createConnection(
    place.principal.actor,
    place.tenantId,
    document.value,
  );
  narrator.say('Testing it changes nothing:');
  const lines: string[] = [];
  for await (const step of office.reconciliation.testConnection(
    place.tenantId,
    { connectionId: connection.id },
    signal,
  )) {
    lines.push(`${step.outcome.padEnd(8)} ${step.step.padEnd(14)} ${cellText(step.message)}`);
    if (step.outcome === 'failed') throw new Error(`The connection test failed: ${step.message}`);
  }
  narrator.show(lines.join('\n'));
  return connection;
}

async function approveAloud(scene: Scene, place: Place, plan: RunSummary): Promise<RunSummary> {
  const { narrator } = scene;
  const done = await approveAndApply(scene, place, plan);
  narrator.say(
    `${place.principal.actor} approves exactly this plan, digest ${plan.digest?.slice(0, 12) ?? ''}..., and it is applied: ${done.status}.`,
  );
  return done;
}

// ------------------------------------------------------------ 4. a day

/** Answers the id of somebody whom the day has moved. */
async function liveADay({ narrator, directories }: Scene): Promise<string> {
  narrator.chapter('A day in the directories');
  const { entra, sample, ldap } = directories;
  const events = liveOneDay(entra, sample);
  const busy = new Set(events.flatMap((event) => event.anchors));
  const promoted = sample.people.find((person) => person.department === 'Support' && !busy.has(person.id));
  if (promoted === undefined) throw new Error('The sample has nobody left in Support.');
  entra.tenant.addMember(groupOf(sample.groups, 'Portal Admins'), promoted.id);
  const lines = events.map((event) => event.description);
  lines.push(`${promoted.displayName} is put into the group Portal Admins.`);
  narrator.say('In Entra:');
  narrator.show(lines.map((line) => `- ${line}`).join('\n'));
  if (ldap !== null) {
    narrator.say('In LDAP:');
    narrator.show([await ldap.hire(), await ldap.move(), await ldap.leave()].map((line) => `- ${line}`).join('\n'));
  }
  const moved = events.find((event) => event.kind === 'move')?.anchors[0];
  if (moved === undefined) throw new Error('Nobody moved.');
  return moved;
}

// ------------------------------------------------------------ 5. SCIM

async function pushOverScim(scene: Scene, place: Place): Promise<Pick<Ending, 'scimUrl' | 'scimToken' | 'apiToken'>> {
  const { narrator, office, installation, signal } = scene;
  narrator.chapter('An identity provider pushes over SCIM');
  const connection = await office.reconciliation.createConnection(
    place.principal.actor,
    place.tenantId,
    scimDocument.value,
  );
  narrator.show(scimDocument.text);
  const scim = await office.access.createToken(place.principal, {
    kind: 'scim',
    name: 'Demo SCIM',
    connectionId: connection.id,
  });
  const api = await office.access.createToken(place.principal, {
    kind: 'api',
    name: 'Demo API',
    organizationId: place.organizationId,
    role: 'admin',
  });
  const scimUrl = `${installation.origin}/scim/v2/${connection.id}`;
  const idp = createWeb(scimUrl, scim.text, 'application/scim+json', signal);
  const portal = createWeb(`${installation.origin}/api/v1`, api.text, 'application/json', signal);
  await pushUserAndGroup(scene, idp);
  await showInPortal(scene, portal);
  return { scimUrl, scimToken: scim.text, apiToken: api.text };
}

const userName = 'pat.okafor@contoso.example';

async function pushUserAndGroup({ narrator }: Scene, idp: Web): Promise<void> {
  const user = await idp('POST', '/Users', {
    schemas: ['urn:ietf:params:scim:schemas:core:2.0:User'],
    userName,
    externalId: 'idp-4711',
    displayName: 'Pat Okafor',
    name: { givenName: 'Pat', familyName: 'Okafor' },
    emails: [{ value: userName, type: 'work', primary: true }],
    active: true,
  });
  const group = await idp('POST', '/Groups', {
    schemas: ['urn:ietf:params:scim:schemas:core:2.0:Group'],
    displayName: 'Field Service',
  });
  const [userId, groupId] = [String(user['id']), String(group['id'])];
  await idp('PATCH', `/Groups/${groupId}`, {
    schemas: ['urn:ietf:params:scim:api:messages:2.0:PatchOp'],
    Operations: [{ op: 'add', path: 'members', value: [{ value: userId }] }],
  });
  const read = await idp('GET', `/Users/${userId}`);
  const groups = Array.isArray(read['groups']) ? (read['groups'] as { display?: string }[]) : [];
  narrator.show(
    [
      `POST  /Users          ${userName}  ->  id ${userId}`,
      `POST  /Groups         Field Service  ->  id ${groupId}`,
      `PATCH /Groups/...     add the user`,
      `GET   /Users/...      groups: ${groups.map((one) => one.display ?? '').join(', ')}`,
    ].join('\n'),
  );
}

type PortalUser = {
  readonly displayName: string | null;
  readonly username: string | null;
  readonly status: string;
  readonly memberships: readonly { readonly organizationId: string; readonly roles: readonly string[] }[];
};

async function showInPortal({ narrator }: Scene, portal: Web): Promise<void> {
  const me = await portal('GET', '/me');
  const found = await portal('GET', `/users?search=${encodeURIComponent(userName)}`);
  const organizations = (await portal('GET', '/organizations'))['items'] as { id: string; name: string }[];
  const nameOf = new Map(organizations.map((one) => [one.id, one.name]));
  const users = found['items'] as PortalUser[];
  narrator.say(
    `What a push says takes effect in the same request. The portal's API, asked as ${String(me['role'])} of Contoso, already knows:`,
  );
  narrator.show(
    renderTable(users, [
      { title: 'name', value: (row) => row.displayName },
      { title: 'username', value: (row) => row.username },
      { title: 'status', value: (row) => row.status },
      {
        title: 'roles',
        value: (row) =>
          row.memberships
            .map((one) => `${one.roles.join(', ')} in ${nameOf.get(one.organizationId) ?? one.organizationId}`)
            .join('; '),
      },
    ]),
  );
  if (users.length !== 1) throw new Error(`The portal shows ${users.length} users where one was pushed.`);
}

// ------------------------------------------------------------ 6. again

async function syncAgain(scene: Scene, place: Place, connections: readonly Connection[]): Promise<void> {
  const { narrator } = scene;
  narrator.chapter('The next sync');
  narrator.say(
    'From now on a run applies by itself what no guard holds, and Entra is asked only for what changed. A role that could do damage still waits for a person.',
  );
  for (const connection of connections) {
    const run = await startRun(scene, place, connection.id, 'auto');
    await showRun(scene, place, run);
    if (run.status === 'held') await approveAloud(scene, place, run);
  }
  await showCases(scene, place);
}

async function showCases({ narrator, office }: Scene, place: Place): Promise<void> {
  const cases = await office.reconciliation.listCases(place.tenantId, 'open');
  if (cases.length === 0) {
    narrator.say('No case is open.');
    return;
  }
  narrator.say('Still open, until a person decides (rollcall cases resolve):');
  const table = renderTable(
    cases.slice(0, 10),
    [
      { title: 'who', value: (row) => row.subject },
      { title: 'kind', value: (row) => row.kind.replaceAll('_', ' ') },
      { title: 'why', value: (row) => row.reason },
      { title: 'candidates', value: (row) => row.candidates.map(({ name }) => name).join(', ') },
    ],
    narrator.width - 2,
  );
  narrator.show(table);
}

async function explain(scene: Scene, place: Place, anchor: string): Promise<void> {
  const { narrator, office, directories } = scene;
  const value = directories.entra.tenant.entries.get(anchor)?.properties.get('userPrincipalName')?.value;
  const principalName = typeof value === 'string' ? value : '';
  narrator.chapter('Why?');
  narrator.say(`Every value and every role has its reason: rollcall users explain ${principalName}`);
  const explanation = await office.reconciliation.explainUser(place.tenantId, principalName);
  narrator.show(renderExplanation(explanation, narrator.width - 2));
}
