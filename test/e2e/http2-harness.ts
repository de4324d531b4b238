import { once } from 'node:events';
import {
  type ClientHttp2Session,
  type ClientHttp2Stream,
  connect,
  createServer,
  type Http2Server,
  type IncomingHttpHeaders,
  type OutgoingHttpHeaders,
  type ServerHttp2Session,
  type ServerHttp2Stream,
  type ServerOptions,
} from 'node:http2';
import type { AddressInfo } from 'node:net';
import type { TestContext } from 'node:test';
import { endpointSlices, ingressClasses, ingresses, services } from '../../src/api/resource.ts';
import type { FakeApi } from '../support/fake-api.ts';
import { hostRule, ingress, localhost, ourClass, service, slice } from './ingress-harness.ts';

export type Http2Backend = {
  readonly port: number;
  readonly server: Http2Server;
  /** Connections ever made. */
  connections: number;
  requests: number;
  readonly sessions: Set<ServerHttp2Session>;
};

/** A server of HTTP/2 in the clear, by node:http2. */
export async function startHttp2Backend(
  t: TestContext,
  handle: (stream: ServerHttp2Stream, headers: IncomingHttpHeaders) => void,
  options: ServerOptions = {},
): Promise<Http2Backend> {
  const server = createServer(options);
  const backend: Http2Backend = { port: 0, server, connections: 0, requests: 0, sessions: new Set() };
  server.on('session', (session) => {
    backend.connections += 1;
    backend.sessions.add(session);
    session.on('close', () => backend.sessions.delete(session));
    session.on('error', () => {});
  });
  server.on('stream', (stream: ServerHttp2Stream, headers) => {
    backend.requests += 1;
    stream.on('error', () => {});
    handle(stream, headers);
  });
  server.listen(0, localhost);
  await once(server, 'listening');
  t.after(() => {
    for (const session of backend.sessions) session.destroy();
    server.close();
  });
  return Object.assign(backend, { port: (server.address() as AddressInfo).port });
}

/** One Service `web` whose port says h2c, behind an Ingress for every host. */
export function seedHttp2(api: FakeApi, ports: readonly number[]): void {
  const web = service('web');
  const spec = web.spec ?? {};
  api.seed(ingressClasses, ourClass());
  api.seed(services, {
    ...web,
    spec: {
      ...spec,
      ports: spec.ports?.map((port) => ({ ...port, appProtocol: 'kubernetes.io/h2c' })) ?? [],
    },
  });
  ports.forEach((port, index) => api.seed(endpointSlices, slice('web', index, port)));
  api.seed(ingresses, ingress('web', { rules: [hostRule(undefined, 'web')] }));
}

export async function http2Client(t: TestContext, port: number): Promise<ClientHttp2Session> {
  const session = connect(`http://${localhost}:${port}`);
  session.on('error', () => {});
  t.after(() => session.destroy());
  await once(session, 'remoteSettings');
  return session;
}

export type Http2Answer = {
  readonly headers: IncomingHttpHeaders & { ':status'?: number | undefined };
  readonly informational: readonly number[];
  readonly body: Buffer;
  readonly trailers: IncomingHttpHeaders;
};

/** Waits for the whole answer; rejects if the stream is reset. */
export async function answerOf(stream: ClientHttp2Stream): Promise<Http2Answer> {
  const informational: number[] = [];
  const chunks: Buffer[] = [];
  let headers: Http2Answer['headers'] = {};
  let trailers: IncomingHttpHeaders = {};
  stream.on('headers', (head) => informational.push(Number(head[':status'])));
  stream.on('response', (head) => {
    headers = head;
  });
  stream.on('trailers', (fields) => {
    trailers = fields;
  });
  stream.on('data', (chunk: Buffer) => chunks.push(chunk));
  await new Promise<void>((resolve, reject) => {
    stream.on('error', reject);
    stream.on('aborted', () => reject(new Error('aborted')));
    stream.on('close', () =>
      stream.rstCode === 0 ? resolve() : reject(new Error(`reset ${stream.rstCode}`)),
    );
  });
  return { headers, informational, body: Buffer.concat(chunks), trailers };
}

export function http2Get(
  session: ClientHttp2Session,
  path: string,
  headers: OutgoingHttpHeaders = {},
): Promise<Http2Answer> {
  return answerOf(session.request({ ':path': path, ...headers }));
}
