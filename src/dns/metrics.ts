import type { Registry } from 'prom-client';
import { Durations, histogram, Sizes } from './histogram.ts';
import { rcodes, rrTypes } from './wire.ts';

/** Who made an answer, in CoreDNS' names of its plugins. */
export type Source = 'kubernetes' | 'forward' | 'errors';

const sources: readonly Source[] = ['kubernetes', 'forward', 'errors'];
const typeNames = [...Object.keys(rrTypes), 'other'];
const rcodeNames = [...Object.keys(rcodes), 'other'];
/** Index of each type among typeNames: one look-up a query. */
const typeIndexes = new Uint8Array(65_536).fill(typeNames.length - 1);
for (const [index, code] of Object.values(rrTypes).entries()) typeIndexes[code] = index;
const rcodeCodes: readonly number[] = Object.values(rcodes);

/** [source][rcode] flattened. */
function responseIndex(source: Source, rcode: number): number {
  const known = rcodeCodes.indexOf(rcode);
  return sources.indexOf(source) * rcodeNames.length + (known === -1 ? rcodeNames.length - 1 : known);
}

const forwardedFrom = sources.indexOf('forward') * rcodeNames.length;
const forwardedTo = forwardedFrom + rcodeNames.length;

type UpstreamCounts = {
  readonly rcodes: Map<number, number>;
  readonly durations: Durations;
  failures: number;
  probeFailures: number;
};

/** Bits of a tag beside the index of the type and that of source and code. */
const tagBits = { typeAt: 8, typeMask: 0xff, dnssecOk: 1 << 16, denial: 1 << 17 } as const;

/** What there is of one transport. */
type TransportSizes = { readonly requests: Sizes; readonly responses: Sizes };

/** Counted as it happens, in plain arrays; turned into Prometheus' form when somebody asks. */
export class DnsMetrics {
  /** [protocol][family][type] flattened. */
  readonly #requests = new Float64Array(2 * 2 * typeNames.length);
  /** [source][rcode] flattened. */
  readonly #responses = new Float64Array(sources.length * rcodeNames.length);
  readonly requestDurations = new Durations();
  /** From the change of a Pod to a name that follows it; headless Services only. */
  readonly programmingDurations = new Durations();
  readonly #upstreams = new Map<string, UpstreamCounts>();
  readonly #sizes: Readonly<Record<'udp' | 'tcp', TransportSizes>> = {
    udp: { requests: new Sizes(), responses: new Sizes() },
    tcp: { requests: new Sizes(), responses: new Sizes() },
  };
  #dnssecOk = 0;
  #cacheHits = 0;
  #cacheDenials = 0;
  #cacheMisses = 0;
  /** Questions refused because too many were under way. */
  forwardRejects = 0;
  /** Answers that were renewed before their time was over. */
  prefetches = 0;
  /** Answers given although their time was over. */
  staleServed = 0;
  /** How often a question of ours came back to us. */
  loops = 0;
  /** Answers that failed by a fault of ours. */
  panics = 0;
  /** Queries that got no answer because their client asks too much. */
  limited = 0;
  cacheEntries: () => { readonly success: number; readonly denial: number } = () => ({
    success: 0,
    denial: 0,
  });
  /** Names of the ConfigMap's hosts. */
  hosts: () => number = () => 0;
  /** Settings that were wrong and not taken. */
  reloadsFailed = 0;
  /** Finished answers that are kept as bytes. */
  packetEntries: () => number = () => 0;
  services: () => number = () => 0;
  /** Of the program. */
  version = 'unknown';

  /** A question that is answered the long way; `bytes` long. */
  request(protocol: 'udp' | 'tcp', family: 4 | 6, type: number, bytes: number, dnssecOk: boolean): void {
    this.#count(protocol, family, typeIndexes[type] ?? 0);
    this.#sizes[protocol].requests.add(bytes);
    if (dnssecOk) this.#dnssecOk += 1;
  }

  response(source: Source, rcode: number, ms: number, protocol: 'udp' | 'tcp', bytes: number): void {
    const index = responseIndex(source, rcode);
    this.#responses[index] = (this.#responses[index] ?? 0) + 1;
    this.requestDurations.add(ms);
    this.#sizes[protocol].responses.add(bytes);
  }

  /** What `quick` counts an answer by. */
  tagOf(type: number, source: Source, rcode: number, dnssecOk: boolean, isDenial: boolean): number {
    const bits = (dnssecOk ? tagBits.dnssecOk : 0) | (isDenial ? tagBits.denial : 0);
    return ((typeIndexes[type] ?? 0) << tagBits.typeAt) | responseIndex(source, rcode) | bits;
  }

  /** A request and its answer, by its tag; the time it took is told apart. */
  quick(
    protocol: 'udp' | 'tcp',
    family: 4 | 6,
    tag: number,
    requestBytes: number,
    responseBytes: number,
  ): void {
    this.#count(protocol, family, (tag >>> tagBits.typeAt) & tagBits.typeMask);
    const response = tag & 0xff;
    this.#responses[response] = (this.#responses[response] ?? 0) + 1;
    const sizes = this.#sizes[protocol];
    sizes.requests.add(requestBytes);
    sizes.responses.add(responseBytes);
    if ((tag & tagBits.dnssecOk) !== 0) this.#dnssecOk += 1;
    if (response < forwardedFrom || response >= forwardedTo) return;
    if ((tag & tagBits.denial) !== 0) this.#cacheDenials += 1;
    else this.#cacheHits += 1;
  }

  #count(protocol: 'udp' | 'tcp', family: 4 | 6, typeIndex: number): void {
    const row = (protocol === 'udp' ? 0 : 2) + (family === 4 ? 0 : 1);
    const index = row * typeNames.length + typeIndex;
    this.#requests[index] = (this.#requests[index] ?? 0) + 1;
  }

  cacheAsked(found: 'success' | 'denial' | undefined): void {
    if (found === undefined) this.#cacheMisses += 1;
    else if (found === 'denial') this.#cacheDenials += 1;
    else this.#cacheHits += 1;
  }

  forwarded(upstream: { readonly host: string; readonly port: number }, rcode: number, ms: number): void {
    const counts = this.#countsOf(upstream);
    counts.rcodes.set(rcode, (counts.rcodes.get(rcode) ?? 0) + 1);
    counts.durations.add(ms);
  }

  forwardFailed(upstream: { readonly host: string; readonly port: number }, reason: string): void {
    const counts = this.#countsOf(upstream);
    counts.failures += 1;
    this.onForwardFailure(`${upstream.host}:${upstream.port}`, reason, counts.failures);
  }

  probeFailed(upstream: { readonly host: string; readonly port: number }): void {
    this.#countsOf(upstream).probeFailures += 1;
  }

  loopFound(): void {
    this.loops += 1;
    this.onLoop();
  }

  /** Hears that questions come back to us; set by who logs. */
  onLoop: () => void = () => {};

  /** Hears of every failed attempt; set by who logs. */
  onForwardFailure: (upstream: string, reason: string, failures: number) => void = () => {};

  #countsOf({ host, port }: { readonly host: string; readonly port: number }): UpstreamCounts {
    const key = `${host}:${port}`;
    let counts = this.#upstreams.get(key);
    if (counts === undefined) {
      counts = { rcodes: new Map(), durations: new Durations(), failures: 0, probeFailures: 0 };
      this.#upstreams.set(key, counts);
    }
    return counts;
  }

  /** The registry that exposes this. To be made once, at the first scrape: the library costs 80 ms to load. */
  async createRegistry(server: string): Promise<Registry> {
    const { Counter, Gauge, Registry, collectDefaultMetrics } = await import('prom-client');
    const registry = new Registry();
    collectDefaultMetrics({ register: registry });
    const add = (kind: 'counter' | 'gauge', name: string, help: string, rows: () => readonly Row[]): void => {
      const labelNames = [...new Set(rows().flatMap(([labels]) => Object.keys(labels)))];
      const options = {
        name,
        help,
        labelNames: [...labelNames, ...labelsByName(name)],
        registers: [registry],
      };
      if (kind === 'counter') {
        new Counter({
          ...options,
          collect() {
            this.reset();
            for (const [labels, value] of rows()) this.inc(labels, value);
          },
        });
        return;
      }
      new Gauge({
        ...options,
        collect() {
          for (const [labels, value] of rows()) this.set(labels, value);
        },
      });
    };
    const common = { server, zone: '.', view: '' };
    add('counter', 'coredns_dns_requests_total', 'Queries', () => this.#requestRows(common));
    add('counter', 'coredns_dns_responses_total', 'Answers', () => this.#responseRows(common));
    const cacheLabels = { server, zones: '.', view: '' };
    add('counter', 'coredns_cache_hits_total', 'Answers from the cache', () => [
      [{ ...cacheLabels, type: 'success' }, this.#cacheHits],
      [{ ...cacheLabels, type: 'denial' }, this.#cacheDenials],
    ]);
    add('counter', 'coredns_cache_misses_total', 'Questions that the cache did not know', () => [
      [cacheLabels, this.#cacheMisses],
    ]);
    add('counter', 'coredns_cache_requests_total', 'Questions that the cache was asked', () => [
      [cacheLabels, this.#cacheHits + this.#cacheDenials + this.#cacheMisses],
    ]);
    add('gauge', 'coredns_cache_entries', 'Answers in the cache', () =>
      Object.entries(this.cacheEntries()).map(([type, count]) => [{ ...cacheLabels, type }, count]),
    );
    add('counter', 'coredns_dns_do_requests_total', 'Queries that want DNSSEC records', () => [
      [common, this.#dnssecOk],
    ]);
    add('gauge', 'coredns_hosts_entries', 'Names of the ConfigMap', () => [[{}, this.hosts()]]);
    add('counter', 'coredns_reload_failed_total', 'Settings that were wrong and not taken', () => [
      [{}, this.reloadsFailed],
    ]);
    add('gauge', 'coredns_build_info', 'Which server this is', () => [
      [{ version: `fairlead-${this.version}`, revision: '', goversion: '' }, 1],
    ]);
    add('counter', 'coredns_forward_max_concurrent_rejects_total', 'Questions beyond the bound', () => [
      [{}, this.forwardRejects],
    ]);
    add('counter', 'coredns_forward_request_failures_total', 'Attempts without an answer', () =>
      [...this.#upstreams].map(([to, { failures }]) => [{ to }, failures]),
    );
    add('counter', 'coredns_cache_prefetch_total', 'Answers renewed before their time was over', () => [
      [cacheLabels, this.prefetches],
    ]);
    add('counter', 'coredns_cache_served_stale_total', 'Answers given after their time was over', () => [
      [cacheLabels, this.staleServed],
    ]);
    add('counter', 'coredns_proxy_healthcheck_failures_total', 'Probes without an answer', () =>
      [...this.#upstreams].map(([to, { probeFailures }]) => [{ proxy_name: 'forward', to }, probeFailures]),
    );
    add('counter', 'fairlead_dns_loops_total', 'Questions to others that came back', () => [
      [{}, this.loops],
    ]);
    add('counter', 'coredns_panics_total', 'Answers that failed by a fault of the server', () => [
      [{}, this.panics],
    ]);
    add('counter', 'fairlead_dns_limited_total', 'Queries beyond the limit of their client', () => [
      [{}, this.limited],
    ]);
    add('gauge', 'fairlead_dns_packets', 'Finished answers kept as bytes', () => [
      [{}, this.packetEntries()],
    ]);
    add('gauge', 'fairlead_dns_services', 'Services with names', () => [[{}, this.services()]]);
    registry.registerMetric(
      histogram('coredns_dns_request_duration_seconds', 'Time to answer', () => [
        [{ server, zone: '.', view: '' }, this.requestDurations],
      ]),
    );
    for (const what of ['request', 'response'] as const) {
      registry.registerMetric(
        histogram(`coredns_dns_${what}_size_bytes`, `Length of a ${what}`, () =>
          (['udp', 'tcp'] as const).map((proto) => [{ ...common, proto }, this.#sizes[proto][`${what}s`]]),
        ),
      );
    }
    registry.registerMetric(
      histogram('coredns_kubernetes_dns_programming_duration_seconds', 'From change to name', () => [
        [{ service_kind: 'headless_with_selector' }, this.programmingDurations],
      ]),
    );
    registry.registerMetric(
      histogram('coredns_proxy_request_duration_seconds', 'Time of another server to answer', () =>
        [...this.#upstreams].map(([to, { durations }]) => [{ proxy_name: 'forward', to }, durations]),
      ),
    );
    return registry;
  }

  #requestRows(common: Labels): readonly Row[] {
    return [...this.#requests.entries()].flatMap(([index, value]) => {
      if (value === 0) return [];
      const row = Math.floor(index / typeNames.length);
      const labels = { proto: row < 2 ? 'udp' : 'tcp', family: row % 2 === 0 ? '1' : '2' };
      return [[{ ...common, ...labels, type: typeNames[index % typeNames.length] ?? '' }, value]];
    });
  }

  #responseRows(common: Labels): readonly Row[] {
    return [...this.#responses.entries()].flatMap(([index, value]) => {
      if (value === 0) return [];
      const plugin = sources[Math.floor(index / rcodeNames.length)] ?? '';
      return [[{ ...common, rcode: rcodeNames[index % rcodeNames.length] ?? '', plugin }, value]];
    });
  }
}

type Labels = Readonly<Record<string, string>>;
type Row = readonly [labels: Labels, value: number];

/** Labels must be named before there are rows that carry them. */
function labelsByName(name: string): readonly string[] {
  switch (name) {
    case 'coredns_dns_requests_total':
      return ['server', 'zone', 'view', 'proto', 'family', 'type'];
    case 'coredns_dns_responses_total':
      return ['server', 'zone', 'view', 'rcode', 'plugin'];
    case 'coredns_forward_request_failures_total':
      return ['to'];
    case 'coredns_proxy_healthcheck_failures_total':
      return ['proxy_name', 'to'];
    default:
      return [];
  }
}
