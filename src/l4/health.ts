import type { ServerResponse } from 'node:http';
import { answerText, type HealthAddress, type HealthServer, listenForHealth } from '../base/health-server.ts';
import { createRegistry, type ProxyMetrics } from './metrics.ts';

export type HealthReport = {
  /** Rules follow the API. */
  readonly alive: boolean;
  /** Load balancers may send traffic to this node: alive, and the node is not being removed (KEP-3836). */
  readonly eligible: boolean;
  readonly lastUpdatedMs: number;
  readonly nowMs: number;
};

export type HealthSources = {
  report(): HealthReport;
  readonly metrics: ProxyMetrics;
  /** The table as text. */
  ruleset(): string;
};

/** Serves /healthz, /livez, /readyz, /metrics and /debug/ruleset until `close`. Rejects when it cannot listen. */
export function serveHealth(address: HealthAddress, sources: HealthSources): Promise<HealthServer> {
  return listenForHealth(
    address,
    () => createRegistry(sources.metrics),
    (path, response) => answer(path, sources, response),
  );
}

function answer(path: string, sources: HealthSources, response: ServerResponse): void {
  switch (path) {
    case '/healthz':
    case '/readyz':
    case '/livez': {
      const report = sources.report();
      const good = path === '/livez' ? report.alive : report.eligible;
      const { healthAnswers } = sources.metrics;
      const counted = `${path.slice(1)} ${good ? 200 : 503}`;
      healthAnswers.set(counted, (healthAnswers.get(counted) ?? 0) + 1);
      response.writeHead(good ? 200 : 503, { 'content-type': 'application/json' });
      response.end(
        JSON.stringify({
          lastUpdated: new Date(report.lastUpdatedMs).toISOString(),
          currentTime: new Date(report.nowMs).toISOString(),
          nodeEligible: report.eligible,
        }),
      );
      return;
    }
    case '/debug/ruleset':
      answerText(response, 200, sources.ruleset());
      return;
    default:
      answerText(response, 404, 'try /healthz, /livez, /metrics or /debug/ruleset\n');
  }
}
