import type { BackendProtocol, BackendTls } from '../routes/backend-protocol.ts';
import { Ejection } from './ejection.ts';
import { Http2Pool, type Http2UpstreamConnection } from '../http2/http2-pool.ts';
import type { ProxyLimits } from '../proxy/limits.ts';
import type { ProxyMetrics } from '../observe/metrics.ts';
import type { Connection, ConnectionHandler, Transport } from '../transport/transport.ts';

/** Who uses an upstream connection at the moment. */
export type UpstreamOwner = {
  onUpstreamConnect(): void;
  onUpstreamData(data: Buffer): void;
  onUpstreamDrain(): void;
  onUpstreamEnd(): void;
  onUpstreamClose(error: string | undefined): void;
  onUpstreamTimeout(): void;
  /** The request waits for its answer, and nobody is there to give one: its endpoint cannot even be connected to. */
  onUpstreamLost(): void;
};

/** What is remembered of an endpoint from table to table, for as long as a table names it. */
export class UpstreamEndpoint {
  readonly address: string;
  readonly port: number;
  readonly key: string;
  readonly tls: BackendTls | undefined;
  /** See Backend.proxyProtocol. */
  readonly proxyProtocol: 1 | 2 | undefined;
  /** Why the last connection could not be made; undefined: it could. */
  lastError: string | undefined;
  /** Requests under way, tunnels among them. */
  pending = 0;
  /** Upgraded and relayed connections under way. */
  tunnels = 0;
  /** Connections made or being made. */
  connections = 0;
  /** Unused ones, the most recently used last. */
  readonly idle: UpstreamConnection[] = [];
  /** Those of HTTP/2, each for many requests. */
  readonly http2: Http2UpstreamConnection[] = [];
  readonly protocol: BackendProtocol;
  readonly ejection = new Ejection();
  /** When it was last asked whether it is there, because requests wait for it. */
  probedMs = Number.NEGATIVE_INFINITY;
  /** Number of the last table that names it. */
  generation = 0;
  /** No table names it any more: what is under way finishes, nothing is kept. */
  retired = false;
  readonly #connectionsMax: number;

  /** @param key "address:port", for people */
  constructor(
    key: string,
    address: string,
    port: number,
    connectionsMax: number,
    how: {
      readonly tls?: BackendTls | undefined;
      readonly protocol?: BackendProtocol;
      readonly proxyProtocol?: 1 | 2 | undefined;
    } = {},
  ) {
    this.key = key;
    this.address = address;
    this.port = port;
    this.tls = how.tls;
    this.protocol = how.protocol ?? 'http1';
    this.proxyProtocol = how.proxyProtocol;
    this.#connectionsMax = connectionsMax;
  }

  get avoided(): boolean {
    return this.ejection.active || this.full;
  }

  get full(): boolean {
    if (this.connections < this.#connectionsMax) return false;
    return this.idle.length === 0 && !this.http2.some((connection) => connection.takesMore);
  }
}

/** Which connections a request may go out on. `recent`: used a moment ago; `new`: none that was used before. */
export type ReusePolicy = 'any' | 'recent' | 'new';

/** A connection to an endpoint, used by one request at a time. */
export class UpstreamConnection implements ConnectionHandler {
  readonly endpoint: UpstreamEndpoint;
  readonly connection: Connection;
  owner: UpstreamOwner | undefined;
  connected = false;
  closed = false;
  /** It has carried a request before the current one. */
  reused = false;
  idleSinceMs = 0;
  deadlineMs = Number.POSITIVE_INFINITY;
  /** From then on it is strange that no answer has come: see ProxyLimits.upstreamStallMs. */
  stallMs = Number.POSITIVE_INFINITY;
  readonly #pool: UpstreamPool;

  constructor(
    pool: UpstreamPool,
    endpoint: UpstreamEndpoint,
    owner: UpstreamOwner,
    transport: Transport,
    preamble: Buffer | undefined,
  ) {
    this.#pool = pool;
    this.endpoint = endpoint;
    this.owner = owner;
    this.connection = transport.connect(endpoint.address, endpoint.port, this, endpoint.tls, preamble);
  }

  onConnect(): void {
    this.connected = true;
    this.#pool.reached(this.endpoint);
    this.owner?.onUpstreamConnect();
  }

  onData(data: Buffer): void {
    // Bytes that nobody asked for belong to no answer: the next request must not read them as its own.
    if (this.owner === undefined) this.destroy();
    else this.owner.onUpstreamData(data);
  }

  onDrain(): void {
    this.owner?.onUpstreamDrain();
  }

  onFinish(): void {}

  onEnd(): void {
    if (this.owner === undefined) this.destroy();
    else this.owner.onUpstreamEnd();
  }

  onClose(error: string | undefined): void {
    if (!this.connected && error !== undefined) this.#pool.notReached(this.endpoint, error);
    this.#pool.forget(this);
    const { owner } = this;
    this.owner = undefined;
    owner?.onUpstreamClose(error);
  }

  onTimeout(): void {
    if (this.owner === undefined) this.destroy();
    else this.owner.onUpstreamTimeout();
  }

  /** Gives it up: the owner hears nothing more. */
  destroy(): void {
    this.owner = undefined;
    this.#pool.forget(this);
    this.connection.destroy();
  }
}

/** All connections to endpoints. */
export class UpstreamPool {
  readonly connections = new Set<UpstreamConnection>();
  readonly http2: Http2Pool;
  readonly #transport: Transport;
  readonly #limits: ProxyLimits;
  readonly #metrics: ProxyMetrics;
  readonly #nowMs: () => number;
  readonly #onNotReached: (endpoint: UpstreamEndpoint, error: string) => void;

  /**
   * @param nowMs monotonic
   * @param onNotReached told once for as long as an endpoint fails in the same way
   */
  constructor(
    transport: Transport,
    limits: ProxyLimits,
    metrics: ProxyMetrics,
    nowMs: () => number,
    onNotReached: (endpoint: UpstreamEndpoint, error: string) => void = () => {},
  ) {
    this.#onNotReached = onNotReached;
    this.http2 = new Http2Pool({
      transport,
      limits,
      metrics,
      nowMs,
      onReached: (endpoint) => this.reached(endpoint),
      onNotReached: (endpoint, error) => this.notReached(endpoint, error),
      onStall: (endpoint) => this.#askAfter(endpoint, nowMs()),
    });
    this.#transport = transport;
    this.#nowMs = nowMs;
    this.#limits = limits;
    this.#metrics = metrics;
  }

  /**
   * An unused connection that `policy` allows, or a new one that is still to connect.
   * @param preamble the PROXY header of one client; then always a new one
   */
  acquire(
    endpoint: UpstreamEndpoint,
    owner: UpstreamOwner,
    policy: ReusePolicy,
    nowMs: number,
    preamble?: Buffer,
  ): UpstreamConnection {
    const latest = policy === 'new' || preamble !== undefined ? undefined : endpoint.idle.at(-1);
    if (
      latest !== undefined &&
      (policy === 'any' || nowMs - latest.idleSinceMs <= this.#limits.upstreamFreshMs)
    ) {
      endpoint.idle.pop();
      latest.owner = owner;
      latest.reused = true;
      latest.deadlineMs = Number.POSITIVE_INFINITY;
      return latest;
    }
    endpoint.connections += 1;
    this.#metrics.upstreamConnections += 1;
    this.#metrics.upstreamConnectionsMade += 1;
    const made = new UpstreamConnection(this, endpoint, owner, this.#transport, preamble);
    made.deadlineMs = nowMs + this.#limits.upstreamConnectTimeoutMs;
    this.connections.add(made);
    return made;
  }

  /** Takes back a connection whose last answer was whole. Beyond endpointIdleMax, or with its endpoint retired, it is closed. */
  release(connection: UpstreamConnection, nowMs: number): void {
    const { endpoint } = connection;
    connection.owner = undefined;
    const keeps = !endpoint.retired && endpoint.proxyProtocol === undefined;
    if (connection.closed || !keeps || endpoint.idle.length >= this.#limits.endpointIdleMax) {
      connection.destroy();
      return;
    }
    connection.idleSinceMs = nowMs;
    connection.deadlineMs = nowMs + this.#limits.upstreamIdleTimeoutMs;
    endpoint.idle.push(connection);
  }

  /** Closes the unused connections of an endpoint. */
  dropIdle(endpoint: UpstreamEndpoint): void {
    while (endpoint.idle.length > 0) endpoint.idle.at(-1)?.destroy();
    this.http2.dropIdle(endpoint);
  }

  /** A connection to it has failed. */
  eject(endpoint: UpstreamEndpoint, nowMs: number): void {
    endpoint.ejection.eject('connection', this.#limits.quarantineMs, this.#limits.quarantineMaxMs, nowMs);
  }

  reached(endpoint: UpstreamEndpoint): void {
    endpoint.lastError = undefined;
    if (endpoint.ejection.marked) endpoint.ejection.connected(this.#nowMs());
  }

  /**
   * Asks an endpoint by a connection of our own whether it is there, so that no request has to find out. If not, requests that
   * wait for its answer are told.
   */
  probe(endpoint: UpstreamEndpoint): void {
    const nowMs = this.#nowMs();
    endpoint.probedMs = nowMs;
    const lost = (): void => {
      this.eject(endpoint, this.#nowMs());
      this.dropIdle(endpoint);
      for (const { endpoint: other, owner } of this.connections) {
        if (other === endpoint) owner?.onUpstreamLost();
      }
      for (const shared of [...endpoint.http2]) shared.onEndpointLost();
    };
    const owner: UpstreamOwner = {
      onUpstreamConnect: () => {
        if (endpoint.protocol === 'http1') this.release(connection, this.#nowMs());
        else connection.destroy(); // to be connected was all that was asked
      },
      onUpstreamClose: lost,
      onUpstreamTimeout: () => {
        connection.destroy();
        lost();
      },
      onUpstreamLost: () => {},
      onUpstreamData: () => {},
      onUpstreamDrain: () => {},
      onUpstreamEnd: () => {},
    };
    const connection = this.acquire(endpoint, owner, 'new', nowMs);
  }

  /** For the worker's clock: probes of endpoints that are out, and where answers are long in coming. */
  tick(endpoints: Iterable<UpstreamEndpoint>, nowMs: number): void {
    for (const endpoint of endpoints) {
      if (endpoint.ejection.tick(nowMs)) this.probe(endpoint);
    }
    for (const upstream of this.connections) {
      if (upstream.deadlineMs <= nowMs) upstream.onTimeout();
      else if (upstream.stallMs <= nowMs) this.#askAfter(upstream.endpoint, nowMs);
    }
    this.http2.tick(nowMs);
  }

  #askAfter(endpoint: UpstreamEndpoint, nowMs: number): void {
    if (nowMs - endpoint.probedMs >= this.#limits.upstreamStallMs) this.probe(endpoint);
  }

  notReached(endpoint: UpstreamEndpoint, error: string): void {
    if (endpoint.lastError === error) return;
    endpoint.lastError = error;
    this.#onNotReached(endpoint, error);
  }

  forget(connection: UpstreamConnection): void {
    if (connection.closed) return;
    connection.closed = true;
    const { endpoint } = connection;
    this.connections.delete(connection);
    endpoint.connections -= 1;
    this.#metrics.upstreamConnections -= 1;
    const index = endpoint.idle.lastIndexOf(connection);
    if (index !== -1) endpoint.idle.splice(index, 1);
  }
}
