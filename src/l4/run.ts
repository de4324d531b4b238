import type { Node, Service } from '../api/gen/core-v1.ts';
import type { EndpointSlice } from '../api/gen/discovery-v1.ts';
import { keyOf } from '../api/object.ts';
import { apiVersionOf, endpointSlices, nodes, serviceCidrs, services } from '../api/resource.ts';
import { type Clock, systemClock } from '../base/clock.ts';
import type { HealthAddress } from '../base/health-server.ts';
import type { IpFamily } from '../base/ip.ts';
import { runTogether, type Task } from '../base/lifetime.ts';
import type { Logger } from '../base/log.ts';
import type { ApiClient } from '../client/client.ts';
import { createInformer } from '../control/create-informer.ts';
import { createRecorder } from '../control/recorder.ts';
import { serviceKeyOfSlice } from '../model/endpoints.ts';
import { type NodeView, nodeFactsOf } from '../model/view.ts';
import {
  applyKernelSettings,
  type KernelSetting,
  kernelSettings,
  type Nft,
  NftError,
  type SettingFailure,
} from './apply.ts';
import type { CompileOptions } from './compile.ts';
import { type Conntrack, createSpawnedConntrack } from './conntrack.ts';
import { createDataplane, type Dataplane, type ReportProblem } from './dataplane.ts';
import { type HealthReport, serveHealth } from './health.ts';
import { createSystemNft } from './libnftables.ts';
import { emptyLocalSummary, summarizeLocals } from './local-summary.ts';
import { createProxyMetrics, type ProxyMetrics } from './metrics.ts';
import { createServiceHealthServers, serviceHealthsOf } from './service-health.ts';
import { familiesOf, serviceRangesOf } from './service-ranges.ts';
import type { Relay } from './userspace/relay.ts';
import { ViewTracker } from './view-tracker.ts';

export type ProxyMode = 'auto' | 'nftables' | 'userspace';

export type ProxyConfig = {
  /** Name of the Node object that this process serves. */
  readonly nodeName: string;
  /** Ranges of all Pods. Their traffic keeps its source inside the cluster. */
  readonly clusterCidrs: readonly string[];
  /** Ranges of ClusterIPs, to which those of the API's ServiceCIDRs come. Addresses in them without a rule are refused. */
  readonly serviceCidrs: readonly string[];
  /** undefined: no health and metrics server. */
  readonly healthAddress: HealthAddress | undefined;
  /** Least time from the start of one transaction to that of the next, ms. Changes in between are merged. */
  readonly syncIntervalMinMs: number;
  /** `auto`: nftables, or userspace where that cannot be used. */
  readonly mode: ProxyMode;
  /** Starts the process that carries TCP connections in userspace mode; undefined: this process does it. */
  readonly relayCommand: readonly string[] | undefined;
  /** How often the kernel's table is compared with ours, ms. Heals rules edited by hand. */
  readonly resyncIntervalMs: number;
};

export const proxyDefaults = {
  clusterCidrs: ['10.42.0.0/16'],
  serviceCidrs: ['10.43.0.0/16'],
  healthAddress: { host: '127.0.0.1', port: 10256 },
  mode: 'auto',
  relayCommand: undefined,
  syncIntervalMinMs: 5,
  resyncIntervalMs: 30_000,
} as const satisfies Partial<ProxyConfig>;

/** What the proxy does to the machine; replaced in tests. */
export type ProxyPorts = {
  readonly nft: Nft;
  readonly conntrack: Conntrack;
  readonly clock: Clock;
  readonly applySettings: (settings: readonly KernelSetting[]) => Promise<readonly SettingFailure[]>;
  /** Called once, when the rules first follow the API. */
  readonly onReady?: ((healthPort: number | undefined) => void) | undefined;
};

/** Wait after a failed sync, ms; doubles up to the maximum. */
const retryMinMs = 100;
const retryMaxMs = 10_000;
/** Changes not applied for longer make the proxy unhealthy, ms. */
const lagMaxMs = 60_000;
/** First comparison with the kernel after a whole table: it learns how the kernel words our chains. */
const firstVerifyMs = 2_000;

const sliceIndex = 'service';
const deletionTaint = 'ToBeDeletedByClusterAutoscaler';

/**
 * Runs the service proxy of one node until the signal aborts. The rules stay in the kernel then, so connections go on
 * while the proxy is away. Rejects only when it cannot work at all, such as without nft(8) or its health address.
 */
export async function runProxy(
  config: ProxyConfig,
  client: ApiClient,
  log: Logger,
  signal: AbortSignal,
  machine?: ProxyPorts,
): Promise<void> {
  const ports = machine ?? (await systemPorts(log));
  const families = familiesOf([...config.clusterCidrs, ...config.serviceCidrs]);
  for (const { setting, error } of await ports.applySettings(kernelSettings(families))) {
    log.warn(`cannot set ${setting.path} to ${setting.value}, so that ${setting.purpose}`, { error });
  }
  const watched = createWatched(config, client, log);
  const recorder = createRecorder(client, 'service-proxy', {
    log,
    timing: { clock: ports.clock, random: Math.random },
  });
  const report: ReportProblem = ({ service, reason, message }) => {
    log.warn(message, { service });
    const object = watched.services.get(service);
    if (object === undefined) return;
    const named = { ...object, apiVersion: apiVersionOf(services), kind: services.kind };
    recorder.event(named, 'Warning', reason, `node ${config.nodeName}: ${message}`);
  };
  const proxy = new Proxy(
    config,
    watched,
    (scope) => chooseDataplane(config, families, log, ports, report, scope),
    log,
    ports,
  );
  const health =
    config.healthAddress === undefined
      ? undefined
      : await serveHealth(config.healthAddress, {
          report: () => proxy.report(),
          metrics: proxy.metrics,
          ruleset: () => proxy.rulesetText(),
        });
  try {
    const tasks: readonly Task[] = [
      ...watched.tasks,
      { name: 'events', run: (scope) => recorder.run(scope) },
      { name: 'service proxy', run: (scope) => proxy.run(health?.port, scope) },
    ];
    await runTogether(tasks, signal);
  } finally {
    health?.close();
  }
}

/** What `mode` says; `auto` tries whether the kernel lets us read our table. Rejects with NftError when nftables is a must. */
async function chooseDataplane(
  { mode, relayCommand }: ProxyConfig,
  families: readonly IpFamily[],
  log: Logger,
  ports: ProxyPorts,
  report: ReportProblem,
  signal: AbortSignal,
): Promise<Dataplane> {
  if (mode !== 'userspace') {
    const { nft, conntrack } = ports;
    const create = (): Dataplane => createDataplane(log, { nft, conntrack, report }, families);
    try {
      for (const family of families) await nft.read(family, signal, 'chains');
      return create();
    } catch (error) {
      if (!(error instanceof NftError)) throw error;
      if (error.code === 'unreadable') return create();
      if (mode === 'nftables') throw error;
      log.warn('nftables cannot be used: Services are served by sockets of this process', { error });
    }
  }
  const { createSpawnedRoutes, createUserspaceDataplane, systemAddresses } = await import(
    './userspace/dataplane.ts'
  );
  const userspacePorts = {
    relay: relayCommand === undefined ? undefined : await startRelay(relayCommand, log),
    routes: createSpawnedRoutes(),
    localAddresses: systemAddresses,
    random: () => Math.random(),
    nowMs: () => ports.clock.monotonicMs(),
  };
  return createUserspaceDataplane(log, userspacePorts, report);
}

async function startRelay(command: readonly string[], log: Logger): Promise<Relay | undefined> {
  const { openRelay } = await import('./userspace/relay.ts');
  try {
    return await openRelay(command, log);
  } catch (error) {
    log.warn('TCP connections are carried by this process, at more than twice the cost', { error });
    return undefined;
  }
}

async function systemPorts(log: Logger): Promise<ProxyPorts> {
  return {
    nft: await createSystemNft(log),
    conntrack: createSpawnedConntrack(log),
    clock: systemClock,
    applySettings: applyKernelSettings,
  };
}

/** The informers of a proxy. Objects are stripped to what is read here: a node has them all in memory. */
function createWatched(config: ProxyConfig, client: ApiClient, log: Logger) {
  const serviceInformer = createInformer(client, services, { log, transform: withoutBallast<Service> });
  const sliceInformer = createInformer(client, endpointSlices, {
    log,
    transform: withoutBallast<EndpointSlice>,
  });
  const nodeInformer = createInformer(client, nodes, { log, transform: nodeEssence });
  // A cluster may be too old to have them: then the ranges are those of the options.
  const rangeInformer = createInformer(client, serviceCidrs, { log, mayBeAbsent: true });
  sliceInformer.addIndex(sliceIndex, (slice) => {
    const key = serviceKeyOfSlice(slice);
    return key === undefined ? [] : [key];
  });
  return {
    services: serviceInformer,
    slices: sliceInformer,
    nodes: nodeInformer,
    ranges: rangeInformer,
    tracker: new ViewTracker(config.nodeName, {
      service: (key) => serviceInformer.get(key),
      slices: (key) => sliceInformer.byIndex(sliceIndex, key),
      services: () => Iterator.from(serviceInformer.list()).map((service) => keyOf(service)),
      node: () => nodeInformer.get(config.nodeName),
    }),
    tasks: [
      { name: 'services informer', run: (scope: AbortSignal) => serviceInformer.run(scope) },
      { name: 'endpointslices informer', run: (scope: AbortSignal) => sliceInformer.run(scope) },
      { name: 'nodes informer', run: (scope: AbortSignal) => nodeInformer.run(scope) },
      { name: 'servicecidrs informer', run: (scope: AbortSignal) => rangeInformer.run(scope) },
    ],
  };
}

type Watched = ReturnType<typeof createWatched>;

function withoutBallast<T extends Service | EndpointSlice>(object: T): T {
  if (object.metadata?.managedFields === undefined) return object;
  const { managedFields: _managedFields, ...metadata } = object.metadata;
  return { ...object, metadata };
}

function nodeEssence(node: Node): Node {
  const { name, resourceVersion, labels, deletionTimestamp } = node.metadata ?? {};
  return {
    metadata: { name, resourceVersion, labels, deletionTimestamp },
    spec: { podCIDR: node.spec?.podCIDR, podCIDRs: node.spec?.podCIDRs, taints: node.spec?.taints },
    status: { addresses: node.status?.addresses },
  };
}

/** The loop between informers and kernel. */
class Proxy {
  readonly metrics: ProxyMetrics = createProxyMetrics();
  readonly #config: ProxyConfig;
  readonly #watched: Watched;
  readonly #choose: (signal: AbortSignal) => Promise<Dataplane>;
  #dataplane: Dataplane | undefined;
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
        if (!ready) {
          ready = true;
          this.#log.info('ready', { services: this.#watched.services.size, healthPort });
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
      const ended = await dataplane.forgetStaleFlows(view, options, signal);
      for (const family of [4, 6] as const) this.metrics.staleFlowsDeleted[family] += ended[family];
      return view;
    } catch (error) {
      this.#pendingSinceMs = pendingSinceMs === 0 ? clock.nowMs() : pendingSinceMs;
      for (const key of pendingServices) this.#pendingServices.add(key);
      for (const key of pendingSlices) this.#pendingSlices.add(key);
      throw error;
    }
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
  const essence = (node: Node): string => JSON.stringify([node.spec, node.status, node.metadata?.labels]);
  return essence(a) === essence(b);
}
