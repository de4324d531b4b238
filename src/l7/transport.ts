/**
 * What the protocol core needs of the network, and no more. Implementations: net-transport.ts on node:net and
 * node:tls, uring-transport.ts on io_uring. The core works on bytes and never imports a socket.
 */

/** One end of a byte stream. All calls are made from the one event loop. */
export type Connection = {
  readonly remoteAddress: string;
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

/** Who owns a connection's events. Exactly one `onClose` comes, and it is the last. */
export type ConnectionHandler = {
  /** Only for connections made by `connect`. */
  onConnect(): void;
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

export type Transport = {
  /** Never throws; failure comes as `onClose`. `address` is an IP or a DNS name. */
  connect(address: string, port: number, handler: ConnectionHandler): Connection;
};

/** What is known of a connection that a client has made. */
export type AcceptedFrom = {
  readonly scheme: 'http' | 'https';
};

/** The core's side of a listener: gets a connection, says who handles it; undefined: not taken, to be closed. */
export type Acceptor = {
  accept(connection: Connection, from: AcceptedFrom): ConnectionHandler | undefined;
};
