import type { Node } from '../api/gen/core-v1.ts';
import type { EndpointSlice } from '../api/gen/discovery-v1.ts';
import type { Logger } from '../base/log.ts';
import { serviceKeyOfSlice } from '../model/endpoints.ts';
import { type NodeView, nodeFactsOf } from '../model/view.ts';
import type { CompileOptions } from './compile.ts';
import type { ProxyConfig, ProxyPorts } from './config.ts';
import type { Dataplane } from './dataplane.ts';
import type { HealthReport } from './health.ts';
import { emptyLocalSummary, summarizeLocals } from './local-summary.ts';
import { createProxyMetrics, type ProxyMetrics } from './metrics.ts';
import { createServiceHealthServers, serviceHealthsOf } from './service-health.ts';
import { serviceRangesOf } from './service-ranges.ts';
import type { Watched } from './watched.ts';

/** Wait after a failed sync, ms; doubles up to the maximum. */
const retryMinMs = 100;
const retryMaxMs = 10_000;
/** Changes not applied for longer make the proxy unhealthy, ms. */
const lagMaxMs = 60_000;
/** First comparison with the kernel after a whole table: it learns how the kernel words our chains. */
const firstVerifyMs = 2_000;
const deletionTaint = 'ToBeDeletedByClusterAutoscaler';

/** The loop between informers and kernel. */
export class ProxyLoop {
  readonly metrics: ProxyMetrics = createProxyMetrics();
  readonly #config: ProxyConfig;
  readonly #watched: Watched;
  readonly #choose: (signal: AbortSignal) => Promise<Dataplane>;
  #dataplane: Dataplane | undefined;
  readonly #ready = Promise.withResolvers<Dataplane>();
  /** undefined: a node or a ServiceCIDR changed since they were read. */
  #options: CompileOptions | undefined;
  readonly #log: Logger;
  readonly #ports: ProxyPorts;
  #wake: () => void = () => {};
  /** When the oldest change that is not in the kernel yet came, 0: all are. */
  #pendingSinceMs = 0;
  /** Objects that changed since the last sync began; bound: those that live or have just gone. */
  #pendingServices = new Set<string>();
  #pendingSlices = new Set<string>();
  /** A look at the flows that is under way, and whether another is to follow. */
  #forgetting: Promise<void> | undefined;
  #forgetAgain = false;
  /** When Pods or Services changed, as their slices say; observed once the rules follow. Bound: 1000. */
  #triggersMs: number[] = [];

  constructor(
    config: ProxyConfig,
    watched: Watched,
    choose: (signal: AbortSignal) => Promise<Dataplane>,
    log: Logger,
    ports: ProxyPorts,
  ) {
    this.#config = config;
    this.#watched = watched;
    this.#choose = choose;
    this.#log = log;
    this.#ports = ports;
    this.metrics.pendingServices = () => this.#pendingServices.size;
    this.metrics.pendingEndpoints = () => this.#pendingSlices.size;
    watched.services.onChange((key) => {
      this.metrics.serviceChanges++;
      this.#pendingServices.add(key);
      watched.tracker.markService(key);
      this.#changed();
    });
    watched.slices.onChange((key, now, old) => {
      this.metrics.endpointChanges++;
      this.#pendingSlices.add(key);
      for (const slice of [now, old]) {
        const service = slice === undefined ? undefined : serviceKeyOfSlice(slice);
        if (service !== undefined) watched.tracker.markService(service);
      }
      if (now !== undefined && watched.slices.synced) this.#rememberTrigger(now);
      this.#changed();
    });
    watched.nodes.onChange((key, now, old) => {
      if (now !== undefined && old !== undefined && sameNode(now, old)) return;
      this.#options = undefined;
      if (key === config.nodeName) watched.tracker.markNode();
      this.#changed();
    });
    watched.ranges.onChange((_key, now, old) => {
      if (String(now?.spec?.cidrs) === String(old?.spec?.cidrs)) return; // its status alone
      this.#options = undefined;
      this.#changed();
    });
  }

  /** Resolves once the rules follow the API. */
  get ready(): Promise<Dataplane> {
    return this.#ready.promise;
  }

  async run(healthPort: number | undefined, signal: AbortSignal): Promise<void> {
    const { services: serviceInformer, slices, nodes: nodeInformer, ranges } = this.#watched;
    // Finding out what the machine can do takes a tool's start: the lists are read meanwhile.
    const [dataplane] = await Promise.all([
      this.#choose(signal),
      ...[serviceInformer, slices, nodeInformer, ranges].map((informer) => informer.whenSynced(signal)),
    ]);
    this.#dataplane = dataplane;
    const servers = createServiceHealthServers(this.#log, () => this.report().alive);
    let summary = emptyLocalSummary;
    const onView = (view: NodeView): void => {
      const next = summarizeLocals(view, summary);
      if (next.checked !== summary.checked) servers.update(serviceHealthsOf(next.checked.values()));
      this.metrics.noLocalInternal = next.noLocalInternal;
      this.metrics.noLocalExternal = next.noLocalExternal;
      summary = next;
    };
    try {
      await this.#loop(dataplane, signal, onView, healthPort);
    } finally {
      servers.close();
      await this.#forgetting;
      await dataplane.close();
    }
  }

  async #loop(
    dataplane: Dataplane,
    signal: AbortSignal,
    onView: (view: NodeView) => void,
    healthPort: number | undefined,
  ): Promise<void> {
    const { clock } = this.#ports;
    signal.addEventListener('abort', () => this.#wake(), { once: true });
    let ready = false;
    let failures = 0;
    let verifyAtMs = clock.monotonicMs() + this.#config.resyncIntervalMs;
    while (!signal.aborted) {
      const startedAtMs = clock.monotonicMs();
      if (ready && startedAtMs >= verifyAtMs) {
        verifyAtMs = startedAtMs + this.#config.resyncIntervalMs;
        await this.#verify(dataplane, signal);
      }
      try {
        const { fullSyncs } = this.metrics;
        onView(await this.#sync(dataplane, signal));
        if (this.metrics.fullSyncs > fullSyncs) {
          verifyAtMs = Math.min(verifyAtMs, clock.monotonicMs() + firstVerifyMs);
        }
        failures = 0;
        this.#forgetFlows(dataplane, signal);
        if (!ready) {
          await this.#forgetting; // what happened while no proxy ran is made up for before it counts as ready
          ready = true;
          this.#log.info('ready', { services: this.#watched.services.size, healthPort });
          this.#ready.resolve(dataplane);
          this.#ports.onReady?.(healthPort);
        }
      } catch (error) {
        if (signal.aborted) return;
        failures++;
        this.metrics.syncFailures++;
        this.#log.error('cannot apply the rules, trying again', { error });
        await this.#pause(Math.min(retryMinMs * 2 ** (failures - 1), retryMaxMs), signal);
        continue;
      }
      await this.#nextChange(verifyAtMs - clock.monotonicMs(), signal);
      await this.#pause(startedAtMs + this.#config.syncIntervalMinMs - clock.monotonicMs(), signal);
    }
  }

  /** One pass: everything that came before its start is in the kernel when it resolves. */
  async #sync(dataplane: Dataplane, signal: AbortSignal): Promise<NodeView> {
    const { clock } = this.#ports;
    const startedAtMs = clock.monotonicMs();
    const pendingSinceMs = this.#pendingSinceMs;
    const triggersMs = this.#triggersMs;
    this.#pendingSinceMs = 0;
    this.#triggersMs = [];
    const [pendingServices, pendingSlices] = [this.#pendingServices, this.#pendingSlices];
    this.#pendingServices = new Set();
    this.#pendingSlices = new Set();
    try {
      const view = this.#watched.tracker.next();
      const options = this.#compileOptions();
      const kind = await dataplane.sync(view, options, signal);
      const seconds = (clock.monotonicMs() - startedAtMs) / 1000;
      if (kind !== 'none') this.metrics.syncSeconds.add(seconds);
      if (kind === 'full') this.metrics.fullSyncSeconds.add(seconds);
      if (kind === 'change') this.metrics.partialSyncSeconds.add(seconds);
      this.metrics.fullSyncs += Number(kind === 'full');
      this.metrics.partialSyncs += Number(kind === 'change');
      this.metrics.lastSyncMs = clock.nowMs();
      for (const ms of triggersMs) this.metrics.programmingSeconds.add((clock.nowMs() - ms) / 1000);
      return view;
    } catch (error) {
      this.#pendingSinceMs = pendingSinceMs === 0 ? clock.nowMs() : pendingSinceMs;
      for (const key of pendingServices) this.#pendingServices.add(key);
      for (const key of pendingSlices) this.#pendingSlices.add(key);
      throw error;
    }
  }

  /**
   * Ends stale UDP flows beside the loop: starting the tool that does it takes many times as long as a change of rules, and no change
   * waits for it. One look at a time; syncs meanwhile are followed by one more.
   */
  #forgetFlows(dataplane: Dataplane, signal: AbortSignal): void {
    if (this.#forgetting !== undefined) {
      this.#forgetAgain = true;
      return;
    }
    this.#forgetAgain = false;
    const look = async (): Promise<void> => {
      try {
        const ended = await dataplane.forgetStaleFlows(signal);
        for (const family of [4, 6] as const) this.metrics.staleFlowsDeleted[family] += ended[family];
      } catch (error) {
        if (!signal.aborted) this.#log.warn('stale UDP flows are left until the next change', { error });
      }
      this.#forgetting = undefined;
      if (this.#forgetAgain && !signal.aborted) this.#forgetFlows(dataplane, signal);
    };
    this.#forgetting = look();
  }

  async #verify(dataplane: Dataplane, signal: AbortSignal): Promise<void> {
    try {
      if (!(await dataplane.verify(signal))) this.metrics.tableRepairs++;
    } catch (error) {
      if (!signal.aborted) this.#log.warn('cannot compare the kernel’s table with ours', { error });
    }
  }

  /** The same object until a node or a range changes. */
  #compileOptions(): CompileOptions {
    this.#options ??= this.#readOptions();
    return this.#options;
  }

  #readOptions(): CompileOptions {
    const addresses = Iterator.from(this.#watched.nodes.list()).flatMap(
      (node) => nodeFactsOf(node.metadata?.name ?? '', node).addresses,
    );
    return {
      clusterCidrs: this.#config.clusterCidrs,
      serviceCidrs: serviceRangesOf(this.#config.serviceCidrs, this.#watched.ranges.list()),
      clusterNodeAddresses: [...addresses].toSorted(),
    };
  }

  #changed(): void {
    const nowMs = this.#ports.clock.nowMs();
    this.metrics.lastQueuedMs = nowMs;
    if (this.#pendingSinceMs === 0) this.#pendingSinceMs = nowMs;
    this.#wake();
  }

  /** Resolves at the next change, or after `ms`. Changes of the same turn of the event loop are all in when it does. */
  async #nextChange(ms: number, signal: AbortSignal): Promise<void> {
    if (this.#pendingSinceMs === 0 && ms > 0 && !signal.aborted) {
      await new Promise<void>((resolve) => {
        const cancel = this.#ports.clock.after(ms, resolve);
        this.#wake = () => {
          cancel();
          resolve();
        };
      });
      this.#wake = () => {};
    }
    await new Promise<void>((resolve) => setImmediate(resolve));
  }

  async #pause(ms: number, signal: AbortSignal): Promise<void> {
    if (ms <= 0 || signal.aborted) return;
    try {
      await this.#ports.clock.sleep(ms, signal);
    } catch {
      // aborted: the loop sees it
    }
  }

  #rememberTrigger(slice: EndpointSlice): void {
    const text = slice.metadata?.annotations?.['endpoints.kubernetes.io/last-change-trigger-time'];
    const ms = text === undefined ? Number.NaN : Date.parse(text);
    if (!Number.isNaN(ms) && this.#triggersMs.length < 1000) this.#triggersMs.push(ms);
  }

  report(): HealthReport {
    const nowMs = this.#ports.clock.nowMs();
    const lagging = this.#pendingSinceMs !== 0 && nowMs - this.#pendingSinceMs > lagMaxMs;
    const alive = this.metrics.lastSyncMs !== 0 && !lagging;
    const node = this.#watched.nodes.get(this.#config.nodeName);
    const leaving =
      node?.metadata?.deletionTimestamp !== undefined ||
      (node?.spec?.taints ?? []).some((taint) => taint.key === deletionTaint);
    return { alive, eligible: alive && !leaving, lastUpdatedMs: this.metrics.lastSyncMs, nowMs };
  }

  rulesetText(): string {
    return this.#dataplane?.describe() ?? '';
  }
}

function sameNode(a: Node, b: Node): boolean {
  const essence = (node: Node): string =>
    JSON.stringify([node.spec, node.status?.addresses, node.metadata?.labels]);
  return essence(a) === essence(b);
}
