import { execFile } from 'node:child_process';
import { once } from 'node:events';
import {
  type Agent,
  createServer,
  request as httpRequest,
  type IncomingMessage,
  type Server,
  type ServerResponse,
} from 'node:http';
import { type AddressInfo, connect, type Socket } from 'node:net';
import type { TestContext } from 'node:test';
import { promisify } from 'node:util';
import type { Service } from '../../src/api/gen/core-v1.ts';
import type { EndpointSlice } from '../../src/api/gen/discovery-v1.ts';
import type { Ingress, IngressClass, IngressSpec } from '../../src/api/gen/networking-v1.ts';
import { endpointSlices, ingressClasses, ingresses, services } from '../../src/api/resource.ts';
import { type Clock, systemClock } from '../../src/base/clock.ts';
import { silentLogger } from '../../src/base/log.ts';
import type { ApiClient } from '../../src/client/client.ts';
import { type IngressConfig, ingressDefaults } from '../../src/l7/controller/config.ts';
import { type IngressPorts, runIngress } from '../../src/l7/controller/run.ts';
import type { ServerTransport } from '../../src/l7/transport/net-transport.ts';
import { chooseTransport } from '../../src/l7/transport/transport-choice.ts';
import type { FakeApi } from '../support/fake-api.ts';

export const localhost = '127.0.0.1';
/** Of endpoints made through a real API server, in a namespace that has it (see enterNamespaceWith). */
export const podAddress = '10.42.9.7';

export type Backend = {
  readonly name: string;
  readonly port: number;
  readonly server: Server;
  requests: number;
};

/** An HTTP server that answers with its own name, unless told otherwise. */
export async function startBackend(
  t: TestContext,
  name: string,
  handle?: (request: IncomingMessage, response: ServerResponse) => void,
  host = localhost,
): Promise<Backend> {
  const server = createServer((request, response) => {
    backend.requests += 1;
    if (handle !== undefined) handle(request, response);
    else {
      request.resume();
      response.end(name);
    }
  });
  server.keepAliveTimeout = 0;
  server.listen(0, host);
  await once(server, 'listening');
  const backend: Backend = { name, port: (server.address() as AddressInfo).port, server, requests: 0 };
  t.after(() => killBackend(backend));
  return backend;
}

/** As SIGKILL would: the listener and every connection are gone at once. */
export function killBackend(backend: Backend): void {
  backend.server.close();
  backend.server.closeAllConnections();
}

export function ourClass(): IngressClass {
  return {
    metadata: { name: 'fairlead', annotations: { 'ingressclass.kubernetes.io/is-default-class': 'true' } },
    spec: { controller: 'fairlead.dev/ingress' },
  };
}

export function service(name: string): Service {
  return {
    metadata: { name, namespace: 'default' },
    spec: { type: 'ClusterIP', ports: [{ name: 'http', port: 80, protocol: 'TCP' }] },
  };
}

/** One slice per backend, since they differ in port. */
export function slice(name: string, index: number, port: number, address = localhost): EndpointSlice {
  return {
    metadata: {
      name: `${name}-${index}`,
      namespace: 'default',
      labels: { 'kubernetes.io/service-name': name },
    },
    addressType: 'IPv4',
    endpoints: [{ addresses: [address], conditions: { ready: true } }],
    ports: [{ name: 'http', port, protocol: 'TCP' }],
  };
}

export function ingress(name: string, spec: IngressSpec): Ingress {
  return {
    apiVersion: 'networking.k8s.io/v1',
    kind: 'Ingress',
    metadata: { name, namespace: 'default' },
    spec: { ingressClassName: 'fairlead', ...spec },
  };
}

/** A rule for all paths of a host. */
export function hostRule(
  host: string | undefined,
  serviceName: string,
): NonNullable<IngressSpec['rules']>[number] {
  const backend = { service: { name: serviceName, port: { number: 80 } } };
  return {
    ...(host === undefined ? {} : { host }),
    http: { paths: [{ path: '/', pathType: 'Prefix', backend }] },
  };
}

let opened: Promise<ServerTransport> | undefined;

/** The transport under test: `net` if FAIRLEAD_TEST_TRANSPORT says so, else what users get by default. One a process. */
export function testTransport(): Promise<ServerTransport> {
  const choice = process.env['FAIRLEAD_TEST_TRANSPORT'] === 'net' ? 'net' : 'auto';
  opened ??= chooseTransport(choice, silentLogger);
  return opened;
}

export type Cluster = {
  readonly api: ApiClient;
  readonly http: number;
  readonly https: number;
  readonly health: number;
  /** Settles when it has drained and ended. */
  readonly ended: Promise<void>;
};

/** The real controller and proxy on free ports of the loopback. Stopped after the test, or when `until` aborts; `clock`: its time. */
export async function startIngress<Api extends ApiClient>(
  t: TestContext,
  api: Api,
  config: Partial<IngressConfig> = {},
  until?: AbortSignal,
  clock: Clock = systemClock,
): Promise<Cluster & { readonly api: Api }> {
  const stop = new AbortController();
  until?.addEventListener('abort', () => stop.abort());
  const ready = Promise.withResolvers<IngressPorts>();
  const place = { kind: 'address', host: localhost, port: 0 } as const;
  const running = runIngress(
    {
      ...ingressDefaults,
      http: [place],
      https: [place],
      healthAddress: { host: localhost, port: 0 },
      drainTimeoutMs: 5000,
      ...config,
    },
    api,
    silentLogger,
    stop.signal,
    { clock, onReady: ready.resolve, transport: await testTransport() },
  );
  running.catch(ready.reject);
  t.after(async () => {
    stop.abort();
    await running;
  });
  const ports = await ready.promise;
  return {
    api,
    http: ports.http[0] ?? 0,
    https: ports.https[0] ?? 0,
    health: ports.health ?? 0,
    ended: running,
  };
}

/** One Service `web` over the backends behind an Ingress for every host. */
export function seedWeb(api: FakeApi, backends: readonly Backend[]): void {
  api.seed(ingressClasses, ourClass());
  api.seed(services, service('web'));
  backends.forEach(({ port }, index) => api.seed(endpointSlices, slice('web', index, port)));
  api.seed(ingresses, ingress('web', { rules: [hostRule(undefined, 'web')] }));
}

/** Sends bytes as they are and returns all that comes back until the connection ends. */
export async function exchangeRaw(port: number, text: string | readonly string[]): Promise<string> {
  const socket = connect(port, localhost);
  const chunks: Buffer[] = [];
  socket.on('data', (chunk) => chunks.push(chunk as Buffer));
  await once(socket, 'connect');
  for (const part of typeof text === 'string' ? [text] : text) socket.write(part, 'latin1');
  await closed(socket);
  return Buffer.concat(chunks).toString('latin1');
}

export async function closed(socket: Socket): Promise<void> {
  if (socket.closed) return;
  socket.on('error', () => {}); // a reset is an end, too
  await new Promise<void>((resolve) => {
    socket.once('end', () => socket.end());
    socket.once('close', () => resolve());
  });
}

/** Resolves when `condition` holds; the test's own time limit ends a wait in vain. */
export async function until(condition: () => boolean | Promise<boolean>): Promise<void> {
  while (!(await condition())) await new Promise((resolve) => setTimeout(resolve, 5));
}

const run = promisify(execFile);

export async function curl(...args: readonly string[]): Promise<string> {
  const { stdout } = await run('curl', ['-sS', '--max-time', '60', ...args], { maxBuffer: 64 << 20 });
  return stdout;
}

/** One GET; rejects when the answer is not whole. */
export function get(port: number, path: string, agent: Agent | false, headers: Record<string, string> = {}) {
  return new Promise<{ status: number; body: string }>((resolve, reject) => {
    const request = httpRequest({ host: localhost, port, path, agent, headers }, (response) => {
      const chunks: Buffer[] = [];
      response.on('data', (chunk: Buffer) => chunks.push(chunk));
      response.on('error', reject);
      response.on('end', () =>
        resolve({ status: response.statusCode ?? 0, body: Buffer.concat(chunks).toString() }),
      );
    });
    request.on('error', reject);
    request.end();
  });
}
