import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { Agent } from 'node:http';
import { connect } from 'node:net';
import { test } from 'node:test';
import { connect as connectTls } from 'node:tls';
import { promisify } from 'node:util';
import { WebSocket, WebSocketServer } from 'ws';
import {
  endpointSlices,
  events,
  ingressClasses,
  ingresses,
  secrets,
  services,
} from '../../src/api/resource.ts';
import { createAuthority } from '../../src/base/certificates.ts';
import { FakeApi } from '../support/fake-api.ts';
import {
  type Backend,
  closed,
  curl,
  exchangeRaw,
  get,
  hostRule,
  ingress,
  killBackend,
  localhost,
  ourClass,
  seedWeb,
  service,
  slice,
  startBackend,
  startIngress,
  testTransport,
  until,
} from './ingress-harness.ts';

const run = promisify(execFile);
const options = { timeout: 300_000 };

test('one kept-alive connection reaches all three backends in equal shares', options, async (t) => {
  const backends = await Promise.all(['a', 'b', 'c'].map((name) => startBackend(t, name)));
  const api = new FakeApi();
  seedWeb(api, backends);
  const { http } = await startIngress(t, api);
  const urls = Array.from({ length: 30 }, (_, index) => `http://${localhost}:${http}/${index}`);
  const out = await curl('-w', ' %{num_connects}\n', ...urls);
  const answers = out.trim().split('\n');
  assert.deepEqual(
    ['a', 'b', 'c'].map((name) => answers.filter((line) => line.startsWith(name)).length),
    [10, 10, 10],
  );
  assert.equal(answers.filter((line) => line.endsWith(' 1')).length, 1, 'one connection');
});

test('hosts and paths are routed as the API says, with real requests', options, async (t) => {
  const names = ['root', 'exact', 'prefix', 'wild', 'any'];
  const backends = new Map<string, Backend>();
  const api = new FakeApi();
  api.seed(ingressClasses, ourClass());
  for (const name of names) {
    const backend = await startBackend(t, name);
    backends.set(name, backend);
    api.seed(services, service(name));
    api.seed(endpointSlices, slice(name, 0, backend.port));
  }
  const path = (text: string, pathType: string, name: string) => ({
    path: text,
    pathType,
    backend: { service: { name, port: { name: 'http' } } },
  });
  api.seed(
    ingresses,
    ingress('paths', {
      rules: [
        {
          host: 'foo.com',
          http: {
            paths: [
              path('/', 'Prefix', 'root'),
              path('/foo', 'Exact', 'exact'),
              path('/foo', 'Prefix', 'prefix'),
            ],
          },
        },
        { host: '*.foo.com', http: { paths: [path('/wild', 'Prefix', 'wild')] } },
      ],
    }),
    ingress('other', { ingressClassName: 'somebody-else', rules: [hostRule('other.com', 'any')] }),
  );
  const { http, health } = await startIngress(t, api);
  const cases = [
    ['foo.com', '/foo', 'exact'],
    ['foo.com', '/foo/', 'prefix'],
    ['foo.com', '/foo/bar?x=/foo', 'prefix'],
    ['FOO.com:8080', '/foo', 'exact'],
    ['foo.com', '/foobar', 'root'],
    ['foo.com', '/', 'root'],
    ['bar.foo.com', '/wild/x', 'wild'],
    ['bar.foo.com', '/other', '404'],
    ['baz.bar.foo.com', '/wild', '404'],
    ['other.com', '/', '404'],
    ['unknown', '/', '404'],
  ] as const;
  for (const [host, target, want] of cases) {
    const { status, body } = await get(http, target, false, { host });
    assert.equal(status === 200 ? body : String(status), want, `${host}${target}`);
  }
  const unknown = await curl('-i', `http://${localhost}:${http}/`);
  assert.match(unknown, /^HTTP\/1.1 404 Not Found\r\nContent-Type: text\/plain/);
  assert.match(
    await curl(`http://${localhost}:${health}/debug/routes`),
    /foo\.com Exact \/foo -> default\/exact:http/,
  );
  assert.match(
    await curl(`http://${localhost}:${health}/metrics`),
    /fairlead_ingress_requests_total\{code="404"\} 5/,
  );
  assert.equal(await curl(`http://${localhost}:${health}/readyz`), 'ok\n');
});

test('forwarded headers are ours unless the client is trusted', options, async (t) => {
  const echo = await startBackend(t, 'echo', (request, response) =>
    response.end(JSON.stringify(request.headers)),
  );
  const api = new FakeApi();
  seedWeb(api, [echo]);
  const untrusted = await startIngress(t, api);
  const spoof = ['-H', 'X-Forwarded-For: 9.9.9.9', '-H', 'X-Real-IP: 9.9.9.9', '-H', 'Host: shop.example:81'];
  const extra = [
    '-H',
    'Connection: keep-alive, X-Secret',
    '-H',
    'X-Secret: 1',
    '-H',
    'Forwarded: for=1.2.3.4',
  ];
  const seen = JSON.parse(await curl(...spoof, ...extra, `http://${localhost}:${untrusted.http}/`));
  assert.equal(seen['x-forwarded-for'], localhost);
  assert.equal(seen['x-real-ip'], localhost);
  assert.equal(seen['x-forwarded-host'], 'shop.example:81');
  assert.equal(seen['x-forwarded-port'], '81');
  assert.equal(seen['x-forwarded-proto'], 'http');
  assert.equal(seen['host'], 'shop.example:81');
  assert.equal(seen['forwarded'], undefined, 'a stranger could name any client there');
  assert.equal(seen['x-secret'], undefined);
  const trusted = await startIngress(t, api, { trustedProxies: ['127.0.0.0/8'] });
  const kept = JSON.parse(await curl(...spoof, `http://${localhost}:${trusted.http}/`));
  assert.equal(kept['x-forwarded-for'], `9.9.9.9, ${localhost}`);
  assert.equal(kept['x-real-ip'], '9.9.9.9');
});

test('a WebSocket is relayed both ways and closes cleanly', options, async (t) => {
  const sockets = new WebSocketServer({ noServer: true });
  const backend = await startBackend(t, 'ws');
  backend.server.on('upgrade', (request, socket, head) => {
    sockets.handleUpgrade(request, socket, head, (webSocket) => {
      webSocket.on('message', (data, isBinary) => webSocket.send(data, { binary: isBinary }));
    });
  });
  const api = new FakeApi();
  seedWeb(api, [backend]);
  const { http } = await startIngress(t, api);
  const client = new WebSocket(`ws://${localhost}:${http}/chat`);
  await once(client, 'open');
  const big = randomBytes(3 << 20);
  for (const message of [Buffer.from('hello'), big]) {
    client.send(message);
    const [answer] = await once(client, 'message');
    assert.ok(message.equals(answer as Buffer));
  }
  client.close(1000, 'bye');
  const [code] = await once(client, 'close');
  assert.equal(code, 1000);
});

test('big bodies pass both ways in bounded memory while a side is slow', options, async (t) => {
  const bytes = 64 << 20;
  let received = 0;
  const backend = await startBackend(t, 'big', (request, response) => {
    if (request.method === 'GET') {
      const block = Buffer.alloc(1 << 20, 'x');
      let left = bytes;
      const more = (): void => {
        while (left > 0) {
          left -= block.length;
          if (!response.write(block)) {
            response.once('drain', more);
            return;
          }
        }
        response.end();
      };
      more();
      return;
    }
    request.on('data', (chunk: Buffer) => {
      received += chunk.length;
      request.pause();
      setImmediate(() => request.resume());
    });
    request.on('end', () => response.end(String(received)));
  });
  const api = new FakeApi();
  seedWeb(api, [backend]);
  const { http } = await startIngress(t, api);
  // A client that reads nothing: the answer must stop in the backend, not pile up in the proxy.
  const socket = connect(http, localhost);
  await once(socket, 'connect');
  socket.pause();
  const before = process.memoryUsage();
  socket.write('GET /slow HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n');
  await until(() => backend.requests === 1);
  for (let turn = 0; turn < 50; turn += 1) await new Promise((resolve) => setImmediate(resolve));
  const after = process.memoryUsage();
  assert.ok(after.external + after.arrayBuffers - before.external - before.arrayBuffers < bytes / 2);
  let read = 0;
  socket.on('data', (chunk) => {
    read += chunk.length;
  });
  socket.resume();
  await closed(socket);
  assert.ok(read > bytes, 'all of it came');
  const upload = run('curl', ['-sS', '-T', '-', `http://${localhost}:${http}/up`]);
  upload.child.stdin?.end(Buffer.alloc(bytes));
  assert.equal((await upload).stdout, String(bytes));
});

test('a backend killed under load fails no GET', options, async (t) => {
  const backends = await Promise.all(['a', 'b', 'c'].map((name) => startBackend(t, name)));
  const api = new FakeApi();
  seedWeb(api, backends);
  const { http } = await startIngress(t, api);
  const agent = new Agent({ keepAlive: true, maxSockets: 16 });
  t.after(() => agent.destroy());
  let sent = 0;
  const failures: string[] = [];
  const worker = async (): Promise<void> => {
    while (sent < 2000) {
      sent += 1;
      if (sent === 600) killBackend(backends[0]!);
      const { status } = await get(http, '/', agent).catch((error: unknown) => ({ status: String(error) }));
      if (status !== 200) failures.push(String(status));
    }
  };
  await Promise.all(Array.from({ length: 16 }, worker));
  assert.deepEqual(failures, []);
  assert.ok(backends[1]!.requests + backends[2]!.requests >= 1400);
});

test('endpoints are swapped under constant load without a failed request', options, async (t) => {
  const first = await startBackend(t, 'first');
  const api = new FakeApi();
  seedWeb(api, [first]);
  const { http } = await startIngress(t, api);
  const agent = new Agent({ keepAlive: true, maxSockets: 8 });
  t.after(() => agent.destroy());
  let stop = false;
  const failures: string[] = [];
  const seen = new Set<string>();
  const worker = async (): Promise<void> => {
    while (!stop) {
      const answer = await get(http, '/', agent).catch((error: unknown) => ({
        status: 0,
        body: String(error),
      }));
      if (answer.status !== 200) failures.push(`${answer.status} ${answer.body}`);
      seen.add(answer.body);
    }
  };
  const workers = Array.from({ length: 8 }, worker);
  let old = first;
  for (const name of ['second', 'third', 'fourth']) {
    const next = await startBackend(t, name);
    api.update(endpointSlices, 'default/web-0', {
      ports: [{ name: 'http', port: next.port, protocol: 'TCP' }],
    });
    await until(() => seen.has(name));
    const before = old.requests;
    await until(() => next.requests > 50);
    assert.ok(old.requests - before < 10, 'the old endpoint gets nothing new');
    // Gracefully, as a Pod ends: what it has taken it answers.
    old.server.close();
    old = next;
  }
  stop = true;
  await Promise.all(workers);
  assert.deepEqual(failures, []);
});

test(
  'a dead endpoint never shows while another lives; none at all is 503, only dead ones 502',
  options,
  async (t) => {
    const alive = await startBackend(t, 'alive');
    const dead = await startBackend(t, 'dead');
    killBackend(dead);
    const api = new FakeApi();
    seedWeb(api, [alive, dead]);
    const { http } = await startIngress(t, api);
    const url = `http://${localhost}:${http}/`;
    for (let count = 0; count < 6; count += 1) assert.equal(await curl('-d', 'post', url), 'alive');
    api.remove(endpointSlices, 'default/web-0');
    await until(async () => (await get(http, '/', false)).status === 502);
    api.remove(endpointSlices, 'default/web-1');
    await until(async () => (await get(http, '/', false)).status === 503);
    assert.match(await curl(url), /^503 Service Unavailable: no endpoint/);
  },
);

test('TLS shows the certificate of the Secret by SNI, else one of the CA', options, async (t) => {
  const nowMs = Date.now();
  const validity = { notBefore: new Date(nowMs - 60_000), notAfter: new Date(nowMs + 3_600_000) };
  const ca = await createAuthority('test-ca', validity.notBefore, validity.notAfter);
  const issue = (name: string) =>
    ca.issue({ commonName: name, dnsNames: [name], usage: 'server', ...validity });
  const backend = await startBackend(t, 'secure', (request, response) =>
    response.end(
      `secure ${String(request.headers['x-forwarded-proto'])} ${String(request.headers['x-forwarded-port'])}`,
    ),
  );
  const api = new FakeApi();
  seedWeb(api, [backend]);
  const secretOf = async (name: string, host: string) => {
    const pair = await issue(host);
    const base64 = (text: string): string => Buffer.from(text).toString('base64');
    return {
      metadata: { name, namespace: 'default' },
      type: 'kubernetes.io/tls',
      data: { 'tls.crt': base64(pair.certificate), 'tls.key': base64(pair.key) },
    };
  };
  api.seed(secrets, await secretOf('shop', 'shop.example'), await secretOf('wild', '*.wild.example'));
  api.seed(
    ingresses,
    ingress('tls', {
      rules: [hostRule('shop.example', 'web'), hostRule('plain.example', 'web')],
      tls: [
        { hosts: ['shop.example'], secretName: 'shop' },
        { hosts: ['*.wild.example'], secretName: 'wild' },
        { hosts: ['plain.example'], secretName: 'missing' },
      ],
    }),
  );
  const { https } = await startIngress(t, api, { authority: ca.pair });
  const subject = async (servername: string | undefined): Promise<string> => {
    const socket = connectTls({
      port: https,
      host: localhost,
      ...(servername === undefined ? {} : { servername }),
      ca: ca.pair.certificate,
      checkServerIdentity: () => undefined,
      ALPNProtocols: ['h2', 'http/1.1'],
    });
    await once(socket, 'secureConnect');
    const name = String(socket.getPeerCertificate().subject.CN);
    assert.equal(socket.alpnProtocol, 'h2');
    socket.destroy();
    return name;
  };
  assert.equal(await subject('shop.example'), 'shop.example');
  assert.equal(await subject('a.wild.example'), '*.wild.example');
  assert.equal(await subject('plain.example'), 'plain.example');
  assert.equal(await subject('unknown.example'), 'fairlead-ingress.local');
  assert.equal(await subject(undefined), 'fairlead-ingress.local');
  const resolve = ['--resolve', `shop.example:${https}:${localhost}`];
  assert.equal(await curl('-k', ...resolve, `https://shop.example:${https}/`), `secure https ${https}`);
  // A new certificate is shown to new handshakes; a connection made before goes on.
  const old = connectTls({
    port: https,
    host: localhost,
    servername: 'shop.example',
    rejectUnauthorized: false,
  });
  await once(old, 'secureConnect');
  const renewed = await secretOf('shop', 'shop.example');
  api.update(secrets, 'default/shop', { data: renewed.data });
  const wanted = Buffer.from(renewed.data['tls.crt'], 'base64').toString();
  await until(async () => {
    const socket = connectTls({
      port: https,
      host: localhost,
      servername: 'shop.example',
      rejectUnauthorized: false,
    });
    await once(socket, 'secureConnect');
    const shown = socket.getPeerX509Certificate()?.toString() ?? '';
    socket.destroy();
    return shown.replace(/\s/g, '') === wanted.replace(/\s/g, '');
  });
  old.write('GET / HTTP/1.1\r\nHost: shop.example\r\n\r\n');
  const [data] = await once(old, 'data');
  assert.match(String(data), /^HTTP\/1.1 200 OK/);
  old.destroy();
});

test('statuses, classes and problems are written to the API', options, async (t) => {
  const api = new FakeApi();
  api.seed(services, {
    metadata: { name: 'ingress', namespace: 'kube-system' },
    spec: { type: 'LoadBalancer', ports: [{ port: 80 }] },
    status: { loadBalancer: { ingress: [{ ip: '10.41.0.2' }] } },
  });
  api.seed(
    ingresses,
    ingress('mine', { rules: [hostRule('a.example', 'nowhere')] }),
    ingress('theirs', { ingressClassName: 'other', rules: [hostRule('b.example', 'nowhere')] }),
  );
  await startIngress(t, api, { createIngressClasses: true, ingressClasses: ['fairlead', 'second'] });
  const addresses = () => api.find(ingresses, 'default/mine')?.status?.loadBalancer?.ingress;
  await until(() => addresses() !== undefined);
  assert.deepEqual(addresses(), [{ ip: '10.41.0.2' }]);
  assert.equal(api.find(ingresses, 'default/theirs')?.status, undefined);
  assert.deepEqual(
    api.objects(ingressClasses).map((made) => [made.metadata?.name, made.metadata?.annotations]),
    [
      ['fairlead', { 'ingressclass.kubernetes.io/is-default-class': 'true' }],
      ['second', undefined],
    ],
  );
  await until(() => api.objects(events).length > 0);
  const [event] = api.objects(events);
  assert.equal(event?.reason, 'ServiceNotFound');
  assert.equal(event?.involvedObject.name, 'mine');
  api.update(services, 'kube-system/ingress', {
    status: { loadBalancer: { ingress: [{ ip: '10.41.0.3' }] } },
  });
  await until(() => addresses()?.[0]?.ip === '10.41.0.3');
});

test('stopping lets a request under way finish', options, async (t) => {
  const arrived = Promise.withResolvers<() => void>();
  const backend = await startBackend(t, 'slow', (_request, response) =>
    arrived.resolve(() => response.end('whole')),
  );
  const api = new FakeApi();
  seedWeb(api, [backend]);
  const stop = new AbortController();
  t.after(() => stop.abort());
  const { runIngress } = await import('../../src/l7/controller/run.ts');
  const { ingressDefaults } = await import('../../src/l7/controller/config.ts');
  const { silentLogger } = await import('../../src/base/log.ts');
  const { systemClock } = await import('../../src/base/clock.ts');
  const ready = Promise.withResolvers<number>();
  const place = { kind: 'address', host: localhost, port: 0 } as const;
  const running = runIngress(
    { ...ingressDefaults, http: [place], https: [], healthAddress: undefined },
    api,
    silentLogger,
    stop.signal,
    {
      clock: systemClock,
      onReady: ({ http }) => ready.resolve(http[0] ?? 0),
      transport: await testTransport(),
    },
  );
  const port = await ready.promise;
  const answer = exchangeRaw(port, 'GET / HTTP/1.1\r\nHost: x\r\n\r\n');
  const finish = await arrived.promise;
  stop.abort();
  await new Promise((resolve) => setImmediate(resolve));
  await assert.rejects(get(port, '/', false), 'nothing new is accepted');
  finish();
  assert.match(await answer, /Connection: close\r\n[^]*whole$/);
  await running;
});
