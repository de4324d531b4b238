/** Upper bounds of the request duration buckets, seconds. */
export const durationBucketsSeconds: readonly number[] = [
  0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30,
];

/** Counters of the hot path: plain fields and typed arrays, read only when somebody asks for /metrics. */
export class ProxyMetrics {
  /** Answers by status code; 499: the client left before the answer. */
  readonly responses = new Float64Array(600);
  /** One more than the bounds: the last one is beyond all. */
  readonly durations = new Float64Array(durationBucketsSeconds.length + 1);
  durationSecondsSum = 0;
  /** Requests sent again, or to another endpoint. */
  retries = 0;
  connectFailures = 0;
  /** Client connections open now, and ever accepted or refused at the bound. */
  clientConnections = 0;
  clientConnectionsAccepted = 0;
  clientConnectionsRefused = 0;
  upstreamConnections = 0;
  upstreamConnectionsMade = 0;
  tunnels = 0;
  /** Route tables published, and the time that the last compile took. */
  tablesPublished = 0;
  lastCompileSeconds = 0;

  count(status: number, durationMs: number): void {
    this.responses[status]! += 1;
    const seconds = durationMs / 1000;
    this.durationSecondsSum += seconds;
    let bucket = 0;
    while (bucket < durationBucketsSeconds.length && seconds > durationBucketsSeconds[bucket]!) bucket += 1;
    this.durations[bucket]! += 1;
  }
}
