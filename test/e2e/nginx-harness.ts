import type { TestContext } from 'node:test';
import type { Ingress } from '../../src/api/gen/networking-v1.ts';
import { configMaps, endpointSlices, ingressClasses, ingresses, services } from '../../src/api/resource.ts';
import { FakeApi } from '../support/fake-api.ts';
import type { Annotations, Answer } from './annotation-harness.ts';
import { type Cluster, ingress, service, slice, startBackend, startIngress } from './ingress-harness.ts';

export type Path = readonly [path: string, type: string, service?: string];

/** An Ingress of the class of ingress-nginx. */
export function nginx(name: string, host: string, annotations: Annotations, paths: readonly Path[]): Ingress {
  const long = Object.entries(annotations).map(([key, value]) => [
    `nginx.ingress.kubernetes.io/${key}`,
    value,
  ]);
  const made = ingress(name, {
    ingressClassName: 'nginx',
    rules: [
      {
        host,
        http: {
          paths: paths.map(([path, pathType, to = 'echo']) => ({
            path,
            pathType,
            backend: { service: { name: to, port: { number: 80 } } },
          })),
        },
      },
    ],
  });
  return { ...made, metadata: { ...made.metadata, annotations: Object.fromEntries(long) } };
}

export const everything: readonly Path[] = [['/', 'Prefix']];

/** What the backend of error pages is told. */
const pageFields = [
  ...['host', 'x-code', 'x-format', 'x-original-uri', 'x-namespace', 'x-ingress-name', 'x-service-name'],
  'x-service-port',
];

/** Backends `echo`, which tells what it was asked, and `other`, in the place of an ingress-nginx. */
export async function startNginx(
  t: TestContext,
  ...made: readonly Ingress[]
): Promise<Cluster & { readonly api: FakeApi }> {
  const echo = await startBackend(t, 'echo', (request, response) => {
    const { method, url, headers } = request;
    request.resume();
    request.on('end', () => {
      if (url?.startsWith('/moved') === true) response.setHeader('Location', 'http://inner/x');
      if (url?.startsWith('/bad/') === true) response.statusCode = Number(url.slice('/bad/'.length));
      response.end(JSON.stringify({ method, url, headers }));
    });
  });
  const other = await startBackend(t, 'other');
  const auth = await startBackend(t, 'auth', (request, response) => {
    const { authorization, host } = request.headers;
    response.statusCode = authorization === 'good' ? 200 : 401;
    response.setHeader('X-Asked', `${host}${request.url} ${String(request.headers['x-told'] ?? '')}`.trim());
    response.end();
  });
  const pages = await startBackend(t, 'pages', (request, response) => {
    response.statusCode = Number(request.headers['x-code'] ?? 200);
    response.setHeader('Content-Type', 'text/html');
    const told = Object.entries(request.headers).filter(([name]) => pageFields.includes(name));
    response.end(
      JSON.stringify([request.url, ...told.map(([name, value]) => `${name}: ${String(value)}`).toSorted()]),
    );
  });
  const api = new FakeApi();
  api.seed(ingressClasses, { metadata: { name: 'nginx' }, spec: { controller: 'k8s.io/ingress-nginx' } });
  api.seed(configMaps, { metadata: { name: 'told', namespace: 'default' }, data: { 'X-Told': 'by map' } });
  api.seed(configMaps, {
    metadata: { name: 'more', namespace: 'default' },
    data: { 'X-Shop': 'yes', 'X-Powered-By': '' },
  });
  for (const { name, port } of [echo, other, auth, pages]) {
    api.seed(services, service(name));
    api.seed(endpointSlices, slice(name, 0, port));
  }
  for (const item of made) api.seed(ingresses, item);
  return startIngress(t, api, {
    ingressClasses: ['nginx'],
    nginxAnnotations: true,
    nginxAllowedHeaders: ['X-Shop', 'X-Powered-By'],
  });
}

export type Echoed = { readonly url: string; readonly headers: Annotations };
export const echoed = (answer: Answer): Echoed => JSON.parse(answer.body) as Echoed;
