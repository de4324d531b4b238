/** Requests and answers in all their forms, byte by byte on both sides of the engine: what a client sees, and what its backend does. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import { type TestContext, test } from 'node:test';
import { FakeApi } from '../support/fake-api.ts';
import { answerOf, http2Client } from './http2-harness.ts';
import { closed, exchangeRaw, localhost, seedWeb, startIngress, until } from './ingress-harness.ts';

const options = { timeout: 300_000 };

/** What the backend says to a path; `early`: as soon as the head is there, else when the body is. */
type Script = { readonly answer: string; readonly early?: boolean; readonly ends?: boolean };

const length = (text: string): string => `Content-Length: ${text.length}\r\n\r\n${text}`;
const ok = (text: string, fields = ''): string => `HTTP/1.1 200 OK\r\n${fields}${length(text)}`;

const scripts: Readonly<Record<string, Script>> = {
  '/hints': {
    answer: `HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n${ok('hinted')}`,
  },
  '/continue': { answer: `HTTP/1.1 100 Continue\r\n\r\n`, early: true },
  '/denied': { answer: `HTTP/1.1 401 Unauthorized\r\n${length('no')}`, early: true },
  '/head': { answer: 'HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n' },
  '/head-with-body': { answer: ok('wrong') },
  '/unlimited': { answer: 'HTTP/1.1 200 OK\r\n\r\nto the end', ends: true },
  '/204': { answer: 'HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\nwrong' },
  '/304': { answer: 'HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\nETag: "a"\r\n\r\nwrong' },
  '/dated': { answer: `HTTP/1.1 200 OK\r\nDate: Then\r\n${length('dated')}` },
  '/early': { answer: ok('early'), early: true },
  '/trailers': {
    answer:
      'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n2\r\nab\r\n0\r\nX-Sum: 7\r\n\r\n',
  },
  '/short': { answer: 'HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc', ends: true },
};

/** A server that reads heads and bodies of a known length, and answers as `scripts` say; by default with what it was asked. */
async function startScripted(t: TestContext) {
  const heads: string[] = [];
  const sockets = new Set<Socket>();
  const serve = (socket: Socket): void => {
    let text = '';
    let waiting: { readonly head: string; readonly bodyBytes: number } | undefined;
    const answer = (head: string): void => {
      const [, target = ''] = head.split(' ');
      const { answer: reply, ends } = scripts[target] ?? { answer: ok(`${head.split('\r\n')[0]}`) };
      socket.write(reply, 'latin1');
      if (ends === true) socket.end();
    };
    socket.on('data', (data) => {
      text += data.toString('latin1');
      for (;;) {
        if (waiting === undefined) {
          const end = text.indexOf('\r\n\r\n');
          if (end === -1) return;
          const head = text.slice(0, end + 2);
          text = text.slice(end + 4);
          heads.push(head);
          const [, target = ''] = head.split(' ');
          waiting = { head, bodyBytes: Number(/\r\ncontent-length: (\d+)/i.exec(head)?.[1] ?? 0) };
          if (scripts[target]?.early === true) answer(head);
        }
        const { head, bodyBytes } = waiting;
        if (text.length < bodyBytes) return;
        text = text.slice(bodyBytes);
        waiting = undefined;
        const [, target = ''] = head.split(' ');
        if (target === '/continue') socket.write(ok('continued'));
        else if (scripts[target]?.early !== true) answer(head);
      }
    });
  };
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.on('error', () => {});
    serve(socket);
  });
  server.listen(0, localhost);
  await once(server, 'listening');
  t.after(() => {
    server.close();
    for (const socket of sockets) socket.destroy();
  });
  return { port: (server.address() as AddressInfo).port, heads };
}

async function start(t: TestContext) {
  const { port, heads } = await startScripted(t);
  const api = new FakeApi();
  seedWeb(api, [{ name: 'web', port, requests: 0, server: undefined as never }]);
  const { http } = await startIngress(t, api);
  return { http, heads };
}

const last = 'GET /last HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n';
const get = (target: string, fields = '', method = 'GET'): string =>
  `${method} ${target} HTTP/1.1\r\nHost: x\r\n${fields}\r\n`;

/** What an answer gets that came without: this backend's. */
const dated = /^Date: \w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d GMT\r\n/gm;

/** Requests on one connection, and what it is answered by, as the statuses in their order with a last request behind them. */
const cases: readonly (readonly [name: string, bytes: string, want: RegExp])[] = [
  [
    'answers before the answer go on, each as it is',
    get('/hints') + last,
    /^HTTP\/1\.1 102 Processing\r\n\r\nHTTP\/1\.1 103 Early Hints\r\nLink: <\/a>\r\n\r\nHTTP\/1\.1 200 OK\r\n[^]*hintedHTTP\/1\.1 200/,
  ],
  ['but not to HTTP/1.0', 'GET /hints HTTP/1.0\r\n\r\n', /^HTTP\/1\.1 200 OK\r\n[^]*hinted$/],
  [
    'a body that waits for 100 gets it from the backend, once',
    get('/continue', 'Expect: 100-continue\r\nContent-Length: 4\r\n', 'POST') + `body${last}`,
    /^HTTP\/1\.1 100 Continue\r\n\r\nHTTP\/1\.1 200 OK\r\n[^]*continuedHTTP\/1\.1 200/,
  ],
  [
    'who has not asked for 100 is not told it',
    get('/continue', 'Content-Length: 4\r\n', 'POST') + `body${last}`,
    /^HTTP\/1\.1 200 OK\r\n[^]*continuedHTTP\/1\.1 200/,
  ],
  [
    'a body that waits for 100 and is refused: the answer, and the connection ends, for nobody knows whether it comes',
    get('/denied', 'Expect: 100-continue\r\nContent-Length: 4\r\n', 'POST'),
    /^HTTP\/1\.1 401 Unauthorized\r\n[^]*Connection: close\r\n\r\nno$/,
  ],
  [
    'HEAD has the length and no body',
    get('/head', '', 'HEAD') + last,
    /Content-Length: 1000\r\n\r\nHTTP\/1\.1 200 OK\r\n[^]*GET \/last/,
  ],
  [
    'a body that must not follow HEAD is nobody’s answer',
    get('/head-with-body', '', 'HEAD') + last,
    /^HTTP\/1\.1 200 OK\r\nContent-Length: 5\r\n\r\nHTTP\/1\.1 200 OK\r\n[^]*GET \/last/,
  ],
  [
    'a body that must not follow 204',
    get('/204') + last,
    /^HTTP\/1\.1 204 No Content\r\n\r\nHTTP\/1\.1 200 OK\r\n[^]*GET \/last/,
  ],
  [
    'a body that must not follow 304',
    get('/304') + last,
    /^HTTP\/1\.1 304 Not Modified\r\nContent-Length: 5\r\nETag: "a"\r\n\r\nHTTP\/1\.1 200 OK\r\n[^]*GET \/last/,
  ],
  [
    'an answer without a length ends with its connection',
    get('/unlimited'),
    /^HTTP\/1\.1 200 OK\r\nConnection: close\r\n\r\nto the end$/,
  ],
  ['trailers of an answer', get('/trailers') + last, /\r\nX-Sum: 7\r\n\r\nHTTP\/1\.1 200/],
  [
    'OPTIONS for the server as a whole',
    get('*', '', 'OPTIONS') + last,
    /OPTIONS \* HTTP\/1\.1HTTP\/1\.1 200/,
  ],
  [
    'Max-Forwards goes on one less',
    get('/options', 'Max-Forwards: 3\r\n', 'OPTIONS') + last,
    /OPTIONS \/options HTTP\/1\.1HTTP\/1\.1 200/,
  ],
  [
    'Max-Forwards of 0 is answered here, and the next request goes on',
    get('/options', 'Max-Forwards: 0\r\n', 'OPTIONS') + last,
    /^HTTP\/1\.1 200 OK\r\nContent-Length: 0\r\nAllow: GET, HEAD, [^\r]*OPTIONS\r\n\r\nHTTP\/1\.1 200 OK\r\n[^]*GET \/last/,
  ],
  ['the absolute form', get('http://y.example/abs?q') + last, /GET \/abs\?q HTTP\/1\.1HTTP/],
  [
    'TRACE would show a script what its browser sends',
    get('/', 'Cookie: secret\r\n', 'TRACE'),
    /^HTTP\/1\.1 405 (?![^]*secret)[^]*\r\nAllow: GET, /,
  ],
  ['CONNECT', get('x:443', '', 'CONNECT'), /^HTTP\/1\.1 405 [^]*\r\nAllow: GET, /],
  [
    'a request in the middle that is malformed: those before are answered, none behind it is read',
    `${get('/a')}GET /b HTTP/1.1\r\nHost : x\r\n\r\n${last}`,
    /^HTTP\/1\.1 200 OK\r\n[^]*GET \/a HTTP\/1\.1HTTP\/1\.1 400 [^]*Connection: close(?![^]*HTTP\/1\.1 200)/,
  ],
  [
    'one with a body in the middle is answered in its turn, as are those behind it',
    `${get('/a')}${get('/b', 'Content-Length: 2\r\n', 'POST')}xy${get('/c')}${last}`,
    /GET \/a [^]*POST \/b [^]*GET \/c [^]*GET \/last/,
  ],
];

test(
  'requests and answers of HTTP/1.1, one case after another on connections that others use',
  options,
  async (t) => {
    const { http, heads } = await start(t);
    for (const [name, bytes, want] of cases) {
      const answered = await exchangeRaw(http, bytes);
      assert.match(answered.replaceAll(dated, ''), want, name);
    }
    const forwarded = heads.flatMap((head) => /\r\nMax-Forwards: .*/.exec(head)?.[0].trim() ?? []);
    assert.deepEqual(forwarded, ['Max-Forwards: 2']);
  },
);

test(
  'an upgrade with a body is a request like any other, and its backend hears of no upgrade',
  options,
  async (t) => {
    const { http, heads } = await start(t);
    const bytes = get('/up', 'Connection: Upgrade\r\nUpgrade: websocket\r\nContent-Length: 2\r\n', 'POST');
    assert.match(
      await exchangeRaw(http, `${bytes}hi${last}`),
      /^HTTP\/1\.1 200 OK\r\n[^]*POST \/up[^]*GET \/last/,
    );
    assert.doesNotMatch(heads[0] ?? '', /upgrade/i);
  },
);

test('each final answer has one date: the backend’s own, else ours', options, async (t) => {
  const { http } = await start(t);
  for (const [target, dates] of [
    ['/hints', 1],
    ['/dated', 0],
    ['no target', 1],
  ] as const) {
    const answered = await exchangeRaw(http, get(target, 'Connection: close\r\n'));
    assert.equal(answered.match(dated)?.length ?? 0, dates, answered);
    assert.equal(answered.match(/^date:/gim)?.length, 1, answered);
  }
  const session = await http2Client(t, http);
  for (const path of ['/hints', '/dated', '/%00']) {
    const { headers } = await answerOf(session.request({ ':path': path }));
    assert.equal(typeof headers.date, 'string', path);
  }
});

test('an answer before the request’s end comes whole, and then the connection ends', options, async (t) => {
  const { http } = await start(t);
  const socket = connect(http, localhost);
  socket.write(`${get('/early', 'Content-Length: 1000\r\n', 'POST')}a part`);
  let text = '';
  socket.on('data', (data) => {
    text += data.toString('latin1');
  });
  await until(() => text.endsWith('early'));
  assert.match(text, /^HTTP\/1\.1 200 OK\r\n[^]*Connection: close\r\n/);
  await closed(socket);
});

test('an answer that is cut short is seen to be so', options, async (t) => {
  const { http } = await start(t);
  assert.match(await exchangeRaw(http, get('/short')), /^$|Content-Length: 10\r\n[^]*abc$/);
});

test('the same answers for clients of HTTP/2', options, async (t) => {
  const { http } = await start(t);
  const session = await http2Client(t, http);
  const ask = async (path: string, method = 'GET', body?: string) => {
    const told = body === undefined ? {} : { 'content-length': String(body.length) };
    const fields = { ':path': path, ':method': method, ...told };
    const stream = session.request(fields, { endStream: body === undefined });
    if (body !== undefined) stream.end(body);
    const { headers, informational, body: answered, trailers } = await answerOf(stream);
    return [headers[':status'], informational, answered.toString(), trailers['x-sum']];
  };
  assert.deepEqual(await ask('/hints'), [200, [102, 103], 'hinted', undefined]);
  assert.deepEqual(await ask('/head', 'HEAD'), [200, [], '', undefined]);
  assert.deepEqual(await ask('/head-with-body', 'HEAD'), [200, [], '', undefined]);
  assert.deepEqual(await ask('/204'), [204, [], '', undefined]);
  assert.deepEqual(await ask('/304'), [304, [], '', undefined]);
  assert.deepEqual(await ask('/unlimited'), [200, [], 'to the end', undefined]);
  assert.deepEqual(await ask('/trailers'), [200, [], 'ab', '7']);
  assert.deepEqual(await ask('*', 'OPTIONS'), [200, [], 'OPTIONS * HTTP/1.1', undefined]);
  assert.equal((await ask('/', 'TRACE'))[0], 405);
  assert.deepEqual(await ask('/posted', 'POST', 'xy'), [200, [], 'POST /posted HTTP/1.1', undefined]);
  await assert.rejects(ask('/short'), 'it must not look whole');
  const early = session.request({ ':path': '/early', ':method': 'POST', 'content-length': '1000' });
  early.write('a part');
  let text = '';
  early.on('data', (data) => {
    text += String(data);
  });
  await once(early, 'close');
  assert.deepEqual([text, early.rstCode], ['early', 0], 'it is whole, and the rest is not asked for');
  assert.deepEqual(await ask('/last'), [200, [], 'GET /last HTTP/1.1', undefined], 'others go on');
});
