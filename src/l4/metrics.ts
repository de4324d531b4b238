import type { Counter as CounterType, Gauge as GaugeType, Registry } from 'prom-client';
import type { IpFamily } from '../base/ip.ts';

/** Facts of a running proxy, counted as they happen. Names and meanings of what is exposed: README.md. */
export type ProxyMetrics = {
  serviceChanges: number;
  endpointChanges: number;
  syncFailures: number;
  fullSyncs: number;
  partialSyncs: number;
  tableRepairs: number;
  staleFlowsDeleted: Record<IpFamily, number>;
  /** Services whose change, or whose endpoints' change, is not applied yet. */
  pendingServices: () => number;
  pendingEndpoints: () => number;
  /** Answers of /healthz and /livez by status. */
  readonly healthAnswers: Map<string, number>;
  lastQueuedMs: number;
  lastSyncMs: number;
  syncSeconds: Observations;
  fullSyncSeconds: Observations;
  partialSyncSeconds: Observations;
  programmingSeconds: Observations;
  /** Service ports whose Local policy has no endpoint on this node. */
  noLocalInternal: number;
  noLocalExternal: number;
};

/**
 * Samples that wait for the first scrape, because the library that keeps histograms costs 80 ms to load. Bound: 4096; then
 * the oldest half is dropped.
 */
export class Observations {
  readonly #waiting: number[] = [];
  #sink: ((value: number) => void) | undefined;

  add(value: number): void {
    if (this.#sink !== undefined) {
      this.#sink(value);
      return;
    }
    this.#waiting.push(value);
    if (this.#waiting.length >= 4096) this.#waiting.splice(0, 2048);
  }

  /** From now on everything goes to `sink`, first what has waited. */
  drainTo(sink: (value: number) => void): void {
    this.#sink = sink;
    for (const value of this.#waiting.splice(0)) sink(value);
  }
}

export function createProxyMetrics(): ProxyMetrics {
  return {
    serviceChanges: 0,
    endpointChanges: 0,
    syncFailures: 0,
    fullSyncs: 0,
    partialSyncs: 0,
    tableRepairs: 0,
    staleFlowsDeleted: { 4: 0, 6: 0 },
    pendingServices: () => 0,
    pendingEndpoints: () => 0,
    healthAnswers: new Map(),
    lastQueuedMs: 0,
    lastSyncMs: 0,
    syncSeconds: new Observations(),
    fullSyncSeconds: new Observations(),
    partialSyncSeconds: new Observations(),
    programmingSeconds: new Observations(),
    noLocalInternal: 0,
    noLocalExternal: 0,
  };
}

type Reading = {
  readonly name: string;
  readonly help: string;
  readonly read: (metrics: ProxyMetrics) => number;
};

const counters: readonly Reading[] = [
  {
    name: 'kubeproxy_sync_proxy_rules_service_changes_total',
    help: 'Service changes seen',
    read: (metrics) => metrics.serviceChanges,
  },
  {
    name: 'kubeproxy_sync_proxy_rules_endpoint_changes_total',
    help: 'EndpointSlice changes seen',
    read: (metrics) => metrics.endpointChanges,
  },
  {
    name: 'kubeproxy_sync_proxy_rules_nftables_sync_failures_total',
    help: 'Syncs that failed',
    read: (metrics) => metrics.syncFailures,
  },
  {
    name: 'fairlead_proxy_full_syncs_total',
    help: 'Replacements of the whole table',
    read: (metrics) => metrics.fullSyncs,
  },
  {
    name: 'fairlead_proxy_partial_syncs_total',
    help: 'Transactions of changed elements',
    read: (metrics) => metrics.partialSyncs,
  },
  {
    name: 'fairlead_proxy_table_repairs_total',
    help: 'Times that the table was found changed by somebody else',
    read: (metrics) => metrics.tableRepairs,
  },
];

const gauges: readonly Reading[] = [
  {
    name: 'kubeproxy_sync_proxy_rules_service_changes_pending',
    help: 'Service changes that are not applied yet',
    read: (metrics) => metrics.pendingServices(),
  },
  {
    name: 'kubeproxy_sync_proxy_rules_endpoint_changes_pending',
    help: 'EndpointSlice changes that are not applied yet',
    read: (metrics) => metrics.pendingEndpoints(),
  },
  {
    name: 'kubeproxy_sync_proxy_rules_last_timestamp_seconds',
    help: 'When the last sync succeeded, seconds since the epoch',
    read: (metrics) => metrics.lastSyncMs / 1000,
  },
  {
    name: 'kubeproxy_sync_proxy_rules_last_queued_timestamp_seconds',
    help: 'When a sync was last asked for, seconds since the epoch',
    read: (metrics) => metrics.lastQueuedMs / 1000,
  },
];

const histograms = [
  ['kubeproxy_sync_proxy_rules_duration_seconds', 'Time of a sync', 'syncSeconds'],
  ['kubeproxy_sync_full_proxy_rules_duration_seconds', 'Time of a full sync', 'fullSyncSeconds'],
  ['kubeproxy_sync_partial_proxy_rules_duration_seconds', 'Time of a partial sync', 'partialSyncSeconds'],
  [
    'kubeproxy_network_programming_duration_seconds',
    'From the change of a Pod or Service to rules that follow it',
    'programmingSeconds',
  ],
] as const;

/** Powers of two from 1 ms to 16 s: changes take a few ms, a table of 10,000 Services about a second. */
const secondsBuckets = Array.from({ length: 15 }, (_, exponent) => 0.001 * 2 ** exponent);

/** The registry that exposes `metrics`. To be made once, at the first scrape. */
export async function createRegistry(metrics: ProxyMetrics): Promise<Registry> {
  const { Counter, Gauge, Histogram, Registry, collectDefaultMetrics } = await import('prom-client');
  const registry = new Registry();
  const registers = [registry];
  collectDefaultMetrics({ register: registry });
  for (const { name, help, read } of counters) {
    new Counter({
      name,
      help,
      registers,
      collect() {
        this.reset();
        this.inc(read(metrics));
      },
    });
  }
  for (const { name, help, read } of gauges) {
    new Gauge({
      name,
      help,
      registers,
      collect() {
        this.set(read(metrics));
      },
    });
  }
  registerLabelled(metrics, { Counter, Gauge }, registers);
  for (const [name, help, field] of histograms) {
    const histogram = new Histogram({ name, help, registers, buckets: secondsBuckets });
    metrics[field].drainTo((value) => histogram.observe(value));
  }
  return registry;
}

type Kinds = { readonly Counter: typeof CounterType; readonly Gauge: typeof GaugeType };

/** Those with labels. */
function registerLabelled(
  metrics: ProxyMetrics,
  { Counter, Gauge }: Kinds,
  registers: readonly Registry[],
): void {
  const shared = { registers: [...registers] };
  new Gauge({
    ...shared,
    name: 'kubeproxy_sync_proxy_rules_no_local_endpoints',
    help: 'Service ports of policy Local without an endpoint on this node',
    labelNames: ['traffic_policy'],
    collect() {
      this.set({ traffic_policy: 'internal' }, metrics.noLocalInternal);
      this.set({ traffic_policy: 'external' }, metrics.noLocalExternal);
    },
  });
  new Counter({
    ...shared,
    name: 'kubeproxy_conntrack_reconciler_deleted_entries_total',
    help: 'UDP flows deleted because their endpoint left',
    labelNames: ['ip_family'],
    collect() {
      this.reset();
      for (const family of [4, 6] as const) {
        this.inc({ ip_family: `IPv${family}` }, metrics.staleFlowsDeleted[family]);
      }
    },
  });
  for (const path of ['healthz', 'livez']) {
    new Counter({
      ...shared,
      name: `kubeproxy_proxy_${path}_total`,
      help: `Answers of /${path}`,
      labelNames: ['code'],
      collect() {
        this.reset();
        for (const code of ['200', '503'])
          this.inc({ code }, metrics.healthAnswers.get(`${path} ${code}`) ?? 0);
      },
    });
  }
}
