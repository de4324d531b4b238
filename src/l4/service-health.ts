import { createServer, type Server } from 'node:http';
import type { Logger } from '../base/log.ts';
import type { ServiceView } from '../model/view.ts';

/** What a load balancer's health check of one Service on this node is told. */
export type ServiceHealth = {
  readonly port: number;
  readonly namespace: string;
  readonly name: string;
  /** Ready ones on this node. Terminating ones do not count: the load balancer should look elsewhere (KEP-1669). */
  readonly localEndpoints: number;
};

/** One for each of these Services, which have a healthCheckNodePort. Of two with one port the first by key has it. */
export function serviceHealthsOf(services: Iterable<ServiceView>): readonly ServiceHealth[] {
  const healths = new Map<number, ServiceHealth>();
  for (const service of [...services].toSorted((a, b) => (a.key < b.key ? -1 : 1))) {
    const port = service.ports[0]?.facts.healthCheckNodePort ?? 0;
    if (port === 0 || healths.has(port)) continue;
    const addresses = new Set<string>();
    for (const { local } of service.ports) {
      for (const endpoint of local) if (endpoint.ready) addresses.add(endpoint.address);
    }
    const [namespace = '', name = ''] = service.key.split('/');
    healths.set(port, {
      port,
      namespace,
      name,
      localEndpoints: addresses.size,
    });
  }
  return [...healths.values()];
}

/** Answers health checks at every healthCheckNodePort, on all addresses of the node. */
export type ServiceHealthServers = {
  update(healths: readonly ServiceHealth[]): void;
  close(): void;
};

export function createServiceHealthServers(log: Logger, isProxyHealthy: () => boolean): ServiceHealthServers {
  let current = new Map<number, ServiceHealth>();
  const servers = new Map<number, Server>();
  const stop = (port: number, server: Server): void => {
    servers.delete(port);
    server.close();
    server.closeAllConnections();
  };
  return {
    update(healths) {
      current = new Map(healths.map((health) => [health.port, health]));
      for (const [port, server] of servers) if (!current.has(port)) stop(port, server);
      for (const port of current.keys()) {
        if (!servers.has(port))
          servers.set(
            port,
            startServer(port, () => ({ health: current.get(port), isProxyHealthy: isProxyHealthy() }), log),
          );
      }
    },
    close() {
      for (const [port, server] of servers) stop(port, server);
    },
  };
}

type HealthNow = { readonly health: ServiceHealth | undefined; readonly isProxyHealthy: boolean };

function startServer(port: number, ask: () => HealthNow, log: Logger): Server {
  const server = createServer((_request, response) => {
    const { health, isProxyHealthy } = ask();
    const localEndpoints = health?.localEndpoints ?? 0;
    // Rules that do not follow the API may lead to endpoints that are gone: better another node.
    const good = localEndpoints > 0 && isProxyHealthy;
    response.writeHead(good ? 200 : 503, {
      'content-type': 'application/json',
      'x-load-balancing-endpoint-weight': String(localEndpoints),
    });
    const service = { namespace: health?.namespace, name: health?.name };
    response.end(JSON.stringify({ service, localEndpoints, serviceProxyHealthy: isProxyHealthy }));
  });
  server.on('error', (error) =>
    log.error('cannot answer health checks: is the port taken by another process?', { port, error }),
  );
  server.listen(port);
  server.unref();
  return server;
}
