/** TLS connections whose clients are asked for a certificate. */
import { constants, X509Certificate } from 'node:crypto';
import type { Socket } from 'node:net';
import { createServer, type TLSSocket } from 'node:tls';
import { cutFailedHandshakes } from './net-failed-handshakes.ts';
import type { TlsSource } from './net-transport.ts';
import type { ClientCertificate, ClientTls } from './transport.ts';

export type AskingServer = {
  /** Takes a raw connection through the handshake. `named`: its client names a host. */
  take(socket: Socket, client: ClientTls, named: boolean): Promise<void>;
};

/**
 * Nobody is refused in the handshake: who has shown nothing good is told so in HTTP, by the host that wants it.
 * Sessions are not taken up, for they would bring along what was shown for another host.
 * @param options of a TLS server, without a context
 */
export function createAskingServer(
  tls: TlsSource,
  options: { readonly ALPNProtocols: string[]; readonly handshakeTimeout: number },
  onSecure: (socket: TLSSocket, certificate: ClientCertificate) => void,
): AskingServer {
  const server = createServer({
    ...options,
    secureOptions: constants.SSL_OP_NO_TICKET,
    requestCert: true,
    rejectUnauthorized: false,
    SNICallback: (serverName, callback) => {
      const client = tls.clientTlsFor(serverName);
      const context =
        client === undefined ? tls.contextFor(serverName) : tls.askingContextFor(serverName, client);
      Promise.resolve(context).then((found) => callback(null, found), callback);
    },
  });
  cutFailedHandshakes(server);
  const asked = new WeakMap<Socket, ClientTls>();
  const raws = new Map<string, Socket>(); // while they shake hands, by the client's end
  server.on('secureConnection', (socket) => {
    const end = endOf(socket);
    const client = asked.get(raws.get(end) ?? socket);
    raws.delete(end);
    if (client === undefined) socket.destroy();
    else onSecure(socket, shownBy(socket, client));
  });
  return {
    async take(socket, client, named) {
      const options = named ? undefined : tls.askingOptions(await tls.defaultPair(), client);
      if (socket.destroyed) return;
      const end = endOf(socket);
      asked.set(socket, client);
      raws.set(end, socket);
      socket.once('close', () => {
        if (raws.get(end) === socket) raws.delete(end);
      });
      if (options !== undefined) server.setSecureContext(options);
      server.emit('connection', socket);
    },
  };
}

/** Tells connections of one listener apart while they live. */
export function endOf({ remoteAddress, remotePort }: Socket): string {
  return `${remoteAddress} ${remotePort}`;
}

function shownBy(socket: TLSSocket, client: ClientTls): ClientCertificate {
  const { id } = client;
  const certificate = socket.getPeerX509Certificate();
  if (certificate === undefined) {
    return { policyId: id, verify: 'NONE', subject: '', issuer: '', escapedPem: '' };
  }
  return {
    policyId: id,
    verify: verdictOf(socket, client),
    subject: distinguishedName(certificate.subject),
    issuer: distinguishedName(certificate.issuer),
    escapedPem: encodeURIComponent(certificate.toString()),
  };
}

function verdictOf(socket: TLSSocket, client: ClientTls): string {
  if (!socket.authorized) return `FAILED:${String(socket.authorizationError)}`;
  return between(socket, anchorsOf(client)) > client.depth ? 'FAILED:CERT_CHAIN_TOO_LONG' : 'SUCCESS';
}

/** So many authorities stand between the client's certificate and the one that is believed, which the client need not send. */
function between(socket: TLSSocket, believed: ReadonlySet<string>): number {
  let count = 0;
  let before = socket.getPeerCertificate(true);
  for (;;) {
    const at = before.issuerCertificate;
    if (at === undefined || at.fingerprint256 === before.fingerprint256 || believed.has(at.fingerprint256)) {
      return count;
    }
    count += 1;
    before = at;
  }
}

const anchors = new WeakMap<ClientTls, ReadonlySet<string>>();

/** Fingerprints of the authorities that are believed. */
function anchorsOf(client: ClientTls): ReadonlySet<string> {
  let known = anchors.get(client);
  if (known === undefined) {
    const texts = client.ca.match(/-----BEGIN CERTIFICATE-----[^-]*-----END CERTIFICATE-----/g) ?? [];
    known = new Set(texts.map((text) => new X509Certificate(text).fingerprint256));
    anchors.set(client, known);
  }
  return known;
}

/** As RFC 2253 has it, the last part first; the runtime writes a part a line, the first one first. */
function distinguishedName(lines: string): string {
  const text = lines.split('\n').toReversed().join(',');
  return text.replaceAll(/[^\x20-\x7e]/gu, (char) =>
    [...Buffer.from(char)].map((byte) => `\\${byte.toString(16).toUpperCase().padStart(2, '0')}`).join(''),
  );
}
