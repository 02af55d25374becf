/** A throw-away authority and a server certificate, made with the openssl command. */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { run } from './process.ts';

export type ServerCertificate = {
  readonly caPath: string;
  readonly certPath: string;
  readonly keyPath: string;
  readonly caPem: string;
};

const ellipticKey = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes'];

/** `subjectAltName` in openssl's form: `DNS:localhost,IP:127.0.0.1`. */
export async function makeServerCertificate(
  folder: string,
  options: { readonly authority: string; readonly subject: string; readonly subjectAltName: string },
): Promise<ServerCertificate> {
  mkdirSync(folder, { recursive: true });
  const at = (name: string): string => join(folder, name);
  const extensions = [
    '-addext',
    'basicConstraints=critical,CA:TRUE',
    '-addext',
    'keyUsage=critical,keyCertSign,cRLSign',
  ];
  const authority = ['-days', '30', '-subj', `/CN=${options.authority}`, '-keyout', at('ca.key'), '-out', at('ca.crt')];
  await run('openssl', ['req', '-x509', ...ellipticKey, ...authority, ...extensions]);
  const subject = ['-subj', `/CN=${options.subject}`, '-keyout', at('server.key'), '-out', at('server.csr')];
  await run('openssl', ['req', ...ellipticKey, ...subject]);
  writeFileSync(at('server.ext'), `subjectAltName=${options.subjectAltName}\nextendedKeyUsage=serverAuth\n`);
  const signing = ['-CA', at('ca.crt'), '-CAkey', at('ca.key'), '-CAcreateserial', '-days', '30'];
  const files = ['-in', at('server.csr'), '-out', at('server.crt'), '-extfile', at('server.ext')];
  await run('openssl', ['x509', '-req', ...files, ...signing]);
  return {
    caPath: at('ca.crt'),
    certPath: at('server.crt'),
    keyPath: at('server.key'),
    caPem: readFileSync(at('ca.crt'), 'utf8'),
  };
}
