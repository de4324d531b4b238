import type { Clock } from '../../base/clock.ts';
import { BackendMetrics } from '../observe/backend-metrics.ts';
import { vacantRef } from '../routes/backend-refs.ts';
import { BackendState } from '../balance/backend-state.ts';
import { defaultBalance } from '../balance/balance-policy.ts';
import { ClientConnection, type ClientHandler, type ClientOwner } from '../http1/client-connection.ts';
import type { AccessRecord, ProxyContext } from './context.ts';
import type { LiveEndpoint } from '../routes/explain.ts';
import { FieldLines } from '../http1/http1-fields.ts';
import { httpDates } from './http-date.ts';
import { Http2ClientConnection } from '../http2/http2-client-connection.ts';
import type { ProxyLimits } from './limits.ts';
import { ProxyMetrics } from '../observe/metrics.ts';
import { type CountReport, CountReporter } from '../policy/group-counts.ts';
import { PolicyStates } from '../policy/policy-states.ts';
import type { BelievedFields, ForwardedStyle } from './headers.ts';
import { randomFrom } from '../balance/random.ts';
import { RelayedConnection } from '../passthrough/relayed-connection.ts';
import type { RequestMarker } from './request-marks.ts';
import {
  type Backend,
  type Endpoint,
  emptyRouteTable,
  endpointKey,
  type RouteTable,
} from '../routes/table.ts';
import type {
  AcceptedFrom,
  Acceptor,
  Connection,
  ConnectionHandler,
  Transport,
} from '../transport/transport.ts';
import { UpstreamEndpoint, UpstreamPool } from '../balance/upstream.ts';

export type ProxyOptions = {
  readonly limits: ProxyLimits;
  /** Whether a client of that address is a proxy whose X-Forwarded-… are believed. */
  readonly isTrusted: (address: string) => boolean;
  /** See ProxyContext. Default: 0. */
  readonly trustedHops?: number;
  /** How endpoints are told of the client. Default: `x`. */
  readonly forwarded?: ForwardedStyle;
  /** What trusted proxies are believed by. Default: `x`. */
  readonly believes?: BelievedFields;
  readonly marker?: RequestMarker | undefined;
  /** Tells the other workers of the group what this one has counted, a few times a second; undefined: there are none. */
  readonly shareCounts?: ((report: CountReport) => void) | undefined;
  readonly onAccess?: ((record: AccessRecord) => void) | undefined;
  /** No connection to that endpoint could be made, as by that code; told once until one can be. */
  readonly onNotReached?: ((endpoint: string, error: string) => void) | undefined;
};

/**
 * One worker: takes connections, routes their requests by the table published last. It shares nothing with other
 * workers but the listening port.
 */
export class ProxyWorker implements Acceptor {
  readonly metrics = new ProxyMetrics();
  readonly #context: ProxyContext;
  readonly #options: ProxyOptions;
  readonly #clock: Clock;
  readonly #clients = new Set<ClientHandler>();
  readonly #endpoints = new Map<string, UpstreamEndpoint>();
  /** By Backend.id. */
  readonly #states = new Map<string, BackendState>();
  readonly #random: () => number;
  readonly #reporter: CountReporter | undefined;
  /** Stands where a table has no backend: no route leads there. */
  readonly #vacant: BackendState;
  readonly #tickMs: number;
  #generation = 0; // of tables
  #cancelTick: (() => void) | undefined;
  #drained: (() => void) | undefined;
  #closed = false;
  readonly #clientOwner: ClientOwner = {
    onClosed: (client) => {
      this.#clients.delete(client);
      this.metrics.clientConnections -= 1;
      if (this.#clients.size === 0) this.#drained?.();
    },
    onReplaced: (client, by) => {
      this.#clients.delete(client);
      this.#clients.add(by);
    },
  };

  constructor(transport: Transport, clock: Clock, options: ProxyOptions) {
    const { limits } = options;
    const nowMs = transport.nowMs ?? ((): number => clock.monotonicMs());
    this.#random = randomFrom(clock.nowMs());
    this.#vacant = new BackendState('', defaultBalance, new BackendMetrics(), this.#random);
    this.#options = options;
    this.#clock = clock;
    const { shareCounts } = options;
    this.#reporter =
      shareCounts && new CountReporter((ms, callback) => clock.after(ms, callback), shareCounts);
    this.#context = {
      limits,
      metrics: this.metrics,
      pool: new UpstreamPool(transport, limits, this.metrics, nowMs, ({ key }, error) =>
        options.onNotReached?.(key, error),
      ),
      requestLines: new FieldLines(limits.headerCountMax),
      responseLines: new FieldLines(limits.headerCountMax),
      policyStates: new PolicyStates(this.#reporter),
      isTrusted: options.isTrusted,
      timed: new Set(),
      marker: options.marker,
      trustedHops: options.trustedHops ?? 0,
      live: { table: emptyRouteTable, states: [] },
      draining: false,
      nowMs,
      date: httpDates(clock),
      onAccess: options.onAccess,
    };
    const shortest = Math.min(
      limits.clientHeaderTimeoutMs,
      limits.clientIdleTimeoutMs,
      limits.clientBodyTimeoutMs,
      limits.upstreamConnectTimeoutMs,
      limits.upstreamHeaderTimeoutMs,
      limits.upstreamBodyTimeoutMs,
      limits.upstreamIdleTimeoutMs,
      limits.lingerTimeoutMs,
      limits.drainIdleMs,
      limits.quarantineMs,
    );
    this.#tickMs = Math.min(500, Math.max(10, Math.floor(shortest / 4)));
  }

  get table(): RouteTable {
    return this.#context.live.table;
  }

  /** What another worker of the group has counted. */
  hearCounts(report: CountReport): void {
    this.#context.policyStates.hear(report, this.#clock.monotonicMs());
  }

  /** The endpoints of a backend as this worker knows them, for people to read. */
  endpointsOf(backendId: string): readonly LiveEndpoint[] {
    const state = this.#states.get(backendId);
    const nowMs = this.#clock.monotonicMs();
    if (state === undefined) return [];
    const used = state.endpoints.map(({ key, pending, tunnels, ejection, lastError }, index) => ({
      key,
      pending,
      tunnels,
      ejected: ejection.active ? ejection.cause : undefined,
      startedShare: state.startedShare(index, nowMs),
      lastError,
    }));
    const left = [...state.draining()].map(([{ key, pending, tunnels }, sinceMs]) => ({
      key,
      pending,
      tunnels,
      ejected: undefined,
      leftForMs: nowMs - sinceMs,
    }));
    return [...used, ...left];
  }

  accept(connection: Connection, from: AcceptedFrom): ConnectionHandler | undefined {
    // While it drains, a connection that was made before its listener closed still gets its answer.
    if (this.#closed || this.#clients.size >= this.#context.limits.clientConnectionsMax) {
      this.metrics.clientConnectionsRefused += 1;
      return undefined;
    }
    const address = connection.remoteAddress;
    const { isTrusted, forwarded = 'x', believes = 'x' } = this.#options;
    const facts = {
      address,
      scheme: from.scheme,
      certificate: from.certificate,
      tls: from.tls,
      trusted: isTrusted(address),
      forwarded,
      believes,
      connection,
      told: undefined,
    };
    if (from.hello !== undefined) {
      const relay = new RelayedConnection(this.#context, connection, facts, from.hello, this.#clientOwner);
      this.#take(relay);
      relay.start();
      return relay;
    }
    const client =
      from.protocol === 'h2'
        ? new Http2ClientConnection(this.#context, connection, facts, this.#clientOwner.onClosed)
        : new ClientConnection(this.#context, connection, facts, this.#clientOwner);
    this.#take(client);
    return client;
  }

  #take(client: ClientHandler): void {
    this.#clients.add(client);
    this.metrics.clientConnections += 1;
    this.metrics.clientConnectionsAccepted += 1;
    if (this.#cancelTick === undefined) this.#scheduleTick();
  }

  /**
   * Routes new requests by `table` from now on. Requests under way are not touched; connections to endpoints that
   * are in no backend any more close as soon as they are unused.
   */
  publish(table: RouteTable): void {
    const old = this.#context.live;
    this.#generation += 1;
    const states: BackendState[] = [];
    for (const [index, backend] of table.backends.entries()) {
      const state = backend === old.table.backends[index] ? old.states[index]! : this.#state(backend);
      state.generation = this.#generation;
      for (const endpoint of state.endpoints) endpoint.generation = this.#generation;
      states.push(state);
    }
    this.#context.live = { table, states };
    for (const [key, endpoint] of this.#endpoints) {
      if (endpoint.generation === this.#generation) continue;
      this.#endpoints.delete(key);
      endpoint.retired = true;
      this.#context.pool.dropIdle(endpoint);
    }
    for (const [id, state] of this.#states) {
      if (state.generation === this.#generation) continue;
      this.#states.delete(id);
      state.wake();
    }
    for (const state of states) state.wake(); // only now: what those that wait find must be the new table
    this.metrics.tablesPublished += 1;
  }

  /** What is known of a backend stays with it, so that its turn goes on where it was. */
  #state(backend: Backend): BackendState {
    const { id, key, balance } = backend;
    if (id === vacantRef.id) return this.#vacant;
    let state = this.#states.get(id);
    if (state === undefined) {
      state = new BackendState(key, balance, this.metrics.backends.of(key), this.#random);
      this.#states.set(id, state);
    }
    const endpoints = backend.endpoints.map((endpoint) => this.#endpoint(endpoint, backend));
    state.update(endpoints, weightsOf(backend.endpoints), this.#clock.monotonicMs());
    return state;
  }

  #endpoint({ address, port }: Endpoint, { tls, protocol, proxyProtocol }: Backend): UpstreamEndpoint {
    const place = endpointKey(address, port);
    // What is spoken to differently shares no connection.
    const key = `${place} ${protocol} ${tls?.id ?? ''} ${proxyProtocol ?? ''}`;
    let endpoint = this.#endpoints.get(key);
    if (endpoint === undefined) {
      const { endpointConnectionsMax } = this.#context.limits;
      const how = { tls, protocol, proxyProtocol };
      endpoint = new UpstreamEndpoint(place, address, port, endpointConnectionsMax, how);
      this.#endpoints.set(key, endpoint);
    }
    return endpoint;
  }

  /** Deadlines are looked at a few times a second for all connections at once: a request then costs no timer. */
  #scheduleTick(): void {
    this.#cancelTick = this.#clock.after(this.#tickMs, () => {
      this.#tick();
      const { pool } = this.#context;
      const busy = this.#clients.size > 0 || pool.connections.size > 0 || pool.http2.connections.size > 0;
      this.#cancelTick = undefined;
      if (busy) this.#scheduleTick();
    });
  }

  #tick(): void {
    const nowMs = this.#clock.monotonicMs();
    this.#context.pool.tick(this.#endpoints.values(), nowMs);
    for (const state of this.#context.live.states) state.tick(nowMs);
    for (const request of this.#context.timed) {
      if (request.totalDeadlineMs <= nowMs) request.onOutOfTime();
    }
    for (const client of this.#clients) {
      client.tick(nowMs);
    }
  }

  /**
   * Lets requests under way finish, for at most `graceMs`; then their clients are told where the protocol can, and what is left is cut.
   * Listeners must be closed already.
   */
  async drain(graceMs: number): Promise<void> {
    this.#context.draining = true;
    for (const client of this.#clients) client.drain();
    await this.#noClients(graceMs);
    for (const client of this.#clients) client.giveUp();
    await this.#noClients(this.#context.limits.lingerTimeoutMs);
    this.close();
  }

  /** Resolves when all clients have gone, at the latest after `withinMs`. */
  async #noClients(withinMs: number): Promise<void> {
    if (this.#clients.size === 0) return;
    await new Promise<void>((resolve) => {
      const cancel = this.#clock.after(withinMs, resolve);
      this.#drained = () => {
        cancel();
        resolve();
      };
    });
  }

  /** Cuts everything at once. */
  close(): void {
    this.#closed = true;
    this.#context.draining = true;
    for (const client of this.#clients) client.abort();
    for (const upstream of this.#context.pool.connections) upstream.destroy();
    this.#context.pool.http2.close();
    this.#cancelTick?.();
    this.#cancelTick = undefined;
    this.#reporter?.stop();
  }
}

/** undefined: all alike, as nearly always. */
function weightsOf(endpoints: readonly Endpoint[]): readonly number[] | undefined {
  if (endpoints.every(({ weight }) => weight === undefined)) return undefined;
  return endpoints.map(({ weight }) => weight ?? 1);
}
