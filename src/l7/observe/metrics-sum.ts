import { BackendMetricsSet } from './backend-metrics.ts';
import type { ProxyMetrics } from './metrics.ts';

/** Told by the process that compiles for all workers. */
const own: ReadonlySet<string> = new Set([
  'tablesPublished',
  'lastCompileSeconds',
] satisfies (keyof ProxyMetrics)[]);
/** What tells of now, not of all that ever was: it ends with its worker. Of the worker, and of a backend. */
const gauges: ReadonlySet<string> = new Set([
  'clientConnections',
  'upstreamConnections',
  'tunnels',
  'relays',
  'http2Streams',
  'active',
  'waiting',
]);

/** The counters as they may be sent to another process: numbers, arrays of them, maps and objects of such. */
export type MetricsReading = Readonly<Record<string, unknown>>;

export function readingOf(metrics: ProxyMetrics): MetricsReading {
  const entries = Object.entries(metrics).map(([name, value]: [string, unknown]) => [
    name,
    value instanceof BackendMetricsSet ? new Map(value.entries()) : value,
  ]);
  return Object.fromEntries(entries) as MetricsReading;
}

/** Adds up readings into `total`, which keeps its identity. */
export function sumMetrics(total: ProxyMetrics, readings: readonly MetricsReading[]): void {
  const sum = readings.reduce<unknown>(add, {}) as MetricsReading;
  for (const [name, value] of Object.entries(sum)) {
    if (own.has(name)) continue;
    const known: unknown = Reflect.get(total, name);
    if (known instanceof Float64Array && value instanceof Float64Array) known.set(value);
    else if (known instanceof BackendMetricsSet && value instanceof Map) {
      for (const [backend, counts] of value) Object.assign(known.of(String(backend)), counts);
    } else Reflect.set(total, name, value);
  }
}

/** Of a worker that has ended: its counters count on, what it had open is closed. */
export function withoutGauges(reading: MetricsReading): MetricsReading {
  const entries = Object.entries(reading).map(([name, value]) => {
    if (gauges.has(name)) return [name, 0];
    if (!(value instanceof Map)) return [name, value];
    return [name, new Map([...value].map(([key, counts]) => [key, withoutGauges(counts as MetricsReading)]))];
  });
  return Object.fromEntries(entries) as MetricsReading;
}

/** What only one side has is taken as it is. */
function add(a: unknown, b: unknown): unknown {
  if (a === undefined) return b;
  if (b === undefined) return a;
  if (typeof a === 'number' && typeof b === 'number') return a + b;
  if (a instanceof Float64Array && b instanceof Float64Array)
    return a.map((value, at) => value + (b[at] ?? 0));
  if (a instanceof Map && b instanceof Map) {
    const sum = new Map<unknown, unknown>(a);
    for (const [key, value] of b as Map<unknown, unknown>) sum.set(key, add(sum.get(key), value));
    return sum;
  }
  if (typeof a === 'object' && typeof b === 'object' && a !== null && b !== null) {
    const sum: Record<string, unknown> = { ...a };
    for (const [key, value] of Object.entries(b)) sum[key] = add(sum[key], value);
    return sum;
  }
  return a;
}
