import { keyOf, type ObjectKey, objectKey } from '../api/object.ts';
import { ingressClasses, ingresses } from '../api/resource.ts';
import { type Clock, systemClock } from '../base/clock.ts';
import { aborted, runTogether } from '../base/lifetime.ts';
import type { Logger } from '../base/log.ts';
import { type ApiClient, isApiError } from '../client/client.ts';
import { done, type Outcome, runReconciler } from '../control/reconciler.ts';
import { createRecorder } from '../control/recorder.ts';
import { WorkQueue } from '../control/work-queue.ts';
import { ingressClassesToCreate } from './class.ts';
import { type CompiledRoutes, compileRoutes } from './compile.ts';
import type { IngressConfig } from './config.ts';
import { type HealthServer, serveHealth } from './health.ts';
import { planStatus, publishedAddresses } from './ingress-status.ts';
import { type Listener, listenNet, netTransport } from './net-transport.ts';
import { ProblemReports } from './problem-reports.ts';
import { ProxyWorker } from './proxy-worker.ts';
import { renderRouteTable } from './table.ts';
import { Certificates } from './tls.ts';
import { trustedProxies } from './trusted-proxies.ts';
import { createWatched, type Watched } from './watched.ts';

/** Where the running controller listens, told once when it serves. */
export type IngressPorts = {
  readonly http: readonly number[];
  readonly https: readonly number[];
  readonly health: number | undefined;
};

export type IngressDeps = {
  readonly clock: Clock;
  readonly onReady?: ((ports: IngressPorts) => void) | undefined;
};

/** Statuses written at once. */
const statusConcurrency = 4;

/**
 * Runs the ingress until the signal aborts: watches the API, serves by the newest routes, writes statuses. It listens
 * only when the first table is loaded, so that after a restart nobody is told 404 for a route that exists. Then stops
 * accepting and lets requests finish. Rejects only when it cannot work at all, such as without its addresses.
 */
export async function runIngress(
  config: IngressConfig,
  client: ApiClient,
  log: Logger,
  signal: AbortSignal,
  deps: IngressDeps = { clock: systemClock },
): Promise<void> {
  const ingress = new IngressController(config, client, log, deps);
  await ingress.run(signal);
}

class IngressController {
  readonly #config: IngressConfig;
  readonly #client: ApiClient;
  readonly #log: Logger;
  readonly #deps: IngressDeps;
  readonly #proxy: ProxyWorker;
  readonly #certificates: Certificates;
  readonly #watched: Watched;
  readonly #statusQueue: WorkQueue<ObjectKey>;
  readonly #problems: ProblemReports;
  readonly #recorder: ReturnType<typeof createRecorder>;
  #compiled: CompiledRoutes | undefined;
  #owned: ReadonlyMap<ObjectKey, CompiledRoutes['owned'][number]> = new Map();
  #synced = false;
  #compilePending = false;
  #serving = false;

  constructor(config: IngressConfig, client: ApiClient, log: Logger, deps: IngressDeps) {
    const { clock } = deps;
    this.#config = config;
    this.#client = client;
    this.#log = log;
    this.#deps = deps;
    this.#proxy = new ProxyWorker(netTransport, clock, {
      limits: config.limits,
      isTrusted: trustedProxies(config.trustedProxies),
      onAccess: config.accessLog ? (record) => log.info('request', record) : undefined,
    });
    this.#certificates = new Certificates(log, clock, config.authority);
    this.#statusQueue = new WorkQueue(clock);
    this.#recorder = createRecorder(client, 'fairlead-ingress', { log });
    this.#problems = new ProblemReports(clock, ({ ingress, reason, message }) => {
      log.warn(message, { ingress: keyOf(ingress), reason });
      this.#recorder.event(ingress, 'Warning', reason, message);
    });
    this.#watched = createWatched(client, log, () => this.#scheduleCompile());
  }

  async run(signal: AbortSignal): Promise<void> {
    const { healthAddress } = this.#config;
    const health =
      healthAddress === undefined
        ? undefined
        : await serveHealth(healthAddress, {
            metrics: this.#proxy.metrics,
            ready: () => this.#serving,
            routes: () => renderRouteTable(this.#proxy.table),
            explain: async (request) => {
              const { explainRequest } = await import('./explain.ts');
              if (this.#compiled === undefined) return 'the route table is not loaded yet\n';
              return explainRequest(this.#compiled, request, (index) => this.#proxy.endpointsOf(index));
            },
          });
    try {
      await runTogether(
        [
          ...this.#watched.tasks,
          { name: 'ingress events', run: (scope) => this.#recorder.run(scope) },
          { name: 'ingress statuses', run: (scope) => this.#writeStatuses(scope) },
          { name: 'ingress classes', run: (scope) => this.#createClasses(scope) },
          { name: 'ingress proxy', run: (scope) => this.#serve(health, scope) },
        ],
        signal,
      );
    } finally {
      this.#problems.stop();
      this.#proxy.close();
      health?.close();
    }
  }

  async #serve(health: HealthServer | undefined, signal: AbortSignal): Promise<void> {
    await this.#watched.whenSynced(signal);
    this.#synced = true;
    this.#compile();
    const listeners: Listener[] = [];
    try {
      const http = await this.#listen(this.#config.http, listeners, false);
      const https = await this.#listen(this.#config.https, listeners, true);
      this.#serving = true;
      const ports: IngressPorts = { http, https, health: health?.port };
      this.#log.info('ready', { ...ports, ingresses: this.#owned.size });
      this.#deps.onReady?.(ports);
      await aborted(signal);
      this.#serving = false;
    } finally {
      for (const listener of listeners) listener.close();
    }
    await this.#proxy.drain(this.#config.drainTimeoutMs);
  }

  async #listen(
    places: IngressConfig['http'],
    listeners: Listener[],
    tls: boolean,
  ): Promise<readonly number[]> {
    const ports: number[] = [];
    for (const place of places) {
      const listener = await listenNet(place, this.#proxy, {
        tls: tls ? this.#certificates : undefined,
        onError: (error) => this.#log.warn('cannot take a connection', { error }),
      });
      listeners.push(listener);
      ports.push(listener.port);
    }
    return ports;
  }

  /** One compile for all changes of an event-loop turn. */
  #scheduleCompile(): void {
    if (!this.#synced || this.#compilePending) return;
    this.#compilePending = true;
    setImmediate(() => {
      this.#compilePending = false;
      this.#compile();
    });
  }

  #compile(): void {
    const { clock } = this.#deps;
    const startMs = clock.monotonicMs();
    const compiled = compileRoutes(this.#watched.view, this.#config.ingressClasses, this.#compiled);
    this.#compiled = compiled;
    this.#certificates.publish(compiled.table);
    this.#proxy.publish(compiled.table);
    this.#proxy.metrics.lastCompileSeconds = (clock.monotonicMs() - startMs) / 1000;
    this.#owned = new Map(compiled.owned.map((ingress) => [keyOf(ingress), ingress]));
    this.#problems.update(compiled.problems);
    const addresses = this.#addresses();
    for (const [key, ingress] of this.#owned) {
      if (planStatus(ingress, addresses) !== undefined) this.#statusQueue.add(key);
    }
  }

  #addresses(): ReturnType<typeof publishedAddresses> {
    const { publishService } = this.#config;
    if (publishService === undefined) return [];
    const key = objectKey(publishService.namespace, publishService.name);
    return publishedAddresses(this.#watched.services.get(key));
  }

  async #writeStatuses(signal: AbortSignal): Promise<void> {
    const reconcile = async (key: ObjectKey, scope: AbortSignal): Promise<Outcome> => {
      const ingress = this.#owned.get(key);
      const patch = ingress === undefined ? undefined : planStatus(ingress, this.#addresses());
      if (ingress === undefined || patch === undefined) return done;
      const { namespace, name = '' } = ingress.metadata ?? {};
      try {
        const options = { subresource: 'status', signal: scope };
        await this.#client.patch(ingresses, namespace, name, 'merge', patch, options);
      } catch (error) {
        if (!isApiError(error, 'NotFound')) throw error; // deleted meanwhile: nothing to write
      }
      return done;
    };
    const reconciler = {
      name: 'ingress-status',
      queue: this.#statusQueue,
      concurrency: statusConcurrency,
      reconcile,
    };
    await runReconciler(reconciler, signal, { log: this.#log });
  }

  /** Makes our IngressClasses where they do not exist. One that exists is left as it is, whoever's it may be. */
  async #createClasses(signal: AbortSignal): Promise<void> {
    if (!this.#config.createIngressClasses) return;
    const wanted = new Map(
      ingressClassesToCreate(this.#config.ingressClasses).map((made) => [keyOf(made), made]),
    );
    const queue = new WorkQueue<ObjectKey>(this.#deps.clock);
    for (const key of wanted.keys()) queue.add(key);
    let left = wanted.size;
    const reconcile = async (key: ObjectKey, scope: AbortSignal): Promise<Outcome> => {
      try {
        await this.#client.create(ingressClasses, wanted.get(key)!, { signal: scope });
      } catch (error) {
        if (!isApiError(error, 'AlreadyExists')) throw error;
      }
      left -= 1;
      if (left === 0) queue.close();
      return done;
    };
    await runReconciler({ name: 'ingress-class', queue, concurrency: 1, reconcile }, signal, {
      log: this.#log,
    });
  }
}
