import { connect, createServer, type Server, type Socket } from 'node:net';
import {
  checkServerIdentity,
  connect as connectTls,
  createSecureContext,
  createServer as createTlsServer,
  type SecureContext,
  TLSSocket,
  type Server as TlsServer,
} from 'node:tls';
import type { KeyPair } from '../../base/certificates.ts';
import { cutFailedHandshakes } from './net-failed-handshakes.ts';
import { isLent, lend } from './lent-memory.ts';
import { type AskingServer, createAskingServer, endOf } from './net-client-certificate.ts';
import { readHello, readProxyHeader } from './net-preread.ts';
import { secureContextOf } from './net-secure-context.ts';
import type { ProxyProtocolOptions } from './proxied-connection.ts';
import type { Peer } from './proxy-protocol.ts';
import { TlsSessions } from './tls-sessions.ts';
import { handshakeMs, serverTlsOptions, sessionIdContext, type TlsSource } from './tls-source.ts';
import type {
  AcceptedFrom,
  AcceptedTls,
  Acceptor,
  ClientCertificate,
  Connection,
  ConnectionEnds,
  ConnectionHandler,
  ConnectTls,
  Transport,
} from './transport.ts';

/** The transport on node:net. A connection's high-water mark is Node's default, 64 KiB. */
export const netTransport: ServerTransport = {
  name: 'net',
  connect(address, port, handler, tls, preamble) {
    if (tls !== undefined) return connectEncrypted(address, port, handler, tls, preamble);
    const onread = {
      buffer: readMemory,
      callback: (length: number) => {
        handler.onData(readMemory.subarray(0, length));
        return true;
      },
    };
    const socket = connect({ host: address, port, noDelay: true, allowHalfOpen: true, onread });
    if (preamble !== undefined) socket.write(preamble);
    const connection = new NetConnection(socket, '');
    socket.once('connect', () => handler.onConnect(''));
    attach(socket, handler, false);
    return connection;
  },
  listen: listenNet,
  close() {},
};

/** What plain connections to endpoints are read into: their bytes are lent for one call, as those of the ring are. */
const readMemory = Buffer.allocUnsafeSlow(65_536);
lend(readMemory);

/** What is kept for a ConnectTls. `context` undefined: its PEM texts cannot be used. */
type Client = { readonly context: SecureContext | undefined; readonly sessions: TlsSessions };

const clients = new WeakMap<ConnectTls, Client>();

function clientOf(tls: ConnectTls): Client {
  let client = clients.get(tls);
  if (client === undefined) {
    client = { context: clientContext(tls), sessions: new TlsSessions() };
    clients.set(tls, client);
  }
  return client;
}

function clientContext({ ca, clientCertificate }: ConnectTls): SecureContext | undefined {
  try {
    return createSecureContext({
      minVersion: 'TLSv1.2',
      ...(ca === undefined ? {} : { ca: ca === '' ? [] : ca }), // an empty list, unlike none, trusts nobody
      ...(clientCertificate === undefined
        ? {}
        : { cert: clientCertificate.certificate, key: clientCertificate.key }),
    });
  } catch {
    return undefined; // told to the connection's owner as a failure to connect
  }
}

function connectEncrypted(
  address: string,
  port: number,
  handler: ConnectionHandler,
  tls: ConnectTls,
  preamble: Buffer | undefined,
): Connection {
  const { context, sessions } = clientOf(tls);
  const place = `${address} ${port}`;
  const session = sessions.of(place);
  const raw = connect({ host: address, port, noDelay: true, allowHalfOpen: true });
  if (preamble !== undefined) raw.write(preamble);
  const socket = connectTls({
    socket: raw,
    servername: tls.serverName,
    rejectUnauthorized: tls.verify,
    checkServerIdentity: (_, certificate) => checkServerIdentity(tls.serverName, certificate),
    ...(context === undefined ? {} : { secureContext: context }),
    ...(session === undefined ? {} : { session }),
    ...(tls.protocols.length === 0 ? {} : { ALPNProtocols: [...tls.protocols] }),
  });
  socket.allowHalfOpen = true;
  socket.once('secureConnect', () => handler.onConnect(agreedProtocol(socket)));
  socket.on('session', (latest) => sessions.remember(place, latest));
  attach(socket, handler);
  if (context === undefined) socket.destroy(Object.assign(new Error('bad PEM'), { code: badPem }));
  return new NetConnection(socket, '');
}

/** How a connection fails whose CA or client certificate is no PEM. */
const badPem = 'ERR_TLS_BAD_PEM';

function tlsOf(socket: TLSSocket): AcceptedTls {
  const { servername } = socket as { servername?: string | false };
  return {
    version: socket.getProtocol() ?? '',
    serverName: typeof servername === 'string' ? servername.toLowerCase() : '',
  };
}

/** '' if none was. */
function agreedProtocol({ alpnProtocol }: TLSSocket): string {
  return typeof alpnProtocol === 'string' ? alpnProtocol : '';
}

class NetConnection implements Connection {
  readonly remoteAddress: string;
  readonly #socket: Socket;

  constructor(socket: Socket, remoteAddress: string) {
    this.#socket = socket;
    this.remoteAddress = remoteAddress;
  }

  ends(): ConnectionEnds | undefined {
    const { remotePort, localAddress, localPort } = this.#socket;
    if (remotePort === undefined || localAddress === undefined || localPort === undefined) return undefined;
    return {
      remote: { address: this.remoteAddress, port: remotePort },
      local: { address: plainAddress(localAddress), port: localPort },
    };
  }

  /** A socket that has handed all to the kernel, or to TLS, counts nothing as waiting. */
  get keepsNothing(): boolean {
    return this.#socket.writableLength === 0;
  }

  /** libuv tells of all sockets that are ready, then runs what was set for immediately. */
  atTurnEnd(callback: () => void): void {
    setImmediate(callback);
  }

  write(data: Buffer | string): boolean {
    const socket = this.#socket;
    if (socket.destroyed || socket.writableEnded) return true;
    if (typeof data === 'string') return socket.write(data, 'latin1');
    return socket.write(isLent(data) && this.#mayKeep() ? Buffer.from(data) : data);
  }

  /** TLS has encrypted what it is given before `write` returns, but while it is busy it is given nothing. */
  #mayKeep(): boolean {
    const socket = this.#socket;
    return socket.writableLength > 0 || socket.connecting || !(socket instanceof TLSSocket);
  }

  end(): void {
    if (!this.#socket.writableEnded) this.#socket.end();
  }

  destroy(): void {
    this.#socket.destroy();
  }

  pause(): void {
    this.#socket.pause();
  }

  resume(): void {
    this.#socket.resume();
  }
}

/** @param flows its bytes come as events */
function attach(socket: Socket, handler: ConnectionHandler, flows = true): void {
  let error: string | undefined;
  if (flows) socket.on('data', (data) => handler.onData(data as Buffer)); // no encoding is ever set
  socket.on('drain', () => handler.onDrain());
  socket.on('finish', () => handler.onFinish());
  socket.on('end', () => handler.onEnd());
  socket.on('error', (cause) => {
    error = 'code' in cause && typeof cause.code === 'string' ? cause.code : cause.name;
  });
  socket.on('close', () => handler.onClose(error));
}

/** Where to listen: an address, or a listening socket inherited as a file descriptor. */
export type ListenAt =
  | { readonly kind: 'address'; readonly host: string; readonly port: number }
  | { readonly kind: 'fd'; readonly fd: number };

export type Listener = {
  /** The port listened on; 0 if unknown. */
  readonly port: number;
  /** Takes no more connections; those that were accepted live on. Resolves when the last one has been handed over. */
  close(): Promise<void>;
};

export type ListenOptions = {
  /** Given: connections are TLS and get decrypted. */
  readonly tls?: TlsSource | undefined;
  /** What TLS clients are offered by ALPN, the best first. Default: HTTP/1.1 alone. A client that knows none of them is refused. */
  readonly protocols?: readonly string[] | undefined;
  /** TLS connections of proxies begin with a PROXY header, before TLS. For others wrap the acceptor by `acceptProxied`. */
  readonly proxyProtocol?: ProxyProtocolOptions | undefined;
  /** A client that does not finish its TLS handshake by then is cut, ms. Default: 10,000. */
  readonly handshakeTimeoutMs?: number | undefined;
  /** A connection could not be accepted or prepared, as without file descriptors. Listening goes on. */
  readonly onError: (error: Error) => void;
};

/** A transport that can also be connected to. */
export type ServerTransport = Transport & {
  readonly name: 'net' | 'uring';
  /** Why TLS of clients stays on node:tls although the transport would do it; undefined: it does. */
  readonly tlsProblem?: unknown;
  /** Rejects if the address cannot be listened on. */
  listen(at: ListenAt, acceptor: Acceptor, options: ListenOptions): Promise<Listener>;
  /** Frees what it holds. All listeners and connections must have closed. */
  close(): void;
};

const socketOptions = { allowHalfOpen: true, noDelay: true };

/** Rejects if the address cannot be listened on. */
export async function listenNet(at: ListenAt, acceptor: Acceptor, options: ListenOptions): Promise<Listener> {
  const { tls, onError } = options;
  const onSocket = (socket: Socket, from: AcceptedFrom = plain, client?: Peer): void => {
    const address = client?.address ?? plainAddress(socket.remoteAddress ?? '');
    const connection = new NetConnection(socket, address);
    const handler = acceptor.accept(connection, from);
    if (handler === undefined) {
      socket.on('error', ignoreError);
      socket.destroy();
      return;
    }
    attach(socket, handler);
  };
  const server = createServer(
    socketOptions,
    tls === undefined ? (socket) => onSocket(socket) : decrypted(tls, options, onSocket),
  );
  await listening(server, at);
  server.on('error', onError);
  const bound = server.address();
  return {
    port: typeof bound === 'object' && bound !== null ? bound.port : 0,
    close: () => {
      server.close(); // libuv accepts nothing from here on; its callback would wait for the connections to end
      return Promise.resolve();
    },
  };
}

const plain: AcceptedFrom = { scheme: 'http', protocol: '' };

/**
 * Takes raw connections through the TLS handshake. The default certificate is asked for with the first connection, not
 * at start: making it loads a library.
 */
function decrypted(
  tls: TlsSource,
  { protocols = ['http/1.1'], handshakeTimeoutMs = handshakeMs, proxyProtocol, onError }: ListenOptions,
  onSocket: (socket: Socket, from: AcceptedFrom, client: Peer | undefined) => void,
): (socket: Socket) => void {
  const server = tlsServer(tls, protocols, handshakeTimeoutMs);
  const clients = new Map<string, Peer>(); // behind proxies, by the proxy's end, while they shake hands
  const onSecure = (socket: TLSSocket, certificate?: ClientCertificate): void => {
    let client: Peer | undefined;
    if (clients.size > 0) {
      const end = endOf(socket);
      client = clients.get(end);
      clients.delete(end);
    }
    const from = { scheme: 'https', protocol: agreedProtocol(socket), tls: tlsOf(socket) } as const;
    onSocket(socket, certificate === undefined ? from : { ...from, certificate }, client);
  };
  server.on('secureConnection', onSecure);
  let asking: AskingServer | undefined; // most listeners need none
  const show = certificateShower(server, tls);
  /** Reads what comes before TLS. False: it does not come to TLS, or to another server. */
  const preread = async (socket: Socket): Promise<boolean> => {
    let client: Peer | undefined;
    if (proxyProtocol?.isTrusted(plainAddress(socket.remoteAddress ?? '')) === true) {
      const named = await readProxyHeader(socket, proxyProtocol);
      if (named === 'none') return false;
      client = named;
    }
    const hello = tls.looksAtHellos ? await readHello(socket, handshakeTimeoutMs) : undefined;
    if (hello === 'none') return false;
    if (hello !== undefined && tls.passesThrough(hello)) {
      onSocket(socket, { scheme: 'https', protocol: '', hello }, client);
      return false;
    }
    if (client !== undefined) {
      const end = endOf(socket);
      clients.set(end, client);
      socket.once('close', () => clients.delete(end));
    }
    const asked = hello === undefined ? undefined : tls.clientTlsFor(hello.serverName);
    if (asked === undefined) return true;
    const handshake = { ALPNProtocols: [...protocols], handshakeTimeout: handshakeTimeoutMs };
    asking ??= createAskingServer(tls, { ...serverTlsOptions, ...handshake }, onSecure);
    await asking.take(socket, asked, hello?.serverName !== undefined);
    return false;
  };
  const decrypt = (socket: Socket, pair: KeyPair): void => {
    show(pair);
    if (!socket.destroyed) server.emit('connection', socket);
  };
  const prepare = async (socket: Socket): Promise<void> => {
    if (await preread(socket)) decrypt(socket, await tls.pairFor(undefined));
  };
  return (socket) => {
    socket.on('error', ignoreError); // until the handshake is through nobody else listens
    const failed = (error: unknown): void => {
      socket.destroy();
      onError(error instanceof Error ? error : new Error(String(error)));
    };
    try {
      const pair = proxyProtocol === undefined && !tls.looksAtHellos ? tls.pairFor(undefined) : undefined;
      if (pair === undefined || pair instanceof Promise) prepare(socket).catch(failed);
      else decrypt(socket, pair);
    } catch (error) {
      failed(error);
    }
  };
}

function tlsServer(tls: TlsSource, protocols: readonly string[], handshakeTimeout: number): TlsServer {
  const server = createTlsServer({
    ...serverTlsOptions,
    sessionIdContext,
    ALPNProtocols: [...protocols],
    handshakeTimeout,
    SNICallback: (serverName, callback) => {
      const pair = tls.pairFor(serverName);
      if (pair instanceof Promise) pair.then(secureContextOf).then((made) => callback(null, made), callback);
      else callback(null, secureContextOf(pair));
    },
  });
  cutFailedHandshakes(server);
  return server;
}

/** Makes a server show a certificate to clients that name no host, and take up the sessions of the present ticket keys. */
function certificateShower(server: TlsServer, tls: TlsSource): (pair: KeyPair) => void {
  let shown: string | undefined;
  let ticketKeys: Buffer | undefined;
  return ({ certificate, key }) => {
    const keys = tls.ticketKeys();
    if (certificate !== shown) {
      const how = { ...serverTlsOptions, sessionIdContext, ticketKeys: keys };
      server.setSecureContext({ ...how, cert: certificate, key });
    } else if (keys !== ticketKeys) server.setTicketKeys(keys);
    shown = certificate;
    ticketKeys = keys;
  };
}

/** A connection that was refused on purpose may still report a reset; nobody is left to tell. */
function ignoreError(): void {}

function listening(server: Server, at: ListenAt): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.once('listening', () => {
      server.off('error', reject);
      resolve();
    });
    if (at.kind === 'fd') server.listen({ fd: at.fd });
    else server.listen({ host: at.host, port: at.port, backlog: 4096 });
  });
}

/** An IPv4 client of a dual-stack socket is shown as such: "::ffff:10.0.0.1" is 10.0.0.1. */
function plainAddress(address: string): string {
  return address.startsWith('::ffff:') && address.includes('.') ? address.slice(7) : address;
}
