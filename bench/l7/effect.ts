/** How long a change takes from the API to the first request that is served by it, among many routes. */
import { once } from 'node:events';
import { createServer, request, Agent } from 'node:http';
import type { AddressInfo } from 'node:net';
import { endpointSlices, ingressClasses, ingresses, services } from '../../src/api/resource.ts';
import { systemClock } from '../../src/base/clock.ts';
import { silentLogger } from '../../src/base/log.ts';
import { ingressDefaults } from '../../src/l7/controller/config.ts';
import { type IngressPorts, runIngress } from '../../src/l7/controller/run.ts';
import { FakeApi } from '../../test/support/fake-api.ts';

export type Effect = {
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly failed: number;
  readonly requests: number;
};

/** `kind`: endpoints of one route change, or a route comes. Each change waits until the one before is seen. */
export async function measureEffect(
  kind: 'endpoints' | 'route',
  routes: number,
  changes: number,
): Promise<Effect> {
  const backends = await Promise.all(['a', 'b'].map(startNamed));
  const api = new FakeApi();
  api.seed(ingressClasses, { metadata: { name: 'fairlead' }, spec: { controller: 'fairlead.dev/ingress' } });
  for (const { name, port } of backends) {
    api.seed(services, serviceNamed(name));
    api.seed(endpointSlices, sliceOf(name, port));
  }
  for (let index = 0; index < routes; index += 1) api.seed(ingresses, ingressOf(`host-${index}`, 'a'));
  const stop = new AbortController();
  const ready = Promise.withResolvers<IngressPorts>();
  const config = {
    ...ingressDefaults,
    http: [{ kind: 'address', host: '127.0.0.1', port: 0 }],
    https: [],
    healthAddress: undefined,
  } as const;
  const deps = { clock: systemClock, onReady: ready.resolve };
  const running = runIngress(config, api, silentLogger, stop.signal, deps);
  running.catch(ready.reject);
  const port = (await ready.promise).http[0] ?? 0;
  const agent = new Agent({ keepAlive: true });
  const latencies: number[] = [];
  let requests = 0;
  let failed = 0;
  try {
    for (let change = 0; change < changes; change += 1) {
      const host = kind === 'route' ? `new-${change}` : 'host-0';
      const wanted = kind === 'route' ? 'a' : change % 2 === 0 ? 'b' : 'a';
      const startMs = performance.now();
      if (kind === 'route') api.seed(ingresses, ingressOf(host, 'a'));
      else {
        const other = backends.find(({ name }) => name === wanted);
        api.update(endpointSlices, 'default/a', sliceOf('a', other?.port ?? 0));
      }
      for (;;) {
        const answer = await ask(port, host, agent);
        requests += 1;
        if (answer === wanted) break;
        if (kind === 'endpoints' && answer !== 'a' && answer !== 'b') failed += 1;
      }
      latencies.push(performance.now() - startMs);
    }
  } finally {
    agent.destroy();
    stop.abort();
    await running;
    for (const { server } of backends) server.close();
  }
  const sorted = latencies.toSorted((a, b) => a - b);
  const at = (share: number): number => sorted[Math.ceil(share * sorted.length) - 1] ?? Number.NaN;
  return { p50Ms: at(0.5), p99Ms: at(0.99), failed, requests };
}

async function startNamed(name: string) {
  const server = createServer((incoming, response) => {
    incoming.resume();
    response.end(name);
  });
  server.keepAliveTimeout = 0;
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return { name, server, port: (server.address() as AddressInfo).port };
}

function serviceNamed(name: string) {
  return { metadata: { name, namespace: 'default' }, spec: { ports: [{ name: 'http', port: 80 }] } };
}

function sliceOf(name: string, port: number) {
  const labels = { 'kubernetes.io/service-name': name };
  return {
    metadata: { name, namespace: 'default', labels },
    addressType: 'IPv4',
    endpoints: [{ addresses: ['127.0.0.1'] }],
    ports: [{ name: 'http', port }],
  };
}

function ingressOf(host: string, service: string) {
  const backend = { service: { name: service, port: { number: 80 } } };
  return {
    metadata: { name: host, namespace: 'default' },
    spec: {
      ingressClassName: 'fairlead',
      rules: [{ host: `${host}.example`, http: { paths: [{ path: '/', pathType: 'Prefix', backend }] } }],
    },
  };
}

/** The body; the status for an answer that is none of a backend. */
function ask(port: number, host: string, agent: Agent): Promise<string> {
  return new Promise((resolve, reject) => {
    const headers = { Host: `${host}.example` };
    const outgoing = request({ host: '127.0.0.1', port, path: '/', headers, agent }, (response) => {
      let text = '';
      response.on('data', (chunk) => {
        text += String(chunk);
      });
      response.on('end', () => resolve(response.statusCode === 200 ? text : String(response.statusCode)));
    });
    outgoing.on('error', reject);
    outgoing.end();
  });
}
