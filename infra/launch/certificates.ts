import { chmodSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { run } from './command.js';

/** PEM files of a certificate authority, a server on 127.0.0.1, and a client. */
export interface Certificates {
  readonly ca: string;
  readonly serverKeyAndCertificate: string;
  readonly clientCertificate: string;
  readonly clientKey: string;
}

/** Makes them in a folder, good for a day; needs `openssl`. */
export async function makeCertificates(folder: string): Promise<Certificates> {
  const file = (name: string) => join(folder, name);
  await openssl('req -x509 -newkey rsa:2048 -nodes -days 1 -subj /CN=causeline-test-ca -keyout', [
    file('ca.key'),
    '-out',
    file('ca.pem'),
  ]);
  await sign(file, 'server', 'subjectAltName=IP:127.0.0.1,DNS:localhost');
  await sign(file, 'client', 'extendedKeyUsage=clientAuth');
  const together = readFileSync(file('server.key'), 'utf8') + readFileSync(file('server.pem'), 'utf8');
  writeFileSync(file('server-all.pem'), together);
  for (const secret of ['ca.key', 'server.key', 'server-all.pem', 'client.key']) chmodSync(file(secret), 0o600);
  return {
    ca: file('ca.pem'),
    serverKeyAndCertificate: file('server-all.pem'),
    clientCertificate: file('client.pem'),
    clientKey: file('client.key'),
  };
}

async function sign(file: (name: string) => string, who: string, extension: string): Promise<void> {
  const request = file(`${who}.csr`);
  writeFileSync(file(`${who}.ext`), `${extension}\n`);
  await openssl(`req -newkey rsa:2048 -nodes -subj /CN=${who} -keyout`, [file(`${who}.key`), '-out', request]);
  const signer = ['-CA', file('ca.pem'), '-CAkey', file('ca.key'), '-CAcreateserial', '-days', '1'];
  await openssl('x509 -req -in', [request, ...signer, '-extfile', file(`${who}.ext`), '-out', file(`${who}.pem`)]);
}

const openssl = (words: string, more: readonly string[]) => run('openssl', [...words.split(' '), ...more]);
