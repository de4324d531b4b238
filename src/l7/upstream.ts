import type { BackendTls } from './backend-protocol.ts';
import type { ProxyLimits } from './limits.ts';
import type { ProxyMetrics } from './metrics.ts';
import type { Connection, ConnectionHandler, Transport } from './transport.ts';

/** Who uses an upstream connection at the moment. */
export type UpstreamOwner = {
  onUpstreamConnect(): void;
  onUpstreamData(data: Buffer): void;
  onUpstreamDrain(): void;
  onUpstreamEnd(): void;
  onUpstreamClose(error: string | undefined): void;
  onUpstreamTimeout(): void;
};

/** What is remembered of an endpoint from table to table, for as long as a table names it. */
export class UpstreamEndpoint {
  readonly address: string;
  readonly port: number;
  readonly key: string;
  readonly tls: BackendTls | undefined;
  /** Why the last connection could not be made; undefined: it could. */
  lastError: string | undefined;
  /** Requests under way. */
  pending = 0;
  /** Connections made or being made. */
  connections = 0;
  /** Unused ones, the most recently used last. */
  readonly idle: UpstreamConnection[] = [];
  /** It has just failed: see ProxyLimits.quarantineMs. */
  quarantinedUntilMs = 0;
  quarantined = false;
  /** Number of the last table that names it. */
  generation = 0;
  /** No table names it any more: what is under way finishes, nothing is kept. */
  retired = false;
  readonly #connectionsMax: number;

  /** @param key "address:port", for people */
  constructor(key: string, address: string, port: number, connectionsMax: number, tls?: BackendTls) {
    this.key = key;
    this.address = address;
    this.port = port;
    this.tls = tls;
    this.#connectionsMax = connectionsMax;
  }

  get avoided(): boolean {
    return this.quarantined || this.full;
  }

  get full(): boolean {
    return this.connections >= this.#connectionsMax && this.idle.length === 0;
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
  readonly #pool: UpstreamPool;

  constructor(pool: UpstreamPool, endpoint: UpstreamEndpoint, owner: UpstreamOwner, transport: Transport) {
    this.#pool = pool;
    this.endpoint = endpoint;
    this.owner = owner;
    this.connection = transport.connect(endpoint.address, endpoint.port, this, endpoint.tls);
  }

  onConnect(): void {
    this.connected = true;
    this.endpoint.quarantined = false;
    this.endpoint.lastError = undefined;
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
  readonly #transport: Transport;
  readonly #limits: ProxyLimits;
  readonly #metrics: ProxyMetrics;
  readonly #onNotReached: (endpoint: UpstreamEndpoint, error: string) => void;

  /** @param onNotReached told once for as long as an endpoint fails in the same way */
  constructor(
    transport: Transport,
    limits: ProxyLimits,
    metrics: ProxyMetrics,
    onNotReached: (endpoint: UpstreamEndpoint, error: string) => void = () => {},
  ) {
    this.#onNotReached = onNotReached;
    this.#transport = transport;
    this.#limits = limits;
    this.#metrics = metrics;
  }

  /** An unused connection that `policy` allows, or a new one that is still to connect. */
  acquire(
    endpoint: UpstreamEndpoint,
    owner: UpstreamOwner,
    policy: ReusePolicy,
    nowMs: number,
  ): UpstreamConnection {
    const latest = policy === 'new' ? undefined : endpoint.idle.at(-1);
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
    const made = new UpstreamConnection(this, endpoint, owner, this.#transport);
    made.deadlineMs = nowMs + this.#limits.upstreamConnectTimeoutMs;
    this.connections.add(made);
    return made;
  }

  /** Takes back a connection whose last answer was whole. Beyond endpointIdleMax, or with its endpoint retired, it is closed. */
  release(connection: UpstreamConnection, nowMs: number): void {
    const { endpoint } = connection;
    connection.owner = undefined;
    if (connection.closed || endpoint.retired || endpoint.idle.length >= this.#limits.endpointIdleMax) {
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
  }

  quarantine(endpoint: UpstreamEndpoint, nowMs: number): void {
    endpoint.quarantined = true;
    endpoint.quarantinedUntilMs = nowMs + this.#limits.quarantineMs;
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
