/** Backends that speak TLS: who is believed, what they are shown, and what a client is told when they are not. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer } from 'node:https';
import { type AddressInfo, connect } from 'node:net';
import { type TestContext, test } from 'node:test';
import type { TLSSocket } from 'node:tls';
import { endpointSlices, ingressClasses, ingresses, secrets, services } from '../../src/api/resource.ts';
import { FakeApi } from '../support/fake-api.ts';
import { createTestPki } from '../support/pki.ts';
import {
  curl,
  exchangeRaw,
  get,
  hostRule,
  ingress,
  localhost,
  ourClass,
  service,
  slice,
  startBackend,
  startIngress,
} from './ingress-harness.ts';

const pki = await createTestPki();
const base64 = (text: string): string => Buffer.from(text).toString('base64');

/** An HTTPS backend, certified for "localhost", that asks for a client certificate and tells whose it was shown. */
async function startTlsBackend(t: TestContext): Promise<number> {
  const serving = await pki.serving('backend');
  const server = createServer(
    {
      cert: serving.certificate,
      key: serving.key,
      ca: pki.authority.pair.certificate,
      requestCert: true,
      rejectUnauthorized: false,
    },
    (request, response) => {
      const socket = request.socket as TLSSocket;
      const client = socket.getPeerCertificate().subject?.CN ?? 'nobody';
      request.resume();
      response.end(
        `${String(request.headers['x-forwarded-proto'])} ${String(socket.servername)} ${String(client)}`,
      );
    },
  );
  server.on('upgrade', (_, socket) => {
    socket.write('HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n');
    socket.pipe(socket);
  });
  server.listen(0, localhost);
  await once(server, 'listening');
  t.after(() => {
    server.close();
    server.closeAllConnections();
  });
  return (server.address() as AddressInfo).port;
}

async function start(t: TestContext, annotations: Readonly<Record<string, string>>, appProtocol?: string) {
  const port = await startTlsBackend(t);
  const api = new FakeApi();
  api.seed(ingressClasses, ourClass());
  const ports = [
    {
      name: 'http',
      port: 80,
      protocol: 'TCP',
      ...(appProtocol === undefined ? {} : { appProtocol }),
    },
  ];
  api.seed(services, { ...service('web'), spec: { type: 'ClusterIP', ports } });
  api.seed(endpointSlices, slice('web', 0, port));
  const pair = await pki.client('the-ingress');
  const data = { 'ca.crt': base64(pki.authority.pair.certificate) };
  api.seed(secrets, { metadata: { name: 'ca', namespace: 'default' }, data });
  api.seed(secrets, {
    metadata: { name: 'mutual', namespace: 'default' },
    data: { ...data, 'tls.crt': base64(pair.certificate), 'tls.key': base64(pair.key) },
  });
  const made = ingress('web', { rules: [hostRule(undefined, 'web')] });
  const long = Object.entries(annotations).map(([name, value]) => [`fairlead.dev/${name}`, value]);
  api.seed(ingresses, { ...made, metadata: { ...made.metadata, annotations: Object.fromEntries(long) } });
  return startIngress(t, api);
}

const options = { timeout: 300_000 };

test(
  'a backend over HTTPS is verified, is sent its name and is shown our certificate',
  options,
  async (t) => {
    const cases = [
      [{ 'backend-tls-secret': 'ca', 'backend-tls-server-name': 'localhost' }, 'http localhost nobody'],
      [
        { 'backend-tls-secret': 'mutual', 'backend-tls-server-name': 'localhost' },
        'http localhost the-ingress',
      ],
      [{ 'backend-tls-verify': 'off' }, 'http web.default.svc nobody'],
    ] as const;
    for (const [annotations, told] of cases) {
      const { http } = await start(t, { 'backend-protocol': 'HTTPS', ...annotations });
      for (let request = 0; request < 2; request += 1) {
        assert.deepEqual(await get(http, '/', false), { status: 200, body: told });
      }
    }
  },
);

test(
  'appProtocol https and kubernetes.io/wss of the Service port mean TLS, upgrades included',
  options,
  async (t) => {
    for (const appProtocol of ['https', 'kubernetes.io/wss']) {
      const { http } = await start(t, { 'backend-tls-verify': 'off' }, appProtocol);
      assert.equal((await get(http, '/', false)).status, 200);
      const upgrade = 'GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, close\r\nUpgrade: echo\r\n\r\n';
      const socket = connect(http, localhost);
      socket.write(`${upgrade}over and back`);
      let text = '';
      while (!text.includes('over and back')) text += String((await once(socket, 'data'))[0]);
      assert.match(text, /^HTTP\/1\.1 101 /);
      socket.destroy();
    }
  },
);

test('a backend that is not to be believed is 502, and explain tells why', options, async (t) => {
  const cases = [
    [{ 'backend-tls-secret': 'ca' }, 'ERR_TLS_CERT_ALTNAME_INVALID'], // it is for localhost, not for web.default.svc
    [{ 'backend-tls-server-name': 'localhost' }, 'SELF_SIGNED_CERT_IN_CHAIN'],
    [
      { 'backend-tls-secret': 'missing', 'backend-tls-server-name': 'localhost' },
      'SELF_SIGNED_CERT_IN_CHAIN',
    ],
  ] as const;
  for (const [annotations, code] of cases) {
    const { http, health } = await start(t, { 'backend-protocol': 'HTTPS', ...annotations });
    const answer = await get(http, '/', false);
    assert.equal(answer.status, 502);
    assert.match(answer.body, /TLS connection to the backend was not accepted/);
    const explained = await curl(`http://${localhost}:${health}/debug/explain?url=http://a/`);
    assert.match(explained, new RegExp(`last connection failed: ${code}`));
    assert.match(explained, /over TLS: certificate for /);
  }
});

test(
  'plain HTTP to a backend that speaks TLS is 502, TLS to one that does not as well',
  options,
  async (t) => {
    const { http } = await start(t, {});
    assert.match(await exchangeRaw(http, 'GET / HTTP/1.0\r\n\r\n'), /^HTTP\/1\.1 (400|502) /);
    const api = new FakeApi();
    const clear = await startBackend(t, 'clear');
    api.seed(ingressClasses, ourClass());
    api.seed(services, service('web'));
    api.seed(endpointSlices, slice('web', 0, clear.port));
    const made = ingress('web', { rules: [hostRule(undefined, 'web')] });
    const annotations = {
      'fairlead.dev/backend-protocol': 'HTTPS',
      'fairlead.dev/backend-tls-verify': 'off',
    };
    api.seed(ingresses, { ...made, metadata: { ...made.metadata, annotations } });
    const second = await startIngress(t, api);
    assert.equal((await get(second.http, '/', false)).status, 502);
    assert.equal(clear.requests, 0);
  },
);
