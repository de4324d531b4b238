import { createServer, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { Registry } from 'prom-client';
import { createRegistry, type ProxyMetrics } from './metrics.ts';

export type HealthAddress = {
  readonly host: string;
  /** 0: any free port, for tests. */
  readonly port: number;
};

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
export async function serveHealth(
  address: HealthAddress,
  sources: HealthSources,
): Promise<{ readonly port: number; close(): void }> {
  let registry: Promise<Registry> | undefined;
  const server = createServer((request, response) => {
    const path = (request.url ?? '/').replace(/\?.*/, '');
    if (path === '/metrics') {
      registry ??= createRegistry(sources.metrics);
      void answerMetrics(registry, response);
      return;
    }
    answer(path, sources, response);
  });
  await listen(server, address);
  return {
    port: (server.address() as AddressInfo).port,
    close() {
      server.close();
      server.closeAllConnections();
    },
  };
}

function listen(server: Server, address: HealthAddress): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', (cause) => {
      const where = `${address.host}:${address.port}`;
      reject(new Error(`cannot serve health at ${where}: choose another --health-address`, { cause }));
    });
    server.listen(address.port, address.host, () => {
      server.unref();
      resolve();
    });
  });
}

function answer(path: string, sources: HealthSources, response: ServerResponse): void {
  switch (path) {
    case '/healthz':
    case '/readyz':
    case '/livez': {
      const report = sources.report();
      const good = path === '/livez' ? report.alive : report.eligible;
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
      response.writeHead(200, { 'content-type': 'text/plain; charset=utf-8' });
      response.end(sources.ruleset());
      return;
    default:
      response.writeHead(404, { 'content-type': 'text/plain; charset=utf-8' });
      response.end('try /healthz, /livez, /metrics or /debug/ruleset\n');
  }
}

async function answerMetrics(registry: Promise<Registry>, response: ServerResponse): Promise<void> {
  try {
    const { contentType, metrics } = await registry.then((loaded) => ({
      contentType: loaded.contentType,
      metrics: loaded.metrics(),
    }));
    const text = await metrics;
    response.writeHead(200, { 'content-type': contentType });
    response.end(text);
  } catch (error) {
    response.writeHead(500, { 'content-type': 'text/plain; charset=utf-8' });
    response.end(`${String(error)}\n`);
  }
}
