import type { Registry } from 'prom-client';
import { durationBucketsSeconds, type ProxyMetrics } from './metrics.ts';

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
  { name: 'fairlead_ingress_tunnels', help: 'Upgraded connections open', read: (m) => m.tunnels },
  {
    name: 'fairlead_ingress_last_compile_seconds',
    help: 'Time that the last route table took to compile',
    read: (m) => m.lastCompileSeconds,
  },
];

/** What /metrics shows. The library is loaded by the first scrape: it costs 80 ms. */
export async function createRegistry(metrics: ProxyMetrics): Promise<Registry> {
  const { Counter, Gauge, Registry } = await import('prom-client');
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
  const durations = new Counter({
    name: 'fairlead_ingress_request_duration_seconds_bucket',
    help: 'Requests that took at most le seconds, from the whole head to the whole answer',
    labelNames: ['le'],
    registers: [registry],
    collect() {
      durations.reset();
      let sum = 0;
      for (const [index, count] of metrics.durations.entries()) {
        sum += count;
        durations.inc({ le: String(durationBucketsSeconds[index] ?? '+Inf') }, sum);
      }
    },
  });
  const total = new Counter({
    name: 'fairlead_ingress_request_duration_seconds_sum',
    help: 'Seconds that all requests took together',
    registers: [registry],
    collect() {
      total.reset();
      total.inc(metrics.durationSecondsSum);
    },
  });
  return registry;
}
