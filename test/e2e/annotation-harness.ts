import type { IncomingHttpHeaders, IncomingMessage } from 'node:http';
import { request as httpRequest } from 'node:http';
import { request as httpsRequest } from 'node:https';
import type { TestContext } from 'node:test';
import type { Ingress } from '../../src/api/gen/networking-v1.ts';
import { endpointSlices, ingressClasses, ingresses, services } from '../../src/api/resource.ts';
import type { KeyPair } from '../../src/base/certificates.ts';
import type { IngressConfig } from '../../src/l7/controller/config.ts';
import { FakeApi } from '../support/fake-api.ts';
import {
  type Cluster,
  hostRule,
  ingress,
  localhost,
  ourClass,
  service,
  slice,
  startBackend,
  startIngress,
} from './ingress-harness.ts';

export type Annotations = Readonly<Record<string, string>>;
export type Answer = {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly body: string;
};

export function annotated(
  name: string,
  host: string,
  annotations: Annotations,
  serviceName = 'echo',
): Ingress {
  const made = ingress(name, { rules: [hostRule(host, serviceName)] });
  const long = Object.fromEntries(
    Object.entries(annotations).map(([key, value]) => [`fairlead.dev/${key}`, value]),
  );
  return { ...made, metadata: { ...made.metadata, annotations: long } };
}

/** An ingress before a backend that tells what it was asked, as JSON; one Ingress on "a.example". */
export async function start(
  t: TestContext,
  annotations: Annotations,
  config: Partial<IngressConfig> = {},
): Promise<Cluster & { readonly api: FakeApi }> {
  const echo = await startBackend(t, 'echo', (request, response) => {
    const { method, url, headers } = request;
    request.resume();
    request.on('end', () => {
      response.setHeader('X-Powered-By', 'echo');
      response.end(JSON.stringify({ method, url, headers }));
    });
  });
  const api = new FakeApi();
  api.seed(ingressClasses, ourClass());
  api.seed(services, service('echo'));
  api.seed(endpointSlices, slice('echo', 0, echo.port));
  api.seed(ingresses, annotated('a', 'a.example', annotations));
  return startIngress(t, api, config);
}

export function ask(
  port: number,
  path = '/',
  headers: Annotations = {},
  method = 'GET',
  body = '',
): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const all = { host: 'a.example', ...headers };
    const asking = httpRequest(
      { host: localhost, port, path, method, headers: all, agent: false },
      answered(resolve),
    );
    asking.on('error', reject);
    asking.end(body);
  });
}

function answered(resolve: (answer: Answer) => void): (response: IncomingMessage) => void {
  return (response) => {
    const chunks: Buffer[] = [];
    response.on('data', (chunk: Buffer) => chunks.push(chunk));
    response.on('end', () =>
      resolve({
        status: response.statusCode ?? 0,
        headers: response.headers,
        body: Buffer.concat(chunks).toString(),
      }),
    );
  };
}

/** One GET of `/` over TLS, whoever certifies the ingress. `pair`: what the client shows; undefined: nothing. */
export function askOverTls(
  port: number,
  servername: string,
  pair: KeyPair | undefined,
  headers: Annotations = {},
): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const shown = pair === undefined ? {} : { cert: pair.certificate, key: pair.key };
    const where = { host: localhost, port, servername, agent: false, rejectUnauthorized: false };
    const all = { host: servername, ...headers };
    const asking = httpsRequest({ ...where, ...shown, headers: all }, answered(resolve));
    asking.on('error', reject);
    asking.end();
  });
}
