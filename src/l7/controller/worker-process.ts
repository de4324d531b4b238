import { systemClock } from '../../base/clock.ts';
import type { Logger } from '../../base/log.ts';
import { type CompiledRoutes, compileRoutes } from '../routes/compile.ts';
import { LocalEngine } from './local-engine.ts';
import { loadNginxReader, type NginxReader } from '../routes/nginx-reader.ts';
import type { CountReport } from '../policy/group-counts.ts';
import { readingOf } from '../observe/metrics-sum.ts';
import { RouteReplica } from '../routes/route-objects.ts';
import { chooseTransport } from '../transport/transport-choice.ts';
import type { FromWorker, ToWorker, WorkerConfig } from './worker-messages.ts';

/** Requests under way when the main process is gone have this long, ms. */
const orphanGraceMs = 10_000;

/** A worker as a process: does what the process that started it says, and ends with it. Resolves when it has ended. */
export async function runWorkerProcess(log: Logger): Promise<void> {
  if (process.send === undefined) throw new Error('a worker is started by `fairlead ingress --workers`');
  // The main process decides when to end: a signal to the whole group must not cut requests.
  for (const name of ['SIGTERM', 'SIGINT'] as const) process.on(name, () => {});
  const worker = new WorkerProcess(log);
  process.on('message', (message: ToWorker) => worker.take(message));
  process.once('disconnect', () => worker.end(orphanGraceMs));
  await worker.ended;
}

class WorkerProcess {
  readonly #log: Logger;
  readonly #replica = new RouteReplica();
  readonly #end = Promise.withResolvers<void>();
  #engine: LocalEngine | undefined;
  #config: WorkerConfig | undefined;
  #nginx: NginxReader | undefined;
  #compiled: CompiledRoutes | undefined;
  #ending = false;

  constructor(log: Logger) {
    this.#log = log;
  }

  /** Rejects when it cannot work. */
  get ended(): Promise<void> {
    return this.#end.promise;
  }

  take(message: ToWorker): void {
    switch (message.kind) {
      case 'start':
        this.#start(message).catch(this.#end.reject);
        return;
      case 'routes':
        this.#replica.apply(message.routes);
        this.#compile();
        this.#tell({ kind: 'done', number: message.number });
        return;
      case 'counts':
        this.#engine?.hearCounts(message.report);
        return;
      case 'read':
        void this.#read(message.number, message.backendId);
        return;
      case 'drain':
        this.end(message.graceMs);
        return;
      default:
        message satisfies never;
    }
  }

  async #start({ config, routes }: Extract<ToWorker, { kind: 'start' }>): Promise<void> {
    const transport = await chooseTransport(config.transport, this.#log);
    this.#nginx = await loadNginxReader(config);
    this.#config = config;
    const shareCounts = (report: CountReport): void => this.#tell({ kind: 'counts', report });
    this.#engine = new LocalEngine(config, this.#log, systemClock, transport, config.tickets, shareCounts);
    this.#replica.apply(routes);
    this.#compile();
    await this.#engine.listen();
    this.#tell({ kind: 'listening' });
  }

  /** As the main process has done: problems are told there. */
  #compile(): void {
    if (this.#config === undefined) return;
    const { ingressClasses, controllerName } = this.#config;
    const options = { nginx: this.#nginx, controllerName };
    this.#compiled = compileRoutes(this.#replica, ingressClasses, this.#compiled, options);
    this.#engine?.publish(this.#compiled);
  }

  async #read(number: number, backendId: string | undefined): Promise<void> {
    const endpoints = backendId === undefined ? [] : ((await this.#engine?.endpointsOf(backendId)) ?? []);
    const metrics = this.#engine === undefined ? {} : readingOf(this.#engine.metrics);
    this.#tell({ kind: 'reading', number, metrics, endpoints });
  }

  end(graceMs: number): void {
    if (this.#ending) return;
    this.#ending = true;
    const drained = this.#engine?.drain(graceMs) ?? Promise.resolve();
    drained.then(() => {
      if (process.connected) process.disconnect?.();
      this.#end.resolve();
    }, this.#end.reject);
  }

  #tell(message: FromWorker): void {
    if (process.connected && process.send !== undefined) process.send(message);
  }
}
