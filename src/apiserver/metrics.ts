import type { Store } from '../store/store.ts';

/** Counts that the hot path adds to: a map lookup and an addition. Rendered only when somebody asks. */
export type Metrics = {
  countRequest(labels: RequestLabels): void;
  /** Watches and other streams that are open now. */
  streams: number;
  /** Open watches, by the name of the user that has them. */
  readonly watches: Map<string, number>;
  /** Requests being answered now, streams not counted. */
  inFlight: number;
  /** `audit`: events that were written to the audit log, and that were not. */
  render(
    store: Store,
    audit?: { readonly events: number; readonly errors: number },
  ): Promise<{ readonly contentType: string; readonly text: string }>;
};

export type RequestLabels = {
  readonly verb: string;
  readonly group: string;
  readonly resource: string;
  readonly code: number;
};

export function createMetrics(): Metrics {
  // Bounded by verbs × served resources × status codes: unknown resources are counted under ''.
  const requests = new Map<string, { readonly labels: RequestLabels; count: number }>();
  const metrics: Metrics = {
    streams: 0,
    watches: new Map(),
    inFlight: 0,
    countRequest(labels) {
      const key = `${labels.verb} ${labels.group} ${labels.resource} ${labels.code}`;
      const known = requests.get(key);
      if (known === undefined) requests.set(key, { labels, count: 1 });
      else known.count++;
    },
    async render(store, audit) {
      const { Counter, Gauge, Registry } = await import('prom-client');
      const registry = new Registry();
      const registers = [registry];
      const counter = new Counter({
        name: 'apiserver_request_total',
        help: 'Requests answered, by verb, resource and status code.',
        labelNames: ['verb', 'group', 'resource', 'code'],
        registers,
      });
      for (const { labels, count } of requests.values()) {
        counter.inc({ ...labels, code: String(labels.code) }, count);
      }
      const count = (name: string, help: string, value: number): void =>
        new Counter({ name, help, registers }).inc(value);
      if (audit !== undefined) {
        count('apiserver_audit_event_total', 'Events written to the audit log.', audit.events);
        count('apiserver_audit_error_total', 'Events that could not be written.', audit.errors);
      }
      const gauge = (name: string, help: string, value: number): void =>
        new Gauge({ name, help, registers }).set(value);
      gauge('apiserver_longrunning_requests', 'Watches and other streams open now.', metrics.streams);
      gauge('apiserver_current_inflight_requests', 'Requests being answered now.', metrics.inFlight);
      gauge('fairlead_store_objects', 'Objects in the store.', store.count(''));
      gauge('fairlead_store_revision', 'Revision of the newest write.', store.revision);
      gauge('process_resident_memory_bytes', 'Resident memory of the process.', process.memoryUsage.rss());
      return { contentType: registry.contentType, text: await registry.metrics() };
    },
  };
  return metrics;
}
