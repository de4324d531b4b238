import { keyOf } from '../../api/object.ts';
import { type Clock, systemClock } from '../../base/clock.ts';
import type { HealthServer } from '../../base/health-server.ts';
import { aborted, runTogether } from '../../base/lifetime.ts';
import type { Logger } from '../../base/log.ts';
import type { ApiClient } from '../../client/client.ts';
import { ApiWriter } from './api-writer.ts';
import { CertificateChecks } from '../routes/certificate-check.ts';
import { type CompiledRoutes, compileRoutes } from '../routes/compile.ts';
import type { IngressConfig } from './config.ts';
import type { Engine } from './engine.ts';
import type { LiveEndpoint } from '../routes/explain.ts';
import { serveHealth } from './health.ts';
import { LocalEngine } from './local-engine.ts';
import { netTransport, type ServerTransport } from '../transport/net-transport.ts';
import { ProblemReports } from './problem-reports.ts';
import { loadNginxReader, type NginxReader } from '../routes/nginx-reader.ts';
import { emptyRouteTable, renderRouteTable } from '../routes/table.ts';
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
  /** Default: on node:net. */
  readonly transport?: ServerTransport | undefined;
  /** What serves; default: one worker in this process, on `transport`. */
  readonly engine?: ((config: IngressConfig) => Engine) | undefined;
};

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
  const ingress = new IngressController(config, log, deps, {
    nginx: await loadNginxReader(config),
    watch: (onChange) => createWatched(client, log, onChange, { allConfigMaps: config.nginxAnnotations }),
    writer: (watched, onLeading) => new ApiWriter(config, client, watched, log, deps.clock, onLeading),
  });
  await ingress.run(signal);
}

/** The same without any cluster: serves the routes of `file` and follows its changes. Rejects if it is bad at start. */
export async function runStaticIngress(
  config: IngressConfig,
  file: string,
  log: Logger,
  signal: AbortSignal,
  deps: IngressDeps = { clock: systemClock },
): Promise<void> {
  const { watchStaticFile } = await import('./static-server.ts');
  const source = await watchStaticFile(file, log);
  const ingress = new IngressController(config, log, deps, {
    nginx: undefined,
    watch: (onChange) => source.watched(onChange),
    writer: () => undefined,
  });
  await ingress.run(signal);
}

/** Where routes come from, and who is told about them. */
type IngressSource = {
  /** undefined: annotations of ingress-nginx are not honoured. */
  readonly nginx: NginxReader | undefined;
  watch(onChange: () => void): Watched;
  /** undefined: nobody but the log. */
  writer(watched: Watched, onLeading: () => void): ApiWriter | undefined;
};

class IngressController {
  readonly #config: IngressConfig;
  readonly #log: Logger;
  readonly #deps: IngressDeps;
  readonly #engine: Engine;
  readonly #nginx: NginxReader | undefined;
  readonly #watched: Watched;
  readonly #problems: ProblemReports;
  readonly #certificates: CertificateChecks;
  readonly #writer: ApiWriter | undefined;
  #compiled: CompiledRoutes | undefined;
  #synced = false;
  #compilePending = false;
  #serving = false;

  constructor(config: IngressConfig, log: Logger, deps: IngressDeps, source: IngressSource) {
    const { clock } = deps;
    this.#config = config;
    this.#log = log;
    this.#deps = deps;
    this.#engine =
      deps.engine?.(config) ?? new LocalEngine(config, log, clock, deps.transport ?? netTransport);
    this.#problems = new ProblemReports(clock, (problem) => {
      log.warn(problem.message, { ingress: keyOf(problem.ingress), reason: problem.reason });
      this.#writer?.report(problem);
    });
    this.#nginx = source.nginx;
    this.#certificates = new CertificateChecks(clock, () => this.#reportProblems());
    this.#watched = source.watch(() => this.#scheduleCompile());
    this.#writer = source.writer(this.#watched, () => this.#problems.again());
  }

  async run(signal: AbortSignal): Promise<void> {
    const { healthAddress } = this.#config;
    const health =
      healthAddress === undefined
        ? undefined
        : await serveHealth(healthAddress, {
            metrics: this.#engine.metrics,
            refresh: () => this.#engine.refresh(),
            ready: () => this.#serving,
            routes: () => renderRouteTable(this.#compiled?.table ?? emptyRouteTable),
            explain: async (request) => {
              const { explainRequest } = await import('../routes/explain.ts');
              const compiled = this.#compiled;
              if (compiled === undefined) return 'the route table is not loaded yet\n';
              const asked = new Map<number, readonly LiveEndpoint[]>();
              explainRequest(compiled, request, (index) => {
                asked.set(index, []);
                return [];
              });
              for (const index of asked.keys()) {
                const id = compiled.table.backends[index]?.id;
                if (id !== undefined) asked.set(index, await this.#engine.endpointsOf(id));
              }
              return explainRequest(compiled, request, (index) => asked.get(index) ?? []);
            },
          });
    try {
      await runTogether(
        [
          ...this.#watched.tasks,
          ...(this.#writer?.tasks ?? []),
          { name: 'ingress proxy', run: (scope) => this.#serve(health, scope) },
        ],
        signal,
      );
    } finally {
      this.#problems.stop();
      this.#certificates.stop();
      this.#engine.close();
      health?.close();
    }
  }

  async #serve(health: HealthServer | undefined, signal: AbortSignal): Promise<void> {
    await this.#watched.whenSynced(signal);
    this.#synced = true;
    this.#compile();
    const { http, https } = await this.#engine.listen();
    this.#serving = true;
    const ports: IngressPorts = { http, https, health: health?.port };
    this.#log.info('ready', { ...ports, ingresses: this.#compiled?.owned.length ?? 0 });
    this.#deps.onReady?.(ports);
    await aborted(signal);
    this.#serving = false;
    if (this.#config.lameDuckMs > 0) await this.#deps.clock.sleep(this.#config.lameDuckMs);
    await this.#engine.drain(this.#config.drainTimeoutMs);
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
    const { ingressClasses, controllerName } = this.#config;
    const compiled = compileRoutes(this.#watched.view, ingressClasses, this.#compiled, {
      nginx: this.#nginx,
      controllerName,
    });
    this.#compiled = compiled;
    this.#engine.publish(compiled);
    this.#engine.metrics.lastCompileSeconds = (clock.monotonicMs() - startMs) / 1000;
    this.#certificates.update(compiled.basis.structure.certificateUses);
    this.#reportProblems();
    this.#writer?.update(compiled);
  }

  #reportProblems(): void {
    this.#problems.update([...(this.#compiled?.problems ?? []), ...this.#certificates.problems]);
  }
}
