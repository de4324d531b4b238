/** Upper bounds of the request duration buckets, seconds. */
export const durationBucketsSeconds: readonly number[] = [
  0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30,
];

/** Backends counted by name. Further ones are counted together, so that /metrics cannot grow without end. */
export const backendsCountedMax = 1_000;

/** The name of those. */
export const otherBackends = 'other';

/** Counters of one backend: plain fields, written by the hot path. */
export class BackendMetrics {
  /** Answers by class of status, index 1 for 1xx to 5 for 5xx. */
  readonly answers = new Float64Array(6);
  /** As ProxyMetrics.durations. */
  readonly durations = new Float64Array(durationBucketsSeconds.length + 1);
  durationSecondsSum = 0;
  retries = 0;
  /** Failures that would have been retried, had there been a budget for it. */
  retriesDenied = 0;
  connectFailures = 0;
  ejections = 0;
  /** Requests that found no place in the queue, and that waited there in vain. */
  queueOverflows = 0;
  queueTimeouts = 0;
  /** Now: requests under way, and those of them that wait. */
  active = 0;
  waiting = 0;

  /** @param bucket index into `durations` */
  count(status: number, seconds: number, bucket: number): void {
    this.answers[Math.floor(status / 100)]! += 1;
    this.durationSecondsSum += seconds;
    this.durations[bucket]! += 1;
  }
}

/** Counters by "namespace/service:port", kept while anything of the backend is known. */
export class BackendMetricsSet {
  readonly #known = new Map<string, BackendMetrics>();

  of(key: string): BackendMetrics {
    const known = this.#known.get(key);
    if (known !== undefined) return known;
    const name = this.#known.size >= backendsCountedMax ? otherBackends : key;
    const counts = this.#known.get(name) ?? new BackendMetrics();
    this.#known.set(name, counts);
    return counts;
  }

  entries(): IterableIterator<[string, BackendMetrics]> {
    return this.#known.entries();
  }
}
