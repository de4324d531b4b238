import { type BackendMetrics, BackendMetricsSet, durationBucketsSeconds } from './backend-metrics.ts';

/** Counters of the hot path: plain fields and typed arrays, read only when somebody asks for /metrics. */
export class ProxyMetrics {
  /** Answers by status code; 499: the client left before the answer. */
  readonly responses = new Float64Array(600);
  /** One more than the bounds: the last one is beyond all. */
  readonly durations = new Float64Array(durationBucketsSeconds.length + 1);
  durationSecondsSum = 0;
  /** Requests sent again, or to another endpoint. */
  retries = 0;
  /** Answers to requests that came by HTTP/2, of all; and of its streams those open now. */
  http2Requests = 0;
  http2Streams = 0;
  /** Clients' connections that were ended by GOAWAY with an error. */
  http2Cut = 0;
  connectFailures = 0;
  /** Client connections open now, and ever accepted or refused at the bound. */
  clientConnections = 0;
  clientConnectionsAccepted = 0;
  clientConnectionsRefused = 0;
  upstreamConnections = 0;
  upstreamConnectionsMade = 0;
  tunnels = 0;
  /** Connections of TLS that pass through: open now, and ended by status (200: relayed; others as of requests). */
  relays = 0;
  readonly relaysEnded = new Float64Array(600);
  /** Bytes of clients for endpoints, and back, that passed through. */
  receivedBytes = 0;
  sentBytes = 0;
  /** Copies of requests sent, not sent at a bound, and waited for now. */
  mirrors = 0;
  mirrorsDropped = 0;
  mirrorsOpen = 0;
  readonly backends = new BackendMetricsSet();
  /** Lines of the access log written, and given up because its reader was too slow or gone. */
  accessLogLines = 0;
  accessLogDropped = 0;
  /** Route tables published, and the time that the last compile took. */
  tablesPublished = 0;
  lastCompileSeconds = 0;

  /** `backend`: the counters of the one that was asked last; undefined: none was. */
  count(status: number, durationMs: number, backend: BackendMetrics | undefined): void {
    this.responses[status]! += 1;
    const seconds = durationMs / 1000;
    this.durationSecondsSum += seconds;
    let bucket = 0;
    while (bucket < durationBucketsSeconds.length && seconds > durationBucketsSeconds[bucket]!) bucket += 1;
    this.durations[bucket]! += 1;
    backend?.count(status, seconds, bucket);
  }
}
