import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import { test } from 'node:test';
import { endpointSlices } from '../../src/api/resource.ts';
import { defaultLimits } from '../../src/l7/proxy/limits.ts';
import { FakeApi } from '../support/fake-api.ts';
import {
  curl,
  exchangeRaw,
  get,
  localhost,
  seedWeb,
  slice,
  startBackend,
  startIngress,
  until,
} from './ingress-harness.ts';

const options = { timeout: 300_000 };

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
      const body = `${request.method} ${request.url} ${request.headers.host} ${Buffer.concat(chunks).toString()}`;
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
  // On a busy machine the time may be up before what has come is read: then it is sent again.
  const answered = (bytes: string, want: RegExp) =>
    until(async () => want.test(await exchangeRaw(http, bytes)));
  await answered('GET / HT', /^HTTP\/1.1 408 /);
  await answered('POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nabc', /^HTTP\/1.1 (408|200) /);
  await answered('GET / HTTP/1.1\r\nHost: x\r\n\r\n', /^HTTP\/1.1 200 /);
});

test('a head that comes byte by byte gets no more time than any other', options, async (t) => {
  const backend = await startBackend(t, 'x');
  const api = new FakeApi();
  seedWeb(api, [backend]);
  const short = { clientHeaderTimeoutMs: 100, lingerTimeoutMs: 40 };
  const { http } = await startIngress(t, api, { limits: { ...defaultLimits, ...short } });
  const socket = connect(http, localhost);
  await once(socket, 'connect');
  let answer = '';
  socket.on('data', (chunk: Buffer) => {
    answer += chunk.toString();
  });
  socket.on('error', () => {}); // a reset for what is sent after the answer
  socket.write('GET / HTTP/1.1\r\nHost: x\r\nX-Drip: ');
  await until(() => {
    if (!socket.destroyed) socket.write('a'); // a few milliseconds apart, for as long as it takes
    return answer !== '';
  });
  assert.match(answer, /^HTTP\/1.1 408 /);
  socket.destroy();
  assert.equal(backend.requests, 0);
});

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
    const limits = { ...defaultLimits, upstreamHeaderTimeoutMs: 1000 };
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
      ['HTTP/2 in the first line', 'GET / HTTP/2.0\r\nHost: x\r\n\r\n', 505],
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
