import type { Clock } from '../../base/clock.ts';
import type { Logger } from '../../base/log.ts';
import { AccessLog } from '../observe/access-log.ts';
import { openAccessLogSink } from '../observe/access-log-sink.ts';
import type { CompiledRoutes } from '../routes/compile.ts';
import type { IngressConfig } from './config.ts';
import type { Engine } from './engine.ts';
import type { LiveEndpoint } from '../routes/explain.ts';
import type { CountReport } from '../policy/group-counts.ts';
import type { ProxyMetrics } from '../observe/metrics.ts';
import type { Listener, ListenAt, ServerTransport } from '../transport/net-transport.ts';
import { acceptProxied } from '../transport/proxied-connection.ts';
import { ProxyWorker } from '../proxy/proxy-worker.ts';
import { randomHexSource } from '../balance/random-hex.ts';
import { RequestMarker } from '../proxy/request-marks.ts';
import type { TicketSecret } from '../transport/ticket-keys.ts';
import { Certificates } from '../transport/tls.ts';
import { trustedHopsOf, trustedProxies } from '../proxy/trusted-proxies.ts';

export type LocalEngineConfig = Pick<
  IngressConfig,
  | 'http'
  | 'https'
  | 'proxyProtocol'
  | 'limits'
  | 'trustedProxies'
  | 'trustedFields'
  | 'forwarded'
  | 'accessLog'
  | 'marks'
  | 'authority'
>;

/** undefined: nobody asks for marks, so no request is looked through for them. */
function createMarker({ marks, accessLog }: LocalEngineConfig): RequestMarker | undefined {
  if (accessLog === undefined && !marks.startsTraces && !marks.setsRequestId) return undefined;
  return new RequestMarker(marks, randomHexSource());
}

/** One worker in this process. */
export class LocalEngine implements Engine {
  readonly metrics: ProxyMetrics;
  readonly #config: LocalEngineConfig;
  readonly #log: Logger;
  readonly #transport: ServerTransport;
  readonly #proxy: ProxyWorker;
  readonly #certificates: Certificates;
  readonly #clock: Clock;
  readonly #listeners: Listener[] = [];
  #accessLog: AccessLog | undefined;

  /**
   * @param tickets to share sessions with other workers; undefined: our own
   * @param shareCounts tells them what this one has counted
   */
  constructor(
    config: LocalEngineConfig,
    log: Logger,
    clock: Clock,
    transport: ServerTransport,
    tickets?: TicketSecret,
    shareCounts?: (report: CountReport) => void,
  ) {
    this.#config = config;
    this.#log = log;
    this.#transport = transport;
    this.#clock = clock;
    this.#proxy = new ProxyWorker(transport, clock, {
      limits: config.limits,
      isTrusted: trustedProxies(config.trustedProxies),
      onNotReached: (endpoint, error) => log.warn('an endpoint cannot be connected to', { endpoint, error }),
      trustedHops: trustedHopsOf(config.trustedProxies),
      believes: config.trustedFields,
      forwarded: config.forwarded,
      onAccess: config.accessLog === undefined ? undefined : (record) => this.#accessLog?.record(record),
      marker: createMarker(config),
      shareCounts,
    });
    this.metrics = this.#proxy.metrics;
    this.#certificates = new Certificates(log, clock, config.authority, tickets);
  }

  publish({ table }: CompiledRoutes): void {
    this.#certificates.publish(table);
    this.#proxy.publish(table);
  }

  async listen(): Promise<{ readonly http: readonly number[]; readonly https: readonly number[] }> {
    await this.#openAccessLog();
    const http = await this.#listenAt(this.#config.http, false);
    const https = await this.#listenAt(this.#config.https, true);
    return { http, https };
  }

  async #openAccessLog(): Promise<void> {
    const { accessLog } = this.#config;
    if (accessLog === undefined) return;
    const sink = await openAccessLogSink(accessLog.path, (error) =>
      this.#log.warn('the access log cannot be written', { error }),
    );
    this.#accessLog = new AccessLog(sink, this.#clock, this.metrics, accessLog.share);
  }

  async #listenAt(places: readonly ListenAt[], tls: boolean): Promise<readonly number[]> {
    const ports: number[] = [];
    const { limits, trustedProxies: ranges, proxyProtocol } = this.#config;
    const proxied = proxyProtocol
      ? {
          isTrusted: trustedProxies(ranges),
          timeoutMs: limits.clientHeaderTimeoutMs,
          after: (ms: number, callback: () => void) => this.#clock.after(ms, callback),
        }
      : undefined;
    const acceptor = proxied === undefined || tls ? this.#proxy : acceptProxied(this.#proxy, proxied);
    for (const place of places) {
      const listener = await this.#transport.listen(place, acceptor, {
        proxyProtocol: proxied,
        tls: tls ? this.#certificates : undefined,
        protocols: ['h2', 'http/1.1'],
        onError: (error) => this.#log.warn('cannot take a connection', { error }),
      });
      this.#listeners.push(listener);
      ports.push(listener.port);
    }
    return ports;
  }

  refresh(): Promise<void> {
    return Promise.resolve();
  }

  hearCounts(report: CountReport): void {
    this.#proxy.hearCounts(report);
  }

  endpointsOf(backendId: string): Promise<readonly LiveEndpoint[]> {
    return Promise.resolve(this.#proxy.endpointsOf(backendId));
  }

  async drain(graceMs: number): Promise<void> {
    await this.#stopListening();
    await this.#proxy.drain(graceMs);
    await this.#accessLog?.close();
  }

  close(): void {
    void this.#stopListening();
    this.#proxy.close();
    void this.#accessLog?.close();
  }

  async #stopListening(): Promise<void> {
    await Promise.all(this.#listeners.splice(0).map((listener) => listener.close()));
  }
}
