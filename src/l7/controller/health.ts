import type { ServerResponse } from 'node:http';
import {
  answerText,
  type Exposition,
  type HealthAddress,
  type HealthServer,
  listenForHealth,
} from '../../base/health-server.ts';
import type { ExplainRequest } from '../routes/explain.ts';
import { createRegistry } from '../observe/exposition.ts';
import type { ProxyMetrics } from '../observe/metrics.ts';

export type HealthSources = {
  readonly metrics: ProxyMetrics;
  /** Brings `metrics` up to date. */
  refresh(): Promise<void>;
  /** Routes follow the API and requests are taken. */
  ready(): boolean;
  /** The route table as text. */
  routes(): string;
  /** Why a request goes where it goes, as text. */
  explain(request: ExplainRequest): Promise<string>;
};

/** Serves /healthz, /readyz, /metrics, /debug/routes and /debug/explain until `close`. Rejects when it cannot listen. */
export function serveHealth(address: HealthAddress, sources: HealthSources): Promise<HealthServer> {
  return listenForHealth(
    address,
    () => createExposition(sources),
    (path, response, target) => {
      if (path === '/debug/explain') void answerExplain(target, sources, response);
      else answerText(response, ...answerTo(path, sources));
    },
  );
}

async function createExposition(sources: HealthSources): Promise<Exposition> {
  const registry = await createRegistry(sources.metrics);
  return {
    contentType: registry.contentType,
    metrics: async () => {
      await sources.refresh();
      return registry.metrics();
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
  answerText(response, status, text);
}
