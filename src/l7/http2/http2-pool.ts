import { NO_ERROR } from './http2-frame.ts';
import { Http2Link } from './http2-link.ts';
import { Http2Session, type SessionHandler } from './http2-session.ts';
import { http2Options, type ProxyLimits } from '../proxy/limits.ts';
import type { ProxyMetrics } from '../observe/metrics.ts';
import type { Connection, ConnectionHandler, Transport } from '../transport/transport.ts';
import type { UpstreamEndpoint } from '../balance/upstream.ts';

/** A request on such a connection, as the connection sees it. */
export type Http2User = {
  readonly deadlineMs: number;
  /** From then on it is strange that no answer has come. */
  readonly stallMs: number;
  /** The connection is ready, and has a stream for it. */
  onReady(): void;
  /** The connection is ready, and has no stream for it: it needs another one. */
  onNoStream(): void;
  onConnectFailed(error: string | undefined): void;
  onTimeout(): void;
  /** Its endpoint cannot even be connected to. */
  onLost(): void;
};

/** How a connection fails whose peer speaks TLS but not HTTP/2. */
const notAgreed = 'ERR_HTTP2_NOT_AGREED';

/** A connection of HTTP/2 to an endpoint, shared by many requests. */
export class Http2UpstreamConnection implements ConnectionHandler, SessionHandler {
  readonly endpoint: UpstreamEndpoint;
  readonly session: Http2Session;
  readonly link: Http2Link;
  readonly users = new Set<Http2User>();
  /** Its settings have come: only then it is known how many streams it takes, and that it speaks HTTP/2 at all. */
  ready = false;
  /** Why the connection is gone; undefined while it is not. */
  lost: string | undefined;
  /** Requests sent on it. */
  requests = 0;
  deadlineMs: number;
  /**
   * An answer has come, in part at least, since it was last asked for a sign of life. Servers of gRPC count those who ask without that
   * more often than every five minutes, and end their connections.
   */
  heard = true;
  readonly #pool: Http2Pool;
  readonly #connection: Connection;
  readonly #limits: ProxyLimits;
  readonly #waiting = new Set<Http2User>();
  /** The PROXY header that it began with: it is for that client's requests only. */
  readonly #preamble: Buffer | undefined;
  #receivedMs: number;
  #pingSentMs: number | undefined;
  #suspect = false; // its endpoint was not there when it was asked: only what is under way goes on

  constructor(
    pool: Http2Pool,
    endpoint: UpstreamEndpoint,
    transport: Transport,
    limits: ProxyLimits,
    nowMs: number,
    preamble: Buffer | undefined,
  ) {
    this.#preamble = preamble;
    this.#pool = pool;
    this.#limits = limits;
    this.endpoint = endpoint;
    this.#receivedMs = nowMs;
    this.deadlineMs = nowMs + limits.upstreamConnectTimeoutMs;
    this.session = new Http2Session(http2Options(limits, 'client'), this);
    this.#connection = transport.connect(endpoint.address, endpoint.port, this, endpoint.tls, preamble);
    this.link = new Http2Link(this.session, this.#connection);
  }

  /** A request can begin, now or when the connection is ready. */
  get takesMore(): boolean {
    const { session } = this;
    if (this.lost !== undefined || this.#suspect || session.failed || session.goingAway) return false;
    const most = Math.min(this.#limits.upstreamStreamsMax, session.peer.streamsMax);
    return session.streams.size + this.#waiting.size < most;
  }

  isFor(preamble: Buffer | undefined): boolean {
    if (preamble === undefined || this.#preamble === undefined) return preamble === this.#preamble;
    return this.#preamble.equals(preamble);
  }

  /** `user` hears of it by `onReady`, if the connection is not ready yet. */
  join(user: Http2User): void {
    this.users.add(user);
    if (!this.ready) this.#waiting.add(user);
  }

  leave(user: Http2User): void {
    this.users.delete(user);
    this.#waiting.delete(user);
    if (this.users.size > 0) return;
    const { session, endpoint } = this;
    if (session.goingAway || session.failed || this.#suspect || endpoint.retired) this.close();
    else if (this.ready) this.deadlineMs = this.#pool.nowMs() + this.#limits.upstreamIdleTimeoutMs;
  }

  onConnect(protocol: string): void {
    if (this.endpoint.tls !== undefined && protocol !== 'h2') this.#lose(notAgreed);
    else this.link.flush();
  }

  onSettings(): void {
    if (this.ready) return;
    this.ready = true;
    this.deadlineMs = Number.POSITIVE_INFINITY;
    this.#pool.onReached(this.endpoint);
    const waiting = [...this.#waiting];
    this.#waiting.clear();
    for (const user of waiting) {
      if (this.takesMore) user.onReady();
      else {
        this.users.delete(user);
        user.onNoStream();
      }
    }
    if (this.users.size === 0) this.deadlineMs = this.#pool.nowMs() + this.#limits.upstreamIdleTimeoutMs;
  }

  onData(data: Buffer): void {
    const nowMs = this.#pool.nowMs();
    this.#receivedMs = nowMs;
    this.#pingSentMs = undefined;
    this.session.receive(data, nowMs);
    this.link.flush();
  }

  onDrain(): void {
    this.link.onDrain();
  }

  onFinish(): void {}

  onEnd(): void {
    this.#lose('closed');
  }

  onClose(error: string | undefined): void {
    this.#lose(error ?? 'closed');
  }

  onEndpointLost(): void {
    this.#suspect = true;
    for (const user of [...this.users]) user.onLost();
    if (this.users.size === 0) this.close();
  }

  onRequest(): void {} // towards an endpoint none can come

  onGoaway(): void {
    if (this.users.size === 0) this.close();
  }

  onPong(): void {}

  onStreamClosed(): void {}

  onFailure(): void {
    this.link.flush();
    this.#lose('EPROTO');
  }

  /** For the worker's clock. */
  tick(nowMs: number): void {
    if (this.deadlineMs <= nowMs) {
      if (this.ready) this.close();
      else this.#lose('ETIMEDOUT');
      return;
    }
    let stalls = false;
    for (const user of this.users) {
      if (user.deadlineMs <= nowMs) user.onTimeout();
      else if (user.stallMs <= nowMs) {
        stalls = true;
        this.#pool.onStall(this.endpoint);
      }
    }
    if (this.ready && this.users.size > 0) this.#askForLife(nowMs, stalls);
  }

  /** An endpoint that can be connected to may still have forgotten this connection, or a box between us may have. */
  #askForLife(nowMs: number, stalls: boolean): void {
    const { upstreamPingIntervalMs, upstreamPingTimeoutMs, upstreamStallMs } = this.#limits;
    const silentMs = nowMs - this.#receivedMs;
    if (this.#pingSentMs !== undefined) {
      if (nowMs - this.#pingSentMs >= upstreamPingTimeoutMs) this.#lose('ETIMEDOUT');
    } else if (silentMs >= upstreamPingIntervalMs || (stalls && this.heard && silentMs >= upstreamStallMs)) {
      this.#pingSentMs = nowMs;
      this.heard = false;
      this.session.ping();
      this.link.flush();
    }
  }

  /** Ends it in peace. Only while nobody uses it. */
  close(): void {
    if (this.lost !== undefined) return;
    if (!this.session.failed) this.session.fail(NO_ERROR, '');
    else this.#lose('closed');
  }

  /** Cuts it at once: for a worker that stops. */
  destroy(): void {
    this.#lose('closed');
  }

  #lose(error: string): void {
    if (this.lost !== undefined) return;
    this.lost = error;
    this.#pool.forget(this);
    this.#connection.destroy();
    if (!this.ready) this.#pool.onNotReached(this.endpoint, error);
    const waiting = [...this.#waiting];
    this.#waiting.clear();
    for (const user of waiting) {
      this.users.delete(user);
      user.onConnectFailed(error);
    }
    this.session.lose(NO_ERROR);
  }
}

/** What the pool tells of endpoints. */
export type Http2PoolDeps = {
  readonly transport: Transport;
  readonly limits: ProxyLimits;
  readonly metrics: ProxyMetrics;
  /** Monotonic. */
  readonly nowMs: () => number;
  readonly onReached: (endpoint: UpstreamEndpoint) => void;
  readonly onNotReached: (endpoint: UpstreamEndpoint, error: string) => void;
  /** A request has waited strangely long for its answer. */
  readonly onStall: (endpoint: UpstreamEndpoint) => void;
};

/** All connections of HTTP/2 to endpoints. */
export class Http2Pool {
  readonly connections = new Set<Http2UpstreamConnection>();
  readonly nowMs: () => number;
  readonly onReached: Http2PoolDeps['onReached'];
  readonly onNotReached: Http2PoolDeps['onNotReached'];
  readonly onStall: Http2PoolDeps['onStall'];
  readonly #transport: Transport;
  readonly #limits: ProxyLimits;
  readonly #metrics: ProxyMetrics;

  constructor({ transport, limits, metrics, nowMs, onReached, onNotReached, onStall }: Http2PoolDeps) {
    this.onStall = onStall;
    this.#transport = transport;
    this.#limits = limits;
    this.#metrics = metrics;
    this.nowMs = nowMs;
    this.onReached = onReached;
    this.onNotReached = onNotReached;
  }

  /** One that takes a request more, or a new one. */
  acquire(endpoint: UpstreamEndpoint, preamble: Buffer | undefined): Http2UpstreamConnection {
    for (const connection of endpoint.http2) {
      if (connection.takesMore && connection.isFor(preamble)) {
        if (connection.ready) connection.deadlineMs = Number.POSITIVE_INFINITY;
        return connection;
      }
    }
    endpoint.connections += 1;
    this.#metrics.upstreamConnections += 1;
    this.#metrics.upstreamConnectionsMade += 1;
    const made = new Http2UpstreamConnection(
      this,
      endpoint,
      this.#transport,
      this.#limits,
      this.nowMs(),
      preamble,
    );
    endpoint.http2.push(made);
    this.connections.add(made);
    return made;
  }

  forget(connection: Http2UpstreamConnection): void {
    if (!this.connections.delete(connection)) return;
    const { endpoint } = connection;
    endpoint.connections -= 1;
    this.#metrics.upstreamConnections -= 1;
    endpoint.http2.splice(endpoint.http2.indexOf(connection), 1);
  }

  /** Closes the unused connections of an endpoint. */
  dropIdle(endpoint: UpstreamEndpoint): void {
    for (const connection of [...endpoint.http2]) {
      if (connection.users.size === 0) connection.close();
    }
  }

  tick(nowMs: number): void {
    for (const connection of this.connections) connection.tick(nowMs);
  }

  /** Cuts all. */
  close(): void {
    for (const connection of this.connections) connection.destroy();
  }
}
