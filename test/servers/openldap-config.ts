/** cn=config and base entries of the throw-away OpenLDAP: two service accounts, one of them limited like a careful admin would. */
import { existsSync } from 'node:fs';

export const openldapBaseDn = 'dc=example,dc=org';
const suffix = openldapBaseDn;

export const openldapAccounts = {
  admin: { dn: `cn=admin,${suffix}`, password: 'admin-secret-canary' },
  sync: { dn: `cn=svc-sync,${suffix}`, password: 'sync-secret-canary' },
  /** At most 500 entries per search, pages of at most 100. */
  limited: { dn: `cn=svc-limited,${suffix}`, password: 'limited-secret-canary' },
} as const;

type Paths = { readonly folder: string; readonly ca: string; readonly cert: string; readonly key: string };

/** Overlays to leave out; references are what keeps the names in groups right when an entry goes or is renamed. */
export type OpenldapOverlay = 'references' | 'syncprov';

const modulePath = ['/usr/lib/ldap', '/usr/lib64/openldap', '/usr/lib/openldap'].find((path) => existsSync(path));
const schemaPath = ['/etc/ldap/schema', '/etc/openldap/schema'].find((path) => existsSync(path));

export type OpenldapShape = {
  readonly without?: readonly OpenldapOverlay[];
  /** The service accounts see what lies below the topmost entry, but not that entry. */
  readonly isSuffixHidden?: boolean;
};

export function openldapConfig(paths: Paths, { without = [], isSuffixHidden = false }: OpenldapShape = {}): string {
  const references = without.includes('references') ? '' : referenceOverlays;
  return `${serverConfig(paths, isSuffixHidden ? 'children' : 'subtree')}${references}${ppolicyOverlay}${without.includes('syncprov') ? '' : syncprovOverlay}`;
}

function serverConfig({ folder, ca, cert, key }: Paths, shown: 'children' | 'subtree'): string {
  return `dn: cn=config
objectClass: olcGlobal
cn: config
olcPidFile: ${folder}/slapd.pid
olcArgsFile: ${folder}/slapd.args
olcTLSCACertificateFile: ${ca}
olcTLSCertificateFile: ${cert}
olcTLSCertificateKeyFile: ${key}
olcSizeLimit: 500
olcThreads: 4

dn: cn=module{0},cn=config
objectClass: olcModuleList
cn: module{0}
olcModulePath: ${modulePath}
olcModuleLoad: back_mdb
olcModuleLoad: memberof
olcModuleLoad: refint
olcModuleLoad: syncprov
olcModuleLoad: ppolicy

dn: cn=schema,cn=config
objectClass: olcSchemaConfig
cn: schema

${['core', 'cosine', 'inetorgperson', 'nis'].map((name) => `include: file://${schemaPath}/${name}.ldif`).join('\n')}

dn: olcDatabase={-1}frontend,cn=config
objectClass: olcDatabaseConfig
objectClass: olcFrontendConfig
olcDatabase: {-1}frontend
olcAccess: {0}to dn.base="" by * read
olcAccess: {1}to dn.base="cn=Subschema" by * read

dn: olcDatabase={0}config,cn=config
objectClass: olcDatabaseConfig
olcDatabase: {0}config
olcRootDN: cn=admin,cn=config
olcRootPW: ${openldapAccounts.admin.password}

dn: olcDatabase={1}mdb,cn=config
objectClass: olcDatabaseConfig
objectClass: olcMdbConfig
olcDatabase: {1}mdb
olcDbDirectory: ${folder}/db
olcSuffix: ${suffix}
olcRootDN: ${openldapAccounts.admin.dn}
olcRootPW: ${openldapAccounts.admin.password}
olcDbMaxSize: 4294967296
olcDbNoSync: TRUE
olcDbIndex: default eq
olcDbIndex: objectClass,entryUUID,entryCSN,modifyTimestamp,uid,mail,member,memberOf
olcLimits: {0}dn.exact="${openldapAccounts.sync.dn}" size=unlimited time=unlimited
olcLimits: {1}dn.exact="${openldapAccounts.limited.dn}" size.soft=500 size.hard=500 size.pr=100 size.prtotal=500
olcAccess: {0}to attrs=userPassword by self write by anonymous auth by * none
olcAccess: {1}to dn.${shown}="${suffix}" by dn.children="${suffix}" read by * none

`;
}

const referenceOverlays = `dn: olcOverlay=memberof,olcDatabase={1}mdb,cn=config
objectClass: olcOverlayConfig
objectClass: olcMemberOf
olcOverlay: memberof
olcMemberOfRefInt: TRUE

dn: olcOverlay=refint,olcDatabase={1}mdb,cn=config
objectClass: olcOverlayConfig
objectClass: olcRefintConfig
olcOverlay: refint
olcRefintAttribute: member
olcRefintNothing: ${openldapAccounts.admin.dn}

`;

const ppolicyOverlay = `dn: olcOverlay=ppolicy,olcDatabase={1}mdb,cn=config
objectClass: olcOverlayConfig
objectClass: olcPPolicyConfig
olcOverlay: ppolicy
olcPPolicyDefault: cn=default,ou=policies,${suffix}

`;

const syncprovOverlay = `dn: olcOverlay=syncprov,olcDatabase={1}mdb,cn=config
objectClass: olcOverlayConfig
objectClass: olcSyncProvConfig
olcOverlay: syncprov
olcSpCheckpoint: 100 10
olcSpSessionlog: 100000
`;

function serviceAccount(account: { readonly dn: string; readonly password: string }): string {
  return `dn: ${account.dn}
objectClass: organizationalRole
objectClass: simpleSecurityObject
cn: ${account.dn.slice(3, account.dn.indexOf(','))}
userPassword: ${account.password}
`;
}

export function openldapBase(): string {
  const unit = (name: string): string => `dn: ou=${name},${suffix}\nobjectClass: organizationalUnit\nou: ${name}\n`;
  return [
    `dn: ${suffix}\nobjectClass: dcObject\nobjectClass: organization\ndc: example\no: Example\n`,
    unit('people'),
    unit('groups'),
    unit('policies'),
    `dn: cn=default,ou=policies,${suffix}
objectClass: pwdPolicy
objectClass: device
cn: default
pwdAttribute: userPassword
pwdLockout: TRUE
pwdMaxFailure: 3
`,
    serviceAccount(openldapAccounts.sync),
    serviceAccount(openldapAccounts.limited),
    '',
  ].join('\n');
}
