import { createServer, type Server } from 'node:http';
import type { Logger } from '../base/log.ts';
import type { NodeView } from '../model/view.ts';

/** What a load balancer's health check of one Service on this node is told. */
export type ServiceHealth = {
  readonly port: number;
  readonly namespace: string;
  readonly name: string;
  /** Ready ones on this node. Terminating ones do not count: the load balancer should look elsewhere (KEP-1669). */
  readonly localEndpoints: number;
};

/** One for each Service with a healthCheckNodePort. Of two with one port the first by key has it. */
export function serviceHealthsOf(view: NodeView): readonly ServiceHealth[] {
  const healths = new Map<number, ServiceHealth>();
  for (const service of [...view.services.values()].toSorted((a, b) => (a.key < b.key ? -1 : 1))) {
    const facts = service.ports[0]?.facts;
    if (facts === undefined || facts.healthCheckNodePort === 0 || facts.externalPolicy !== 'Local') continue;
    if (healths.has(facts.healthCheckNodePort)) continue;
    const addresses = new Set<string>();
    for (const { local } of service.ports) {
      for (const endpoint of local) if (endpoint.ready) addresses.add(endpoint.address);
    }
    const [namespace = '', name = ''] = service.key.split('/');
    healths.set(facts.healthCheckNodePort, {
      port: facts.healthCheckNodePort,
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

export function createServiceHealthServers(log: Logger): ServiceHealthServers {
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
            startServer(port, () => current.get(port), log),
          );
      }
    },
    close() {
      for (const [port, server] of servers) stop(port, server);
    },
  };
}

function startServer(port: number, health: () => ServiceHealth | undefined, log: Logger): Server {
  const server = createServer((_request, response) => {
    const now = health();
    const localEndpoints = now?.localEndpoints ?? 0;
    response.writeHead(localEndpoints > 0 ? 200 : 503, { 'content-type': 'application/json' });
    const service = { namespace: now?.namespace, name: now?.name };
    response.end(JSON.stringify({ service, localEndpoints, serviceProxyHealthy: true }));
  });
  server.on('error', (error) =>
    log.error('cannot answer health checks: is the port taken by another process?', { port, error }),
  );
  server.listen(port);
  server.unref();
  return server;
}
