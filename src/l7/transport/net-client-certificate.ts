/** TLS connections whose clients are asked for a certificate. */
import { constants } from 'node:crypto';
import type { Socket } from 'node:net';
import {
  createSecureContext,
  createServer,
  type DetailedPeerCertificate,
  type SecureContext,
  type SecureContextOptions,
  type TLSSocket,
} from 'node:tls';
import type { KeyPair } from '../../base/certificates.ts';
import { cutFailedHandshakes } from './net-failed-handshakes.ts';
import { secureContextOf } from './net-secure-context.ts';
import { serverTlsOptions, type TlsSource } from './tls-source.ts';
import { nothingShown, shown, verdictOfChain } from './shown-certificate.ts';
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
      Promise.resolve(tls.pairFor(serverName))
        .then((pair) => (client === undefined ? secureContextOf(pair) : askingContextOf(pair, client)))
        .then((context) => callback(null, context), callback);
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
      const options = named ? undefined : askingOptions(await tls.pairFor(undefined), client);
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

/** Their sessions are never taken up: one made for another host proves nothing here. */
function askingOptions({ certificate, key }: KeyPair, { id, ca, crl }: ClientTls): SecureContextOptions {
  return {
    ...serverTlsOptions,
    cert: certificate,
    key,
    secureOptions: constants.SSL_OP_NO_TICKET,
    sessionIdContext: id,
    ca: ca === '' ? [] : ca, // an empty list, unlike none, believes nobody
    ...(crl === undefined ? {} : { crl }),
  };
}

const askingContexts = new WeakMap<ClientTls, WeakMap<KeyPair, SecureContext>>();

function askingContextOf(pair: KeyPair, client: ClientTls): SecureContext {
  const contexts = askingContexts.get(client) ?? new WeakMap<KeyPair, SecureContext>();
  askingContexts.set(client, contexts);
  const context = contexts.get(pair) ?? createSecureContext(askingOptions(pair, client));
  contexts.set(pair, context);
  return context;
}

/** Tells connections of one listener apart while they live. */
export function endOf({ remoteAddress, remotePort }: Socket): string {
  return `${remoteAddress} ${remotePort}`;
}

function shownBy(socket: TLSSocket, client: ClientTls): ClientCertificate {
  const certificate = socket.getPeerX509Certificate();
  return certificate === undefined
    ? nothingShown(client)
    : shown(client, certificate, verdictOf(socket, client));
}

function verdictOf(socket: TLSSocket, client: ClientTls): string {
  if (!socket.authorized) return `FAILED:${String(socket.authorizationError)}`;
  return verdictOfChain(client, chainOf(socket));
}

/** Fingerprints, from the client's certificate to the last that is known. */
function chainOf(socket: TLSSocket): readonly string[] {
  const chain: string[] = [];
  let at: DetailedPeerCertificate | undefined = socket.getPeerCertificate(true);
  while (at !== undefined && at.fingerprint256 !== chain.at(-1)) {
    chain.push(at.fingerprint256);
    at = at.issuerCertificate;
  }
  return chain;
}
