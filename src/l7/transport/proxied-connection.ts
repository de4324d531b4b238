import { type Peer, parseProxyHeader } from './proxy-protocol.ts';
import type { AcceptedFrom, Acceptor, Connection, ConnectionHandler } from './transport.ts';

export type ProxyProtocolOptions = {
  /** Whether a peer is a proxy of ours: only these must, and may, begin with a PROXY header. Others are served as they come. */
  isTrusted(address: string): boolean;
  /** A proxy that has not sent its header whole by then is cut, ms. */
  readonly timeoutMs: number;
  /** As Clock.after. */
  after(ms: number, callback: () => void): () => void;
};

/** An acceptor for connections that come through proxies: `inner` gets them without the header, as if the client had connected. */
export function acceptProxied(inner: Acceptor, options: ProxyProtocolOptions): Acceptor {
  return {
    accept: (connection, from) =>
      options.isTrusted(connection.remoteAddress)
        ? new HeaderReader(inner, connection, from, options)
        : inner.accept(connection, from),
  };
}

/** Reads the header, then passes everything on. Keeps at most one header's bytes. */
class HeaderReader implements ConnectionHandler {
  readonly #acceptor: Acceptor;
  readonly #connection: Connection;
  readonly #from: AcceptedFrom;
  readonly #cancelTimeout: () => void;
  #bytes: Buffer | undefined;
  #handler: ConnectionHandler | undefined;

  constructor(acceptor: Acceptor, connection: Connection, from: AcceptedFrom, options: ProxyProtocolOptions) {
    this.#acceptor = acceptor;
    this.#connection = connection;
    this.#from = from;
    this.#cancelTimeout = options.after(options.timeoutMs, () => connection.destroy());
  }

  onConnect(): void {}

  onData(data: Buffer): void {
    if (this.#handler !== undefined) {
      this.#handler.onData(data);
      return;
    }
    const bytes = this.#bytes === undefined ? data : Buffer.concat([this.#bytes, data]);
    const header = parseProxyHeader(bytes);
    if (header.kind === 'more') {
      this.#bytes = Buffer.from(bytes);
      return;
    }
    this.#cancelTimeout();
    this.#bytes = undefined;
    if (header.kind === 'failure') {
      this.#connection.destroy(); // who is no proxy of ours learns nothing; a proxy is set up wrongly
      return;
    }
    const connection =
      header.source === undefined ? this.#connection : behind(this.#connection, header.source);
    const handler = this.#acceptor.accept(connection, this.#from);
    if (handler === undefined) {
      this.#connection.destroy();
      return;
    }
    this.#handler = handler;
    if (header.length < bytes.length) handler.onData(bytes.subarray(header.length));
  }

  onDrain(): void {
    this.#handler?.onDrain();
  }

  onFinish(): void {
    this.#handler?.onFinish();
  }

  onEnd(): void {
    if (this.#handler === undefined) this.#connection.destroy();
    else this.#handler.onEnd();
  }

  onClose(error: string | undefined): void {
    this.#cancelTimeout();
    this.#handler?.onClose(error);
  }
}

/** The same connection, with the client's address. */
function behind(connection: Connection, client: Peer): Connection {
  return {
    remoteAddress: client.address,
    copies: connection.copies === true,
    get keepsNothing() {
      return connection.keepsNothing === true;
    },
    ...(connection.atTurnEnd === undefined
      ? {}
      : { atTurnEnd: (callback) => connection.atTurnEnd?.(callback) }),
    ends: () => {
      const ends = connection.ends?.();
      return ends === undefined ? undefined : { ...ends, remote: client };
    },
    write: (data) => connection.write(data),
    end: () => connection.end(),
    destroy: () => connection.destroy(),
    pause: () => connection.pause(),
    resume: () => connection.resume(),
  };
}
