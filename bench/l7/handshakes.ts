/**
 * TLS 1.3 connections, each for one request: what a whole handshake costs the proxy, and one that takes up a session. The key exchange
 * is X25519 for all: what one library can do beyond another's (ML-KEM) is not what is compared.
 */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { connect, type TLSSocket } from 'node:tls';
import { createAuthority } from '../../src/base/certificates.ts';
import { cpuOf } from './load.ts';
import type { Site } from './proxies.ts';

export type Handshakes = {
  /** CPU of the proxy a connection, µs. */
  readonly cpuUs: number;
  readonly failed: number;
  /** Connections that took up a session. */
  readonly resumed: number;
};

/** An EC certificate for `host`, in files for all proxies alike. */
export async function makeCertificate(
  folder: string,
  host: string,
): Promise<NonNullable<Site['certificate']>> {
  const notBefore = new Date(Date.now() - 3_600_000);
  const notAfter = new Date(Date.now() + 86_400_000);
  const authority = await createAuthority('bench', notBefore, notAfter);
  const pair = await authority.issue({
    commonName: host,
    dnsNames: [host],
    usage: 'server',
    notBefore,
    notAfter,
  });
  const files = {
    certFile: join(folder, 'tls.crt'),
    keyFile: join(folder, 'tls.key'),
    bothFile: join(folder, 'tls.pem'),
  };
  writeFileSync(files.certFile, pair.certificate);
  writeFileSync(files.keyFile, pair.key);
  writeFileSync(files.bothFile, `${pair.certificate}\n${pair.key}`);
  return files;
}

export async function measureHandshakes(
  pid: number,
  port: number,
  host: string,
  options: { readonly count: number; readonly concurrency: number; readonly resume: boolean },
): Promise<Handshakes> {
  let session: Buffer | undefined;
  if (options.resume) session = (await visit(port, host, undefined)).session;
  const before = cpuOf(pid);
  let left = options.count;
  let failed = 0;
  let resumed = 0;
  const lane = async (): Promise<void> => {
    while (left > 0) {
      left -= 1;
      const visited = await visit(port, host, session);
      if (!visited.answered) failed += 1;
      if (visited.resumed) resumed += 1;
    }
  };
  await Promise.all(Array.from({ length: options.concurrency }, lane));
  const after = cpuOf(pid);
  const cpuUs = (after.userUs + after.systemUs - before.userUs - before.systemUs) / options.count;
  return { cpuUs, failed, resumed };
}

type Visit = { readonly answered: boolean; readonly resumed: boolean; readonly session: Buffer | undefined };

function visit(port: number, host: string, session: Buffer | undefined): Promise<Visit> {
  return new Promise((resolve) => {
    let text = '';
    let latest: Buffer | undefined;
    let resumed = false;
    const socket: TLSSocket = connect({
      port,
      host: '127.0.0.1',
      servername: host,
      rejectUnauthorized: false,
      minVersion: 'TLSv1.3',
      ecdhCurve: 'X25519',
      ...(session === undefined ? {} : { session }),
    });
    socket.on('secureConnect', () => {
      resumed = socket.isSessionReused();
      socket.write(`GET / HTTP/1.1\r\nHost: ${host}\r\nConnection: close\r\n\r\n`);
    });
    socket.on('session', (given) => {
      latest = given;
    });
    socket.on('data', (data) => {
      text += String(data);
    });
    socket.on('error', () => {});
    socket.on('end', () => socket.end());
    socket.on('close', () =>
      resolve({ answered: text.startsWith('HTTP/1.1 200'), resumed, session: latest }),
    );
  });
}
