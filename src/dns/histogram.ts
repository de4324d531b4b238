import type { Metric } from 'prom-client';

/** 0.25 ms doubled up to 8 s, as CoreDNS has it. */
const durationBuckets = Array.from({ length: 16 }, (_, exponent) => 0.000_25 * 2 ** exponent);
/** Those of CoreDNS, bytes. */
const sizeBuckets = [0, 100, 200, 300, 400, 511, 1023, 2047, 4095, 8291, 16_000, 32_000, 48_000, 64_000];
const sizeMax = 0xffff;
/** Index of each size's bucket: one look-up a message. */
const bucketOfSize = Uint8Array.from({ length: sizeMax + 1 }, (_, bytes) => {
  const found = sizeBuckets.findIndex((bucket) => bytes <= bucket);
  return found === -1 ? sizeBuckets.length : found;
});

/** A histogram as plain numbers; the last count is of what is beyond all buckets. */
export type Counts = {
  readonly buckets: readonly number[];
  readonly counts: Float64Array;
  readonly sum: number;
};

/** Of times, in seconds. */
export class Durations implements Counts {
  readonly buckets = durationBuckets;
  readonly counts = new Float64Array(durationBuckets.length + 1);
  sum = 0;

  add(ms: number): void {
    this.addMany(ms, 1);
  }

  /** So many, each of which took so long. */
  addMany(ms: number, count: number): void {
    if (count === 0) return;
    const seconds = ms / 1000;
    let bucket = 0;
    while (bucket < durationBuckets.length && seconds > (durationBuckets[bucket] ?? 0)) bucket += 1;
    this.counts[bucket] = (this.counts[bucket] ?? 0) + count;
    this.sum += seconds * count;
  }
}

/** Of messages, in bytes. */
export class Sizes implements Counts {
  readonly buckets = sizeBuckets;
  readonly counts = new Float64Array(sizeBuckets.length + 1);
  sum = 0;

  add(bytes: number): void {
    const bucket = bucketOfSize[Math.min(bytes, sizeMax)] ?? 0;
    this.counts[bucket] = (this.counts[bucket] ?? 0) + 1;
    this.sum += bytes;
  }
}

type Labels = Readonly<Record<string, string>>;
type HistogramValue = { readonly metricName: string; readonly labels: Labels; readonly value: number };

/** A metric that the registry asks by `get`, as it does its own; over counts that exist already. */
export function histogram(
  name: string,
  help: string,
  rows: () => readonly (readonly [labels: Labels, counts: Counts])[],
): Metric {
  const get = () => ({
    name,
    help,
    type: 'histogram',
    aggregator: 'sum',
    values: rows().flatMap(([labels, counts]) => valuesOf(name, labels, counts)),
  });
  return { name, get } as unknown as Metric;
}

function valuesOf(name: string, labels: Labels, { buckets, counts, sum }: Counts): readonly HistogramValue[] {
  let count = 0;
  const values: HistogramValue[] = [...counts.entries()].map(([index, value]) => {
    count += value;
    const le = index < buckets.length ? String(buckets[index]) : '+Inf';
    return { metricName: `${name}_bucket`, labels: { ...labels, le }, value: count };
  });
  values.push({ metricName: `${name}_sum`, labels, value: sum });
  values.push({ metricName: `${name}_count`, labels, value: count });
  return values;
}
