/** Clients and endpoints by IPv6. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer, type IncomingMessage, request as httpRequest } from 'node:http';
import { type AddressInfo, createServer as createTcpServer } from 'node:net';
import { test, type TestContext } from 'node:test';
import { endpointSlices, ingressClasses, ingresses, services } from '../../src/api/resource.ts';
import { FakeApi } from '../support/fake-api.ts';
import { curl, hostRule, ingress, ourClass, service, slice, startIngress } from './ingress-harness.ts';

const loopback = '::1';
const refused = await probe();
const options = { timeout: 300_000, skip: refused };

/** Why there is no IPv6 here; false: there is. */
async function probe(): Promise<string | false> {
  const server = createTcpServer();
  server.listen(0, loopback);
  const [error] = await Promise.race([
    once(server, 'listening').then(() => [undefined]),
    once(server, 'error') as Promise<[Error]>,
  ]);
  server.close();
  return error === undefined ? false : `there is no IPv6 on the loopback: ${error.message}`;
}

/** Tells what it was told of its client. */
async function startBackend6(t: TestContext): Promise<number> {
  const server = createServer((request, response) => {
    const { host, 'x-forwarded-for': client } = request.headers;
    response.end(`${request.socket.localFamily} ${String(client)} ${host}`);
  });
  server.listen(0, loopback);
  await once(server, 'listening');
  t.after(() => {
    server.close();
    server.closeAllConnections();
  });
  return (server.address() as AddressInfo).port;
}

async function get6(port: number, host: string): Promise<{ status: number; body: string }> {
  const request = httpRequest({ host: loopback, port, agent: false, headers: { host } });
  request.end();
  const [response] = (await once(request, 'response')) as [IncomingMessage];
  const chunks = (await response.toArray()) as Buffer[];
  return { status: response.statusCode ?? 0, body: Buffer.concat(chunks).toString() };
}

test('a client and an endpoint by IPv6, in the clear and over TLS', options, async (t) => {
  const port = await startBackend6(t);
  const api = new FakeApi();
  api.seed(ingressClasses, ourClass());
  api.seed(services, service('web'));
  api.seed(endpointSlices, {
    ...slice('web', 0, port),
    addressType: 'IPv6',
    endpoints: [{ addresses: [loopback], conditions: { ready: true } }],
  });
  api.seed(ingresses, ingress('web', { rules: [hostRule(undefined, 'web')] }));
  const place = { kind: 'address', host: loopback, port: 0 } as const;
  const { http, https, health } = await startIngress(t, api, { http: [place], https: [place] });
  const told = await get6(http, `[${loopback}]:${http}`);
  assert.deepEqual(told, { status: 200, body: `IPv6 ${loopback} [${loopback}]:${http}` });
  assert.equal(await curl('-kg', `https://[${loopback}]:${https}/`), `IPv6 ::1 [::1]:${https}`);
  assert.equal(
    await curl('-g', '--http2-prior-knowledge', `http://[::1]:${http}/`),
    `IPv6 ::1 [::1]:${http}`,
  );
  assert.match(await curl(`http://127.0.0.1:${health}/debug/routes`), new RegExp(`\\[::1\\]:${port}`));
});

test('ranges of IPv6: trusted proxies and allow-source-range', options, async (t) => {
  const port = await startBackend6(t);
  const api = new FakeApi();
  api.seed(ingressClasses, ourClass());
  api.seed(services, service('web'));
  api.seed(endpointSlices, {
    ...slice('web', 0, port),
    addressType: 'IPv6',
    endpoints: [{ addresses: [loopback], conditions: { ready: true } }],
  });
  const allowed = ingress('allowed', { rules: [hostRule('allowed.example', 'web')] });
  const annotations = { 'fairlead.dev/allow-source-range': '2001:db8::/32' };
  api.seed(ingresses, { ...allowed, metadata: { ...allowed.metadata, annotations } });
  const place = { kind: 'address', host: loopback, port: 0 } as const;
  const { http } = await startIngress(t, api, { http: [place], trustedProxies: ['::1/128'] });
  const as = (client: string) =>
    curl('-g', '-H', 'Host: allowed.example', '-H', `X-Forwarded-For: ${client}`, `http://[::1]:${http}/`);
  assert.match(await as('2001:db8::7'), /^IPv6 2001:db8::7, ::1 /);
  assert.match(await as('2001:db9::7'), /403|Forbidden/i);
});
