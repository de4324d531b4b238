/** Annotations of ingress-nginx about backends, each with requests: who gets them, by what connection, and what becomes of failures. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { createServer } from 'node:https';
import { type AddressInfo, connect } from 'node:net';
import { type TestContext, test } from 'node:test';
import type { TLSSocket } from 'node:tls';
import { endpointSlices, ingresses, secrets, services } from '../../src/api/resource.ts';
import { createTestPki, type TestPki } from '../support/pki.ts';
import { type Annotations, ask } from './annotation-harness.ts';
import { get, localhost, service, slice, startBackend, until } from './ingress-harness.ts';
import { everything, nginx, startNginx } from './nginx-harness.ts';

const options = { timeout: 300_000 };
const base64 = (text: string): string => Buffer.from(text).toString('base64');

/** An HTTPS server certified for localhost that tells the name it was called by and whose certificate it was shown. */
async function startTls(t: TestContext, pki: TestPki): Promise<number> {
  const { certificate: cert, key } = await pki.serving('backend');
  const ca = pki.authority.pair.certificate;
  const server = createServer(
    { cert, key, ca, requestCert: true, rejectUnauthorized: false },
    (request, response) => {
      const socket = request.socket as TLSSocket;
      response.end(
        `${String(socket.servername)} ${String(socket.getPeerCertificate().subject?.CN ?? 'nobody')}`,
      );
    },
  );
  server.listen(0, localhost);
  await once(server, 'listening');
  t.after(() => {
    server.close();
    server.closeAllConnections();
  });
  return (server.address() as AddressInfo).port;
}

test(
  'nginx backend-protocol HTTPS with proxy-ssl-secret, -verify, -name, -server-name',
  options,
  async (t) => {
    const pki = await createTestPki();
    const port = await startTls(t, pki);
    const tls = (annotations: Annotations): Annotations => ({ 'backend-protocol': 'HTTPS', ...annotations });
    const mutual = {
      'proxy-ssl-secret': 'default/mutual',
      'proxy-ssl-verify': 'on',
      'proxy-ssl-server-name': 'on',
    };
    const hosts: Readonly<Record<string, Annotations>> = {
      plain: tls({}),
      verified: tls({ ...mutual, 'proxy-ssl-name': 'localhost' }),
      misnamed: tls({ ...mutual, 'proxy-ssl-name': 'other.example' }),
      unverified: tls({ 'proxy-ssl-secret': 'default/mutual', 'proxy-ssl-verify': 'off' }),
      untrusted: tls({ 'proxy-ssl-verify': 'on', 'proxy-ssl-name': 'localhost' }),
    };
    const made = Object.entries(hosts).map(([name, annotations]) =>
      nginx(name, `${name}.example`, annotations, [['/', 'Prefix', 'tls']]),
    );
    const { http, api } = await startNginx(t, ...made);
    const pair = await pki.client('the-ingress');
    const data = {
      'ca.crt': base64(pki.authority.pair.certificate),
      'tls.crt': base64(pair.certificate),
      'tls.key': base64(pair.key),
    };
    api.seed(secrets, { metadata: { name: 'mutual', namespace: 'default' }, data });
    api.seed(services, service('tls'));
    api.seed(endpointSlices, slice('tls', 0, port));
    const told = async (name: string): Promise<unknown> => {
      const { status, body } = await ask(http, '/', { host: `${name}.example` });
      return status === 200 ? body : status;
    };
    await until(async () => (await told('verified')) === 'localhost the-ingress');
    assert.equal(await told('plain'), 'tls.default.svc nobody');
    assert.equal(await told('unverified'), 'tls.default.svc the-ingress');
    assert.deepEqual([await told('misnamed'), await told('untrusted')], [502, 502]);
  },
);

/** Two endpoints `a` and `b` of a Service `pair`, which answer as they are told. */
async function startPair(
  t: TestContext,
  annotations: Annotations,
  handle: (name: string) => Parameters<typeof startBackend>[2],
) {
  const made = nginx('pair', 'a.example', annotations, [['/', 'Prefix', 'pair']]);
  const world = await startNginx(t, made);
  const [a, b] = [await startBackend(t, 'a', handle('a')), await startBackend(t, 'b', handle('b'))];
  world.api.seed(services, service('pair'));
  [a, b].forEach(({ port }, index) => world.api.seed(endpointSlices, slice('pair', index, port)));
  await until(async () => {
    await Promise.all([0, 1, 2, 3].map(() => ask(world.http, '/warm')));
    return a.requests > 0 || b.requests > 0;
  });
  return { ...world, a, b };
}

test('nginx upstream-hash-by: the same keys stay together', options, async (t) => {
  const { http } = await startPair(t, { 'upstream-hash-by': '$http_x_user' }, () => undefined);
  const users = Array.from({ length: 20 }, (_, index) => `user-${index}`);
  const who = (): Promise<readonly string[]> =>
    Promise.all(users.map(async (user) => (await ask(http, '/', { 'X-User': user })).body));
  const first = await who();
  assert.deepEqual([...new Set(first)].toSorted(), ['a', 'b']);
  assert.deepEqual(await who(), first);
});

test('nginx load-balance ewma: who is busy gets less', options, async (t) => {
  const held: (() => void)[] = [];
  const { http } = await startPair(t, { 'load-balance': 'ewma' }, (name) => (request, response) => {
    if (request.url === '/hold') held.push(() => response.end(name));
    else response.end(name);
  });
  const waiting = ask(http, '/hold');
  await until(() => held.length === 1);
  const answers = await Promise.all(Array.from({ length: 5 }, () => ask(http, '/').then(({ body }) => body)));
  held[0]?.();
  const { body: busy } = await waiting;
  assert.ok(
    answers.filter((name) => name === busy).length <= 2,
    `${busy} was busy, others were asked: ${answers.join()}`,
  );
});

test(
  'nginx proxy-next-upstream and -tries: a GET that is answered 503 is asked elsewhere',
  options,
  async (t) => {
    const flaky = (name: string) => (request: IncomingMessage, response: ServerResponse) => {
      if (name === 'a' && request.url === '/x') response.statusCode = 503;
      response.end(name);
    };
    const causes = { 'proxy-next-upstream': 'error timeout http_503', 'proxy-next-upstream-tries': '2' };
    const retried = await startPair(t, causes, flaky);
    for (let turn = 0; turn < 6; turn += 1) assert.equal((await ask(retried.http, '/x')).body, 'b');
    const off = await startPair(t, { 'proxy-next-upstream': 'off' }, flaky);
    const statuses = new Set<number>();
    await until(async () => {
      statuses.add((await ask(off.http, '/x')).status);
      return statuses.size === 2;
    });
    assert.deepEqual(statuses, new Set([200, 503]));
  },
);

test('nginx proxy-send-timeout: a backend that takes nothing is 504', options, async (t) => {
  const bodyBytes = 16 << 20; // more than all buffers on the way
  const deaf = nginx('deaf', 'a.example', { 'proxy-send-timeout': '1' }, [['/', 'Prefix', 'deaf']]);
  const { http, health, api } = await startNginx(t, deaf);
  const backend = await startBackend(t, 'deaf', (request, response) => {
    if (request.method === 'POST') request.pause();
    else response.end();
  });
  api.seed(services, service('deaf'));
  api.seed(endpointSlices, slice('deaf', 0, backend.port));
  await until(async () => (await ask(http, '/')).status === 200);
  const socket = connect(http, localhost);
  t.after(() => socket.destroy());
  socket.on('error', () => {}); // what is not read any more is reset
  socket.write(`POST / HTTP/1.1\r\nHost: a.example\r\nContent-Length: ${bodyBytes}\r\n\r\n`);
  socket.write(Buffer.alloc(bodyBytes));
  // Whether the client still reads the answer while it cannot send is its own matter; the count tells what it was.
  const metrics = async (): Promise<string> => (await get(health, '/metrics', false)).body;
  await until(async () => /requests_total\{code="504"\} 1$/m.test(await metrics()));
});

test('nginx canary-by-header(-value), canary-weight and -total: exact shares', options, async (t) => {
  const { http, api } = await startNginx(
    t,
    nginx('a', 'a.example', {}, everything),
    nginx('canary', 'a.example', { canary: 'true', 'canary-weight': '1', 'canary-weight-total': '4' }, [
      ['/', 'Prefix', 'other'],
    ]),
  );
  const toCanary = async (headers: Annotations = {}): Promise<boolean> =>
    (await ask(http, '/', headers)).body === 'other';
  let taken = 0;
  for (let turn = 0; turn < 20; turn += 1) taken += Number(await toCanary());
  assert.equal(taken, 5);
  const byHeader = { canary: 'true', 'canary-by-header': 'X-Try', 'canary-by-header-value': 'new' };
  api.seed(ingresses, nginx('canary', 'a.example', byHeader, [['/', 'Prefix', 'other']]));
  await until(async () => toCanary({ 'X-Try': 'new' }));
  assert.deepEqual([await toCanary({ 'X-Try': 'always' }), await toCanary()], [false, false]);
});

test('nginx mirror-target, mirror-host and mirror-request-body', options, async (t) => {
  const copies: string[] = [];
  const mirrored = {
    'mirror-target': 'http://copy.default.svc$request_uri',
    'mirror-host': 'copy.example',
    'mirror-request-body': 'off',
  };
  const { http, api } = await startNginx(t, nginx('a', 'a.example', mirrored, everything));
  const copy = await startBackend(t, 'copy', (request, response) => {
    request.resume();
    copies.push(
      `${request.method} ${request.headers.host}${request.url} ${request.headers['content-length'] ?? 'bare'}`,
    );
    response.end();
  });
  api.seed(services, service('copy'));
  api.seed(endpointSlices, slice('copy', 0, copy.port));
  await until(async () => {
    assert.equal((await ask(http, '/x?y=1', {}, 'POST', 'body')).status, 200);
    return copies.length > 0;
  });
  assert.equal(copies[0], 'POST copy.example/x?y=1 bare');
});

test('nginx cors-*: a preflight is answered with all that is said', options, async (t) => {
  const said = {
    'enable-cors': 'true',
    'cors-allow-origin': 'https://b.example',
    'cors-allow-methods': 'GET, PUT',
    'cors-allow-headers': 'X-A, X-B',
    'cors-expose-headers': 'X-C',
    'cors-allow-credentials': 'true',
    'cors-max-age': '600',
  };
  const { http } = await startNginx(t, nginx('a', 'a.example', said, everything));
  const asking = { Origin: 'https://b.example', 'Access-Control-Request-Method': 'PUT' };
  const { status, headers } = await ask(http, '/', asking, 'OPTIONS');
  assert.equal(status, 204);
  const told = (name: string): unknown => headers[`access-control-${name}`];
  assert.deepEqual(
    [
      told('allow-origin'),
      told('allow-methods'),
      told('allow-headers'),
      told('allow-credentials'),
      told('max-age'),
    ],
    ['https://b.example', 'GET, PUT', 'X-A, X-B', 'true', '600'],
  );
  const plain = await ask(http, '/', { Origin: 'https://b.example' });
  assert.equal(plain.headers['access-control-expose-headers'], 'X-C');
});
