import { type ChildProcess, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { closeSync } from 'node:fs';
import type { Clock } from '../../base/clock.ts';
import type { Logger } from '../../base/log.ts';
import type { CompiledRoutes } from '../routes/compile.ts';
import type { IngressConfig } from './config.ts';
import type { Engine } from './engine.ts';
import type { LiveEndpoint } from '../routes/explain.ts';
import type { ProxyLimits } from '../proxy/limits.ts';
import { openSharedSockets, portOf } from '../transport/listen-sockets.ts';
import { type CountReport, type PlaceChange, PlaceLedger } from '../policy/group-counts.ts';
import { ProxyMetrics } from '../observe/metrics.ts';
import { type MetricsReading, readingOf, sumMetrics, withoutGauges } from '../observe/metrics-sum.ts';
import type { ListenAt } from '../transport/net-transport.ts';
import {
  changeOfRouteObjects,
  noRouteObjects,
  type RouteObjects,
  routeObjectsOf,
} from '../routes/route-objects.ts';
import { TicketKeys, ticketSecret } from '../transport/ticket-keys.ts';
import { createAuthorityPair } from '../transport/tls.ts';
import type { TransportChoice } from '../transport/transport-choice.ts';
import type { FromWorker, ToWorker, WorkerConfig } from './worker-messages.ts';

/** A worker that ends is started again after this, doubled each time up to the second, ms. */
const restartDelaysMs = [100, 5_000] as const;
/** One that has run for so long begins at the first delay again, ms. */
const healthyAfterMs = 30_000;
/** A worker that does not take up new routes for so long hangs: it is killed and started again, ms. */
const answerTimeoutMs = 30_000;
/** A reading that takes longer than this is left out for the one before, ms. */
const readTimeoutMs = 1_000;
/** A worker that leaves so many reports of counts unread hangs: it is killed and started again. */
const reportsUnreadMax = 1_000;
/** After the grace of a drain workers have this long to end by themselves, ms. */
const endTimeoutMs = 2_000;

export type WorkerPoolOptions = {
  readonly workers: number;
  readonly transport: TransportChoice;
  /** Program and arguments that start a worker. */
  readonly command: readonly [string, ...string[]];
};

type Sockets = { readonly places: readonly (readonly number[])[]; readonly ports: readonly number[] };

/**
 * Several worker processes behind one set of addresses. The listening sockets belong to this process: each worker has its own of every
 * address, and the connections in its queue outlive it. Workers get the API objects of their routes, each time what has
 * changed, and compile them as this process does.
 */
export class WorkerPool implements Engine {
  readonly metrics = new ProxyMetrics();
  readonly #config: IngressConfig;
  readonly #options: WorkerPoolOptions;
  readonly #log: Logger;
  readonly #clock: Clock;
  readonly #tickets: TicketKeys;
  readonly #workers: Worker[] = [];
  #objects: RouteObjects = noRouteObjects;
  #sockets: { readonly http: Sockets; readonly https: Sockets } | undefined;
  #authority: IngressConfig['authority'];
  #ending = false;
  /** Of workers that have ended. */
  #past: MetricsReading = {};
  readonly #ledger = new PlaceLedger<Worker>();

  constructor(config: IngressConfig, options: WorkerPoolOptions, log: Logger, clock: Clock) {
    this.#config = config;
    this.#options = options;
    this.#log = log;
    this.#clock = clock;
    this.#tickets = new TicketKeys(ticketSecret(randomBytes(32), clock.nowMs()));
  }

  publish(compiled: CompiledRoutes): void {
    this.#objects = routeObjectsOf(compiled);
    this.metrics.tablesPublished += 1;
    for (const worker of this.#workers) worker.bring(this.#objects);
  }

  /** Resolves when all workers listen for the first time. */
  async listen(): Promise<{ readonly http: readonly number[]; readonly https: readonly number[] }> {
    const http = await this.#openSockets(this.#config.http);
    const https = await this.#openSockets(this.#config.https);
    this.#sockets = { http, https };
    // One for all: a client must see the same authority whichever worker it meets.
    this.#authority = this.#config.authority ?? (await createAuthorityPair(this.#clock.nowMs()));
    const started = Array.from({ length: this.#options.workers }, async (_, index) => {
      const worker = this.#start(index);
      this.#workers[index] = worker;
      await worker.listening;
    });
    await Promise.all(started);
    return { http: http.ports, https: https.ports };
  }

  async #openSockets(places: readonly ListenAt[]): Promise<Sockets> {
    const { workers } = this.#options;
    const opened = await Promise.all(
      places.map(async (place) =>
        place.kind === 'fd'
          ? { fds: new Array<number>(workers).fill(place.fd), port: portOf(place.fd) } // one queue for all
          : openSharedSockets(place.host, place.port, workers),
      ),
    );
    return { places: opened.map(({ fds }) => fds), ports: opened.map(({ port }) => port) };
  }

  #start(index: number, delayMs: number = restartDelaysMs[0]): Worker {
    const startedMs = this.#clock.monotonicMs();
    const worker = new Worker(this.#configOf(index), this.#descriptorsOf(index), this.#options, this.#log, {
      counted: (report) => {
        this.#ledger.take(worker, report.places);
        this.#tellOthers(worker, report);
      },
      allPlaces: () => this.#ledger.all,
    });
    worker.begin(this.#objects);
    void worker.exited.then((how) => {
      this.#tellOthers(worker, { rates: [], places: this.#ledger.leave(worker) });
      this.#past = sumOf([this.#past, withoutGauges(worker.reading)]);
      if (this.#ending) return;
      const ranMs = this.#clock.monotonicMs() - startedMs;
      const waitMs = ranMs > healthyAfterMs ? restartDelaysMs[0] : delayMs;
      this.#log.error('a worker has ended and is started again', { worker: index + 1, how, waitMs });
      this.#clock.after(waitMs, () => {
        if (!this.#ending)
          this.#workers[index] = this.#start(index, Math.min(2 * waitMs, restartDelaysMs[1]));
      });
    });
    return worker;
  }

  #tellOthers(worker: Worker, report: CountReport): void {
    if (report.rates.length === 0 && report.places.length === 0) return;
    for (const other of this.#workers) if (other !== worker) other.hear(report);
  }

  #descriptorsOf(index: number): readonly number[] {
    const { http, https } = this.#sockets!;
    return [...http.places, ...https.places].map((fds) => fds[index]!);
  }

  #configOf(index: number): WorkerConfig {
    const {
      trustedProxies,
      trustedFields,
      proxyProtocol,
      forwarded,
      accessLog,
      marks,
      ingressClasses,
      limits,
    } = this.#config;
    const { nginxAnnotations, nginxAllowedHeaders, controllerName } = this.#config;
    const { http, https } = this.#sockets!;
    const place = (_: unknown, at: number): ListenAt => ({ kind: 'fd', fd: firstDescriptor + at });
    const places = [...http.places, ...https.places].map(place);
    return {
      number: index + 1,
      limits: shareOfLimits(limits, this.#options.workers),
      trustedProxies,
      trustedFields,
      proxyProtocol,
      forwarded,
      accessLog,
      marks,
      authority: this.#authority,
      ingressClasses,
      nginxAnnotations,
      nginxAllowedHeaders,
      controllerName,
      http: places.slice(0, http.places.length),
      https: places.slice(http.places.length),
      transport: this.#options.transport,
      tickets: this.#tickets.state(this.#clock.nowMs()),
    };
  }

  async refresh(): Promise<void> {
    await Promise.all(this.#workers.map((worker) => worker.read(undefined)));
    sumMetrics(this.metrics, [
      this.#past,
      ...this.#workers.filter(({ alive }) => alive).map(({ reading }) => reading),
    ]);
  }

  async endpointsOf(backendId: string): Promise<readonly LiveEndpoint[]> {
    const lists = await Promise.all(this.#workers.map((worker) => worker.read(backendId)));
    const sum = new Map<string, LiveEndpoint>();
    for (const endpoint of lists.flat()) {
      const { key, pending, tunnels, ejected, startedShare = 1, lastError, leftForMs } = endpoint;
      const place = leftForMs === undefined ? key : `${key} left`; // one that has come back may be both
      const known = sum.get(place);
      sum.set(place, {
        key,
        pending: pending + (known?.pending ?? 0),
        tunnels: tunnels + (known?.tunnels ?? 0),
        ejected: ejected ?? known?.ejected,
        startedShare: Math.min(startedShare, known?.startedShare ?? 1),
        lastError: lastError ?? known?.lastError,
        leftForMs: leftForMs === undefined ? undefined : Math.max(leftForMs, known?.leftForMs ?? 0),
      });
    }
    return [...sum.values()];
  }

  async drain(graceMs: number): Promise<void> {
    this.#ending = true;
    this.#closeSockets();
    await Promise.all(
      this.#workers.map(async (worker) => {
        worker.drain(graceMs);
        const cancel = this.#clock.after(graceMs + endTimeoutMs, () => worker.kill());
        await worker.exited;
        cancel();
      }),
    );
  }

  close(): void {
    this.#ending = true;
    this.#closeSockets();
    for (const worker of this.#workers) worker.kill();
  }

  #closeSockets(): void {
    const sockets = this.#sockets;
    this.#sockets = undefined;
    if (sockets === undefined) return;
    for (const fd of new Set([...sockets.http.places, ...sockets.https.places].flat())) closeSync(fd);
  }
}

/** Where a worker finds its first listening socket: behind stdin, stdout, stderr and the channel. */
const firstDescriptor = 4;

/** What bounds connections is shared out, rounded up. */
function shareOfLimits(limits: ProxyLimits, workers: number): ProxyLimits {
  const share = (count: number): number => Math.ceil(count / workers);
  return {
    ...limits,
    clientConnectionsMax: share(limits.clientConnectionsMax),
    endpointConnectionsMax: share(limits.endpointConnectionsMax),
    endpointIdleMax: share(limits.endpointIdleMax),
  };
}

function sumOf(readings: readonly MetricsReading[]): MetricsReading {
  const sum = new ProxyMetrics();
  sumMetrics(sum, readings);
  return readingOf(sum);
}

/** What a worker's end needs of the pool. */
type CountExchange = {
  counted(report: CountReport): void;
  allPlaces(): readonly PlaceChange[];
};

/** The main process's end of one worker. */
class Worker {
  readonly exited: Promise<string>;
  readonly #child: ChildProcess;
  readonly #config: WorkerConfig;
  readonly #listening = Promise.withResolvers<void>();
  readonly #reads = new Map<number, (endpoints: readonly LiveEndpoint[]) => void>();
  /** The last reading of its metrics. */
  reading: MetricsReading = {};
  alive = true;
  #number = 0;
  #sent: RouteObjects = noRouteObjects;
  #wanted: RouteObjects = noRouteObjects;
  #awaited: NodeJS.Timeout | undefined;
  readonly #counts: CountExchange;
  /** It listens, so it takes reports of counts. */
  #hears = false;
  #reportsUnread = 0;

  constructor(
    config: WorkerConfig,
    descriptors: readonly number[],
    { command: [program, ...args] }: WorkerPoolOptions,
    log: Logger,
    counts: CountExchange,
  ) {
    this.#config = config;
    this.#counts = counts;
    this.#child = spawn(program, args, {
      stdio: ['ignore', 'inherit', 'inherit', 'ipc', ...descriptors],
      serialization: 'advanced',
    });
    this.#child.on('message', (message: FromWorker) => this.#take(message));
    this.exited = new Promise((resolve) => {
      this.#child.once('exit', (code, signal) => resolve(signal ?? `exit code ${code}`));
      this.#child.once('error', (error) => resolve(error.message));
    });
    void this.exited.then((how) => {
      this.alive = false;
      clearTimeout(this.#awaited);
      for (const resolve of this.#reads.values()) resolve([]);
      this.#reads.clear();
      this.#listening.reject(new Error(`a worker ended before it listened: ${how}`));
    });
    this.listening.catch((error: unknown) =>
      log.warn('a worker did not start', { worker: config.number, error }),
    );
  }

  /** Rejects if it ends before. */
  get listening(): Promise<void> {
    return this.#listening.promise;
  }

  begin(objects: RouteObjects): void {
    this.#sent = objects;
    this.#wanted = objects;
    this.#send({
      kind: 'start',
      config: this.#config,
      routes: changeOfRouteObjects(noRouteObjects, objects),
    });
    this.#await(); // until it listens
  }

  /** Sends what has changed when it has taken up what was sent before: a slow one gets several changes as one. */
  bring(objects: RouteObjects): void {
    this.#wanted = objects;
    if (this.#awaited !== undefined || this.#sent === objects) return;
    this.#number += 1;
    this.#send({ kind: 'routes', number: this.#number, routes: changeOfRouteObjects(this.#sent, objects) });
    this.#sent = objects;
    this.#await();
  }

  #await(): void {
    this.#awaited = setTimeout(() => this.kill(), answerTimeoutMs);
    this.#awaited.unref();
  }

  #take(message: FromWorker): void {
    switch (message.kind) {
      case 'listening':
        this.#listening.resolve();
        this.#answered();
        this.#hears = true;
        this.hear({ rates: [], places: this.#counts.allPlaces() });
        return;
      case 'counts':
        this.#counts.counted(message.report);
        return;
      case 'done':
        this.#answered();
        return;
      case 'reading':
        this.reading = message.metrics;
        this.#reads.get(message.number)?.(message.endpoints);
        this.#reads.delete(message.number);
        return;
      default:
        message satisfies never;
    }
  }

  #answered(): void {
    clearTimeout(this.#awaited);
    this.#awaited = undefined;
    this.bring(this.#wanted);
  }

  /** Brings `reading` up to date. The endpoints of `backend`; none if it does not answer in time. */
  read(backendId: string | undefined): Promise<readonly LiveEndpoint[]> {
    if (!this.alive) return Promise.resolve([]);
    this.#number += 1;
    const number = this.#number;
    return new Promise((resolve) => {
      const late = setTimeout(() => {
        this.#reads.delete(number);
        resolve([]);
      }, readTimeoutMs);
      this.#reads.set(number, (endpoints) => {
        clearTimeout(late);
        resolve(endpoints);
      });
      this.#send({ kind: 'read', number, backendId });
    });
  }

  /** What another worker has counted. */
  hear(report: CountReport): void {
    if (!this.#hears || !this.#child.connected) return;
    this.#reportsUnread += 1;
    if (this.#reportsUnread > reportsUnreadMax) this.kill();
    else this.#send({ kind: 'counts', report }, () => (this.#reportsUnread -= 1));
  }

  drain(graceMs: number): void {
    this.#send({ kind: 'drain', graceMs });
  }

  kill(): void {
    this.#child.kill('SIGKILL');
  }

  #send(message: ToWorker, onSent?: () => void): void {
    if (!this.#child.connected) return;
    this.#child.send(message, (error) => {
      onSent?.();
      if (error !== null) this.kill(); // the channel is broken: a new worker gets a new one
    });
  }
}
