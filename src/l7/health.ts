import { createServer, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { Registry } from 'prom-client';
import { createRegistry } from './exposition.ts';
import type { ProxyMetrics } from './metrics.ts';

export type HealthAddress = {
  readonly host: string;
  /** 0: any free port, for tests. */
  readonly port: number;
};

export type HealthSources = {
  readonly metrics: ProxyMetrics;
  /** Routes follow the API and requests are taken. */
  ready(): boolean;
  /** The route table as text. */
  routes(): string;
};

export type HealthServer = {
  readonly port: number;
  close(): void;
};

/** Serves /healthz, /readyz, /metrics and /debug/routes until `close`. Rejects when it cannot listen. */
export async function serveHealth(address: HealthAddress, sources: HealthSources): Promise<HealthServer> {
  let registry: Promise<Registry> | undefined;
  const server = createServer((request, response) => {
    const path = (request.url ?? '/').replace(/\?.*/, '');
    if (path === '/metrics') {
      registry ??= createRegistry(sources.metrics);
      void answerMetrics(registry, response);
    } else {
      const [status, text] = answerTo(path, sources);
      response.writeHead(status, { 'content-type': 'text/plain; charset=utf-8' });
      response.end(text);
    }
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

function answerTo(path: string, sources: HealthSources): readonly [number, string] {
  switch (path) {
    case '/healthz':
    case '/livez':
      return [200, 'ok\n'];
    case '/readyz':
      return sources.ready()
        ? [200, 'ok\n']
        : [503, 'the route table is not loaded, or the process is stopping\n'];
    case '/debug/routes':
      return [200, sources.routes()];
    default:
      return [404, 'try /healthz, /readyz, /metrics or /debug/routes\n'];
  }
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

async function answerMetrics(registry: Promise<Registry>, response: ServerResponse): Promise<void> {
  try {
    const loaded = await registry;
    const text = await loaded.metrics();
    response.writeHead(200, { 'content-type': loaded.contentType });
    response.end(text);
  } catch (error) {
    response.writeHead(500, { 'content-type': 'text/plain; charset=utf-8' });
    response.end(`${String(error)}\n`);
  }
}
