import type * as Prometheus from 'prom-client';
import type { Registry } from 'prom-client';
import { type BackendMetrics, durationBucketsSeconds } from './backend-metrics.ts';
import type { ProxyMetrics } from './metrics.ts';

type Reading = {
  readonly name: string;
  readonly help: string;
  readonly read: (metrics: ProxyMetrics) => number;
};

const counters: readonly Reading[] = [
  {
    name: 'fairlead_ingress_retries_total',
    help: 'Requests sent again or to another endpoint',
    read: (m) => m.retries,
  },
  {
    name: 'fairlead_ingress_connect_failures_total',
    help: 'Connections to endpoints that could not be made',
    read: (m) => m.connectFailures,
  },
  {
    name: 'fairlead_ingress_client_connections_total',
    help: 'Client connections accepted',
    read: (m) => m.clientConnectionsAccepted,
  },
  {
    name: 'fairlead_ingress_client_connections_refused_total',
    help: 'Client connections closed at the limit or while stopping',
    read: (m) => m.clientConnectionsRefused,
  },
  {
    name: 'fairlead_ingress_upstream_connections_total',
    help: 'Connections to endpoints begun',
    read: (m) => m.upstreamConnectionsMade,
  },
  {
    name: 'fairlead_ingress_received_bytes_total',
    help: 'Bytes of bodies, tunnels and TLS that passes through, from clients',
    read: (m) => m.receivedBytes,
  },
  {
    name: 'fairlead_ingress_sent_bytes_total',
    help: 'Bytes of bodies, tunnels and TLS that passes through, to clients',
    read: (m) => m.sentBytes,
  },
  {
    name: 'fairlead_ingress_access_log_lines_total',
    help: 'Lines of the access log written',
    read: (m) => m.accessLogLines,
  },
  {
    name: 'fairlead_ingress_access_log_dropped_total',
    help: 'Lines of the access log dropped because its reader was too slow or gone',
    read: (m) => m.accessLogDropped,
  },
  {
    name: 'fairlead_ingress_http2_requests_total',
    help: 'Answers to requests that came by HTTP/2, of all',
    read: (m) => m.http2Requests,
  },
  {
    name: 'fairlead_ingress_http2_cut_total',
    help: 'Client connections of HTTP/2 ended for breaking its rules or a bound',
    read: (m) => m.http2Cut,
  },
  {
    name: 'fairlead_ingress_mirrored_requests_total',
    help: 'Copies of requests sent to mirrors',
    read: (m) => m.mirrors,
  },
  {
    name: 'fairlead_ingress_mirrored_requests_dropped_total',
    help: 'Copies of requests not sent, for they or their number were too large or nobody takes them',
    read: (m) => m.mirrorsDropped,
  },
  {
    name: 'fairlead_ingress_tables_published_total',
    help: 'Route tables published',
    read: (m) => m.tablesPublished,
  },
];

const gauges: readonly Reading[] = [
  {
    name: 'fairlead_ingress_client_connections',
    help: 'Client connections open',
    read: (m) => m.clientConnections,
  },
  {
    name: 'fairlead_ingress_upstream_connections',
    help: 'Connections to endpoints open',
    read: (m) => m.upstreamConnections,
  },
  {
    name: 'fairlead_ingress_http2_streams',
    help: 'Requests of clients of HTTP/2 under way',
    read: (m) => m.http2Streams,
  },
  { name: 'fairlead_ingress_tunnels', help: 'Upgraded connections open', read: (m) => m.tunnels },
  {
    name: 'fairlead_ingress_passthrough_connections',
    help: 'Connections of TLS that pass through, open',
    read: (m) => m.relays,
  },
  {
    name: 'fairlead_ingress_last_compile_seconds',
    help: 'Time that the last route table took to compile',
    read: (m) => m.lastCompileSeconds,
  },
];

type BackendReading = {
  readonly name: string;
  readonly help: string;
  readonly read: (counts: BackendMetrics) => number;
};

const backendCounters: readonly BackendReading[] = [
  {
    name: 'fairlead_ingress_backend_retries_total',
    help: 'Requests sent again or to another endpoint',
    read: (m) => m.retries,
  },
  {
    name: 'fairlead_ingress_backend_retries_denied_total',
    help: 'Failures not retried because the retry budget was used up',
    read: (m) => m.retriesDenied,
  },
  {
    name: 'fairlead_ingress_backend_connect_failures_total',
    help: 'Connections to endpoints that could not be made',
    read: (m) => m.connectFailures,
  },
  {
    name: 'fairlead_ingress_backend_ejections_total',
    help: 'Endpoints ejected for their answers',
    read: (m) => m.ejections,
  },
  {
    name: 'fairlead_ingress_backend_queue_overflows_total',
    help: 'Requests for which no endpoint was free and the queue was full',
    read: (m) => m.queueOverflows,
  },
  {
    name: 'fairlead_ingress_backend_queue_timeouts_total',
    help: 'Requests that waited in the queue in vain',
    read: (m) => m.queueTimeouts,
  },
];

const backendGauges: readonly BackendReading[] = [
  {
    name: 'fairlead_ingress_backend_active_requests',
    help: 'Requests under way, those that wait among them',
    read: (m) => m.active,
  },
  {
    name: 'fairlead_ingress_backend_waiting_requests',
    help: 'Requests that wait for an endpoint',
    read: (m) => m.waiting,
  },
];

/** What /metrics shows. The library is loaded by the first scrape: it costs 80 ms. */
export async function createRegistry(metrics: ProxyMetrics): Promise<Registry> {
  const library = await import('prom-client');
  const { Counter, Gauge, Registry } = library;
  const registry = new Registry();
  for (const { name, help, read } of counters) {
    const counter = new Counter({
      name,
      help,
      registers: [registry],
      collect() {
        counter.reset();
        counter.inc(read(metrics));
      },
    });
  }
  for (const { name, help, read } of gauges) {
    const gauge = new Gauge({
      name,
      help,
      registers: [registry],
      collect() {
        gauge.set(read(metrics));
      },
    });
  }
  const requests = new Counter({
    name: 'fairlead_ingress_requests_total',
    help: 'Requests by status code; 499: the client left before the answer',
    labelNames: ['code'],
    registers: [registry],
    collect() {
      requests.reset();
      for (const [code, count] of metrics.responses.entries()) {
        if (count > 0) requests.inc({ code: String(code) }, count);
      }
    },
  });
  const relays = new Counter({
    name: 'fairlead_ingress_passthrough_connections_total',
    help: 'Connections of TLS that passed through, by how they ended; 200: relayed, others as the status of a request',
    labelNames: ['code'],
    registers: [registry],
    collect() {
      relays.reset();
      for (const [code, count] of metrics.relaysEnded.entries()) {
        if (count > 0) relays.inc({ code: String(code) }, count);
      }
    },
  });
  addHistogram(
    library,
    registry,
    'fairlead_ingress_request_duration_seconds',
    'From the whole head to the whole answer',
    () => [[{}, metrics]],
  );
  addBackends(library, registry, metrics);
  return registry;
}

function addBackends(library: typeof Prometheus, registry: Registry, metrics: ProxyMetrics): void {
  const { Counter, Gauge } = library;
  for (const { name, help, read } of backendCounters) {
    const counter = new Counter({
      name,
      help,
      labelNames: ['backend'],
      registers: [registry],
      collect() {
        counter.reset();
        for (const [backend, counts] of metrics.backends.entries()) counter.inc({ backend }, read(counts));
      },
    });
  }
  for (const { name, help, read } of backendGauges) {
    const gauge = new Gauge({
      name,
      help,
      labelNames: ['backend'],
      registers: [registry],
      collect() {
        gauge.reset();
        for (const [backend, counts] of metrics.backends.entries()) gauge.set({ backend }, read(counts));
      },
    });
  }
  const requests = new Counter({
    name: 'fairlead_ingress_backend_requests_total',
    help: 'Answers to requests for a backend, by class of status; ours for it among them',
    labelNames: ['backend', 'code'],
    registers: [registry],
    collect() {
      requests.reset();
      for (const [backend, { answers }] of metrics.backends.entries()) {
        for (const [index, count] of answers.entries()) {
          if (count > 0) requests.inc({ backend, code: `${index}xx` }, count);
        }
      }
    },
  });
  addHistogram(
    library,
    registry,
    'fairlead_ingress_backend_request_duration_seconds',
    'From the whole head to the whole answer, by backend',
    () => [...metrics.backends.entries()].map(([backend, counts]) => [{ backend }, counts]),
  );
}

type Durations = { readonly durations: Float64Array; readonly durationSecondsSum: number };

/** A histogram whose buckets are our typed arrays: the library's own would count each request once more. */
function addHistogram(
  { Histogram }: typeof Prometheus,
  registry: Registry,
  name: string,
  help: string,
  read: () => readonly (readonly [Record<string, string>, Durations])[],
): void {
  const buckets = [...durationBucketsSeconds];
  const histogram = new Histogram<'backend' | 'le'>({
    name,
    help,
    labelNames: ['backend'],
    buckets,
    registers: [registry],
  });
  const own = histogram.get.bind(histogram);
  histogram.get = async () => {
    const values = [];
    for (const [labels, { durations, durationSecondsSum }] of read()) {
      let count = 0;
      for (const [index, more] of durations.entries()) {
        count += more;
        const le = durationBucketsSeconds[index] ?? '+Inf';
        values.push({ metricName: `${name}_bucket`, labels: { ...labels, le }, value: count });
      }
      values.push({ metricName: `${name}_sum`, labels, value: durationSecondsSum });
      values.push({ metricName: `${name}_count`, labels, value: count });
    }
    return { ...(await own()), values };
  };
}
