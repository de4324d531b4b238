import { createServer, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { Registry } from 'prom-client';
import type { ExplainRequest } from './explain.ts';
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
  /** Why a request goes where it goes, as text. */
  explain(request: ExplainRequest): Promise<string>;
};

export type HealthServer = {
  readonly port: number;
  close(): void;
};

/** Serves /healthz, /readyz, /metrics, /debug/routes and /debug/explain until `close`. Rejects when it cannot listen. */
export async function serveHealth(address: HealthAddress, sources: HealthSources): Promise<HealthServer> {
  let registry: Promise<Registry> | undefined;
  const server = createServer((request, response) => {
    const path = (request.url ?? '/').replace(/\?.*/, '');
    if (path === '/metrics') {
      registry ??= createRegistry(sources.metrics);
      void answerMetrics(registry, response);
    } else if (path === '/debug/explain') {
      void answerExplain(request.url ?? '', sources, response);
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
      return [404, 'try /healthz, /readyz, /metrics, /debug/routes or /debug/explain?url=…\n'];
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

/** ?url=URL&method=GET&client=ADDRESS&header=Name:value (repeatable) */
async function answerExplain(
  target: string,
  sources: HealthSources,
  response: ServerResponse,
): Promise<void> {
  const query = new URL(target, 'http://localhost').searchParams;
  const url = URL.parse(query.get('url') ?? '');
  let status = 200;
  let text: string;
  if (url === null || !/^https?:$/.test(url.protocol)) {
    status = 400;
    text = 'give an http or https URL: /debug/explain?url=http://host/path\n';
  } else {
    const headers = query.getAll('header').map((line) => {
      const colon = line.indexOf(':');
      return [line.slice(0, colon).trim(), line.slice(colon + 1).trim()] as const;
    });
    const method = query.get('method') ?? 'GET';
    const clientAddress = query.get('client') ?? '127.0.0.1';
    text = await sources.explain({ url, method, headers, clientAddress });
  }
  response.writeHead(status, { 'content-type': 'text/plain; charset=utf-8' });
  response.end(text);
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
