import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { Agent, request as httpRequest } from 'node:http';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
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
import { defaultLimits } from '../../src/l7/limits.ts';
import { FakeApi } from '../support/fake-api.ts';
import {
  type Backend,
  closed,
  exchangeRaw,
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
  until,
} from './ingress-harness.ts';

const run = promisify(execFile);
const options = { timeout: 60_000 };

async function curl(...args: readonly string[]): Promise<string> {
  const { stdout } = await run('curl', ['-sS', '--max-time', '20', ...args], { maxBuffer: 64 << 20 });
  return stdout;
}

function get(port: number, path: string, agent: Agent | false, headers: Record<string, string> = {}) {
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
  assert.equal(seen['forwarded'], 'for=1.2.3.4');
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

test('chunked bodies and trailers pass unchanged', options, async (t) => {
  const backend = await startBackend(t, 'chunks', (request, response) => {
    const hash = createHash('sha256');
    request.on('data', (chunk: Buffer) => hash.update(chunk));
    request.on('end', () => {
      response.writeHead(200, { trailer: 'x-sum' });
      response.write(`${request.headers['transfer-encoding']} `);
      response.write(`${request.trailers['x-end']} `);
      response.addTrailers({ 'x-sum': hash.digest('hex') });
      response.end('done');
    });
  });
  const api = new FakeApi();
  seedWeb(api, [backend]);
  const { http } = await startIngress(t, api);
  const parts = [
    'POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n',
    '5;ext=1\r\nhel',
    'lo\r\n1\r\n \r\n5\r\nworld\r\n0\r\nX-En',
    'd: yes\r\n\r\n',
  ];
  const answer = await exchangeRaw(http, parts);
  assert.match(answer, /^HTTP\/1.1 200 OK\r\n/);
  assert.match(answer, /chunked /);
  assert.match(answer, /yes /);
  const sum = createHash('sha256').update('hello world').digest('hex');
  assert.match(answer, new RegExp(`x-sum: ${sum}\r\n\r\n$`));
});

test('pipelined requests are answered in their order', options, async (t) => {
  const backend = await startBackend(t, 'order', (request, response) => {
    // The first is the slowest: answers would overtake each other if anything were sent ahead of its turn.
    const delayMs = request.url === '/0' ? 50 : 0;
    setTimeout(() => response.end(`<${request.url}>`), delayMs);
  });
  const api = new FakeApi();
  seedWeb(api, [backend]);
  const { http } = await startIngress(t, api);
  const requests = Array.from({ length: 20 }, (_, index) => {
    const last = index === 19 ? 'Connection: close\r\n' : '';
    return `GET /${index} HTTP/1.1\r\nHost: x\r\n${last}\r\n`;
  });
  const answer = await exchangeRaw(http, requests.join(''));
  const order = [...answer.matchAll(/<\/(\d+)>/g)].map((match) => Number(match[1]));
  assert.deepEqual(
    order,
    Array.from({ length: 20 }, (_, index) => index),
  );
});

test(
  'requests that two readers might read differently are refused and reach no backend',
  options,
  async (t) => {
    const backend = await startBackend(t, 'never');
    const api = new FakeApi();
    seedWeb(api, [backend]);
    const { http } = await startIngress(t, api);
    const post = 'POST / HTTP/1.1\r\nHost: x\r\n';
    const cases: readonly (readonly [name: string, text: string, status: number])[] = [
      ['CL and TE', `${post}Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nX`, 400],
      ['two CL', `${post}Content-Length: 1\r\nContent-Length: 2\r\n\r\nab`, 400],
      ['CL list', `${post}Content-Length: 1, 1\r\n\r\na`, 400],
      ['CL sign', `${post}Content-Length: +1\r\n\r\na`, 400],
      ['TE twice', `${post}Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n`, 501],
      ['TE obfuscated', `${post}Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n`, 501],
      ['space before colon', `${post}Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n`, 400],
      ['folded line', `${post}X: a\r\n b\r\n\r\n`, 400],
      ['bare LF', 'GET / HTTP/1.1\nHost: x\n\n', 400],
      ['bare LF in a field', 'GET / HTTP/1.1\r\nHost: x\r\nA: b\nC: d\r\n\r\n', 400],
      ['bare CR', 'GET / HTTP/1.1\r\nHost: x\r\nA: b\rC: d\r\n\r\n', 400],
      ['NUL', 'GET / HTTP/1.1\r\nHost: x\r\nA: \0\r\n\r\n', 400],
      ['two Hosts', 'GET / HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n', 400],
      ['no Host', 'GET / HTTP/1.1\r\n\r\n', 400],
      ['bad Host', 'GET / HTTP/1.1\r\nHost: x/y\r\n\r\n', 400],
      ['bad chunk size', `${post}Transfer-Encoding: chunked\r\n\r\nzz\r\n`, 400],
      ['chunk size overflow', `${post}Transfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\n`, 400],
      ['chunk longer than said', `${post}Transfer-Encoding: chunked\r\n\r\n1\r\nab\r\n0\r\n\r\n`, 400],
      ['bare LF after chunk size', `${post}Transfer-Encoding: chunked\r\n\r\n1\na\r\n0\r\n\r\n`, 400],
      [
        'framing in a trailer',
        `${post}Transfer-Encoding: chunked\r\n\r\n0\r\nContent-Length: 5\r\n\r\n`,
        400,
      ],
      ['HTTP/1.0 with TE', 'POST / HTTP/1.0\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n', 400],
      ['HTTP/2 preface', 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n', 505],
      ['CONNECT', 'CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n', 405],
      ['unknown expectation', `${post}Expect: magic\r\n\r\n`, 417],
      [
        'head too large',
        `GET / HTTP/1.1\r\nHost: x\r\nA: ${'a'.repeat(defaultLimits.headBytesMax)}\r\n\r\n`,
        431,
      ],
      [
        'target too long',
        `GET /${'a'.repeat(defaultLimits.targetBytesMax)} HTTP/1.1\r\nHost: x\r\n\r\n`,
        414,
      ],
      ['too many fields', `GET / HTTP/1.1\r\nHost: x\r\n${'A: b\r\n'.repeat(100)}\r\n`, 431],
    ];
    for (const [name, text, status] of cases) {
      const answer = await exchangeRaw(http, text);
      assert.match(answer, new RegExp(`^HTTP/1.1 ${status} `), name);
      assert.match(answer, /\r\nConnection: close\r\n/, name);
      assert.equal(answer.split(/HTTP\/1\.1 \d/).length, 2, `${name}: one answer`);
    }
    assert.equal(backend.requests, 0);
  },
);

test('Expect, HEAD, HTTP/1.0, absolute-form and an early hint', options, async (t) => {
  const backend = await startBackend(t, 'forms', (request, response) => {
    if (request.url === '/hints') response.writeEarlyHints({ link: '</a.css>; rel=preload' });
    if (request.url === '/none') {
      response.writeHead(204).end();
      return;
    }
    const chunks: Buffer[] = [];
    request.on('data', (chunk: Buffer) => chunks.push(chunk));
    request.on('end', () => {
      const body = `${request.method} ${request.url} ${request.headers.host} ${Buffer.concat(chunks)}`;
      if (request.url === '/sized') response.setHeader('content-length', body.length);
      response.end(body);
    });
  });
  const api = new FakeApi();
  seedWeb(api, [backend]);
  const { http } = await startIngress(t, api);
  const base = `http://${localhost}:${http}`;
  assert.match(
    await curl('-i', '-H', 'Expect: 100-continue', '-d', 'body', `${base}/x`),
    /100 Continue\r\n\r\nHTTP\/1.1 200 OK[^]*body$/,
  );
  assert.match(await curl('-I', `${base}/head`), /^HTTP\/1.1 200 OK\r\n/);
  assert.match(
    await curl('-0', '-i', `${base}/old`),
    /^HTTP\/1.1 200 OK\r\n[^]*Connection: close\r\n[^]*GET \/old/,
  );
  assert.match(
    await curl('-0', '-i', '-H', 'Connection: keep-alive', `${base}/sized`),
    /Connection: keep-alive\r\n/,
  );
  assert.match(await curl('-i', `${base}/hints`), /103 Early Hints\r\n[^]*HTTP\/1.1 200 OK/);
  assert.match(await curl('-i', `${base}/none`), /^HTTP\/1.1 204 No Content\r\n/);
  const absolute = 'GET http://other.example/abs HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n';
  assert.match(await exchangeRaw(http, absolute), /GET \/abs other\.example/);
  const halfClosed = connect({ port: http, host: localhost, allowHalfOpen: true });
  halfClosed.end('GET /half HTTP/1.1\r\nHost: x\r\n\r\n');
  const [data] = await once(halfClosed, 'data');
  assert.match(String(data), /GET \/half/);
  halfClosed.destroy();
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

test(
  'a bad, truncated or missing answer of a backend is 502, 504 or a cut connection',
  options,
  async (t) => {
    const answers = new Map<string, string | undefined>([
      ['/bad', 'nonsense\r\n\r\n'],
      ['/both', 'HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n'],
      ['/switch', 'HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n'],
      ['/short', 'HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc'],
      ['/close', 'HTTP/1.1 200 OK\r\n\r\nuntil the end'],
      ['/gone', ''],
      ['/silent', undefined],
    ]);
    const sockets = new Set<Socket>();
    const raw = createServer((socket) => {
      sockets.add(socket);
      socket.on('error', () => {});
      socket.on('data', (data) => {
        const path = String(data).split(' ')[1] ?? '';
        const answer = answers.get(path);
        if (answer !== undefined) socket.end(answer);
      });
    });
    raw.listen(0, localhost);
    await once(raw, 'listening');
    t.after(() => {
      raw.close();
      for (const socket of sockets) socket.destroy();
    });
    const api = new FakeApi();
    seedWeb(api, []);
    api.seed(endpointSlices, slice('web', 0, (raw.address() as AddressInfo).port));
    const limits = { ...defaultLimits, upstreamHeaderTimeoutMs: 100 };
    const { http } = await startIngress(t, api, { limits });
    for (const [path, want] of [
      ['/bad', '502'],
      ['/both', '502'],
      ['/switch', '502'],
      ['/gone', '502'],
      ['/silent', '504'],
      ['/close', '200'],
    ] as const) {
      const answer = await exchangeRaw(http, `GET ${path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n`);
      assert.equal(answer.slice(9, 12), want, path);
    }
    await assert.rejects(get(http, '/short', false), 'a short answer must not look whole');
  },
);

test('slow and silent clients are told or cut', options, async (t) => {
  const backend = await startBackend(t, 'x');
  const api = new FakeApi();
  seedWeb(api, [backend]);
  const short = {
    clientHeaderTimeoutMs: 60,
    clientBodyTimeoutMs: 60,
    clientIdleTimeoutMs: 60,
    lingerTimeoutMs: 40,
  };
  const { http } = await startIngress(t, api, { limits: { ...defaultLimits, ...short } });
  assert.equal(await exchangeRaw(http, ''), '');
  assert.match(await exchangeRaw(http, 'GET / HT'), /^HTTP\/1.1 408 /);
  assert.match(
    await exchangeRaw(http, 'POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nabc'),
    /^HTTP\/1.1 (408|200) /,
  );
  assert.match(await exchangeRaw(http, 'GET / HTTP/1.1\r\nHost: x\r\n\r\n'), /^HTTP\/1.1 200 /);
});

test('TLS shows the certificate of the Secret by SNI, else one of the CA', options, async (t) => {
  const nowMs = Date.now();
  const validity = { notBefore: new Date(nowMs - 60_000), notAfter: new Date(nowMs + 3_600_000) };
  const ca = await createAuthority('test-ca', validity.notBefore, validity.notAfter);
  const issue = (name: string) =>
    ca.issue({ commonName: name, dnsNames: [name], usage: 'server', ...validity });
  const backend = await startBackend(t, 'secure', (request, response) =>
    response.end(`secure ${request.headers['x-forwarded-proto']} ${request.headers['x-forwarded-port']}`),
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
    assert.equal(socket.alpnProtocol, 'http/1.1');
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
  const { runIngress } = await import('../../src/l7/run.ts');
  const { ingressDefaults } = await import('../../src/l7/config.ts');
  const { silentLogger } = await import('../../src/base/log.ts');
  const { systemClock } = await import('../../src/base/clock.ts');
  const ready = Promise.withResolvers<number>();
  const place = { kind: 'address', host: localhost, port: 0 } as const;
  const running = runIngress(
    { ...ingressDefaults, http: [place], https: [], healthAddress: undefined },
    api,
    silentLogger,
    stop.signal,
    { clock: systemClock, onReady: ({ http }) => ready.resolve(http[0] ?? 0) },
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
