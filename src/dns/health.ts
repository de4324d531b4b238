import { createServer, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { Registry } from 'prom-client';
import type { ListenAddress } from './server.ts';

export type HealthSources = {
  /** All names are known: queries get their final answers. */
  ready(): boolean;
  createRegistry(): Promise<Registry>;
  /** The table as text. */
  records(): Iterable<string>;
};

/** Serves /healthz, /livez, /readyz, /metrics and /debug/records until `close`. Rejects when it cannot listen. */
export async function serveHealth(
  address: ListenAddress,
  sources: HealthSources,
): Promise<{ readonly port: number; close(): void }> {
  let registry: Promise<Registry> | undefined;
  const server = createServer((request, response) => {
    const path = (request.url ?? '/').replace(/\?.*/, '');
    if (path !== '/metrics') {
      respond(path, sources, response);
      return;
    }
    registry ??= sources.createRegistry();
    void respondMetrics(registry, response);
  });
  await new Promise<void>((done, fail) => {
    server.once('error', (cause) => {
      const where = `${address.host}:${address.port}`;
      fail(new Error(`cannot serve health at ${where}: choose another --health-address`, { cause }));
    });
    server.listen(address.port, address.host, done);
  });
  server.unref();
  return {
    port: (server.address() as AddressInfo).port,
    close() {
      server.close();
      server.closeAllConnections();
    },
  };
}

function respond(path: string, sources: HealthSources, response: ServerResponse): void {
  const text = (status: number, body: string): void => {
    response.writeHead(status, { 'content-type': 'text/plain; charset=utf-8' });
    response.end(body);
  };
  switch (path) {
    case '/healthz':
    case '/livez':
    case '/health': // CoreDNS' path
      text(200, 'ok');
      return;
    case '/readyz':
    case '/ready': {
      const ready = sources.ready();
      text(ready ? 200 : 503, ready ? 'ok' : 'not all names are known yet');
      return;
    }
    case '/debug/records':
      text(200, [...sources.records()].join(''));
      return;
    default:
      text(404, 'try /healthz, /readyz, /metrics or /debug/records\n');
  }
}

async function respondMetrics(loading: Promise<Registry>, response: ServerResponse): Promise<void> {
  try {
    const registry = await loading;
    const body = await registry.metrics();
    response.writeHead(200, { 'content-type': registry.contentType });
    response.end(body);
  } catch (error) {
    response.writeHead(500, { 'content-type': 'text/plain; charset=utf-8' });
    response.end(`${String(error)}\n`);
  }
}
