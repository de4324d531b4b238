/**
 * What the protocol core needs of the network, and no more. Implementations: net-transport.ts on node:net and
 * node:tls, uring-transport.ts on io_uring. The core works on bytes and never imports a socket.
 */

import type { ClientHello } from '../passthrough/client-hello.ts';
import type { Peer } from './proxy-protocol.ts';

/** One end of a byte stream. All calls are made from the one event loop. */
export type Connection = {
  readonly remoteAddress: string;
  /** Both ends of an accepted connection; undefined if they are not known any more. Costs system calls. */
  ends?(): ConnectionEnds | undefined;
  /** True: `write` copies at once, so that nothing is saved by joining small writes, or by keeping a big one apart. */
  readonly copies?: boolean;
  /** Nothing that was given to `write` is kept: its buffers may be changed again. */
  readonly keepsNothing?: boolean;
  /**
   * Calls back once, when the events of this turn have been told and before what is queued leaves: what they cause on a
   * connection gathers till then. It comes even if the connection ends meanwhile.
   */
  atTurnEnd?(callback: () => void): void;
  /**
   * Queues bytes. A string is Latin-1. The transport may keep the buffer until it is sent, so it must not be changed.
   * False: more is queued than the high-water mark, so stop and wait for `onDrain`. After the end it does nothing.
   */
  write(data: Buffer | string): boolean;
  /** Sends what is queued, then ends our direction. */
  end(): void;
  /** Drops the connection now, with what is queued. */
  destroy(): void;
  /** Stops and restarts `onData`. One more call may come after `pause`. */
  pause(): void;
  resume(): void;
};

export type ConnectionEnds = { readonly remote: Peer; readonly local: Peer };

/** Who owns a connection's events. Exactly one `onClose` comes, and it is the last. */
export type ConnectionHandler = {
  /** Only for connections made by `connect`. `protocol`: what TLS has agreed on by ALPN; '' for nothing, or without TLS. */
  onConnect(protocol: string): void;
  /** `data` is valid only until this returns, except where it is given to `write` of a connection meanwhile. */
  onData(data: Buffer): void;
  /** What was queued is below the mark again. Not told after `end`. */
  onDrain(): void;
  /** After `end`: all that was queued has been handed to the network. */
  onFinish(): void;
  /** The peer has ended its direction. Ours stays open. */
  onEnd(): void;
  /** `error`: a code such as ECONNREFUSED if it did not end in peace. */
  onClose(error: string | undefined): void;
};

/**
 * How a connection that we make is encrypted. Immutable: its parsed keys and its sessions are kept by its identity, so use one object
 * for all connections that are meant alike.
 */
export type ConnectTls = {
  /** A DNS name: sent as SNI, and what the peer's certificate must be for. */
  readonly serverName: string;
  /** False: any certificate does. */
  readonly verify: boolean;
  /** PEM of the authorities believed in. undefined: those that the runtime knows; '': none, so that every certificate is refused. */
  readonly ca: string | undefined;
  /** PEM; undefined: none is shown. */
  readonly clientCertificate: { readonly certificate: string; readonly key: string } | undefined;
  /** Protocols offered by ALPN, the best first. Empty: no ALPN. */
  readonly protocols: readonly string[];
};

export type Transport = {
  /** `performance.now()`, or when what is being told at the moment came. Read often. */
  readonly nowMs?: () => number;
  /**
   * Never throws; failure comes as `onClose`. `address` is an IP or a DNS name. With `tls` `onConnect` comes when the handshake is
   * through and the peer is who it should be; else `onClose` with the reason, such as ERR_TLS_CERT_ALTNAME_INVALID.
   * @param preamble sent before all else, in the clear
   */
  connect(
    address: string,
    port: number,
    handler: ConnectionHandler,
    tls?: ConnectTls,
    preamble?: Buffer,
  ): Connection;
};

/** How clients that name a host show who they are. Kept by its identity like ConnectTls. */
export type ClientTls = {
  /** Equal for equal content: what is known of a client by one may be asked by the other. */
  readonly id: string;
  /** PEM of the authorities believed in; '': none. */
  readonly ca: string;
  /** PEM of what they have revoked; undefined: nothing is known. */
  readonly crl: string | undefined;
  /** Authorities that may stand between. */
  readonly depth: number;
};

/** What a client has shown in its handshake. */
export type ClientCertificate = {
  /** Of the ClientTls that it was asked by. */
  readonly policyId: string;
  /** SUCCESS, NONE, or FAILED: and why. */
  readonly verify: string;
  /** As in RFC 2253, in printable ASCII: CN=…,O=…; '' without. */
  readonly subject: string;
  readonly issuer: string;
  /** PEM, escaped for a URL; '' without. */
  readonly escapedPem: string;
};

/** How a connection was encrypted: as `TLSv1.3`; the name that the client asked for, '' for none. */
export type AcceptedTls = { readonly version: string; readonly serverName: string };

/** What is known of a connection that a client has made. */
export type AcceptedFrom = {
  readonly scheme: 'http' | 'https';
  /** What was agreed on by ALPN; '' for nothing, or without TLS. */
  readonly protocol: string;
  /** undefined: it was not decrypted. */
  readonly tls?: AcceptedTls | undefined;
  /** Given: TLS does not end here. It is still to come, from its first byte on, which is known to begin with this. */
  readonly hello?: ClientHello | undefined;
  /** undefined: it was not asked for one. */
  readonly certificate?: ClientCertificate | undefined;
};

/** The core's side of a listener: gets a connection, says who handles it; undefined: not taken, to be closed. */
export type Acceptor = {
  accept(connection: Connection, from: AcceptedFrom): ConnectionHandler | undefined;
};
