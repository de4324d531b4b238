import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { FieldLines } from './http1-fields.ts';
import {
  checkPartialHead,
  findHeadEnd,
  hostOf,
  type ParseFailure,
  parseRequestHead,
  parseResponseHead,
  type RequestHead,
  type ResponseHead,
} from './http1-parse.ts';

const lines = new FieldLines(20);

function request(text: string): RequestHead | ParseFailure {
  const data = Buffer.from(text, 'latin1');
  return parseRequestHead(data, 0, findHeadEnd(data, 0, data.length), lines);
}

function response(text: string, method = 'GET'): ResponseHead | ParseFailure {
  const data = Buffer.from(text, 'latin1');
  return parseResponseHead(data, 0, findHeadEnd(data, 0, data.length), method, lines);
}

const good: readonly (readonly [string, Partial<RequestHead>])[] = [
  [
    'GET / HTTP/1.1\r\nHost: a\r\n\r\n',
    { method: 'GET', path: '/', host: 'a', body: 'none', keepAlive: true, minorVersion: 1 },
  ],
  [
    'GET /p?q=/x HTTP/1.1\r\nhOsT:\t A.Com:81 \r\n\r\n',
    { target: '/p?q=/x', path: '/p', host: 'a.com', authority: 'A.Com:81' },
  ],
  ['GET / HTTP/1.0\r\n\r\n', { host: '', keepAlive: false, minorVersion: 0 }],
  ['GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n', { keepAlive: true }],
  ['GET / HTTP/1.1\r\nHost: a\r\nConnection: x, CLOSE\r\n\r\n', { keepAlive: false }],
  ['POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 12\r\n\r\n', { body: 'length', contentLength: 12 }],
  ['POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n', { body: 'none' }],
  ['POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: Chunked\r\n\r\n', { body: 'chunked' }],
  ['POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-Continue\r\n\r\n', { expectContinue: true }],
  [
    'GET http://b.c:8/x?y HTTP/1.1\r\nHost: a\r\n\r\n',
    { target: '/x?y', host: 'b.c', absolute: true, authority: 'b.c:8' },
  ],
  ['GET HTTP://b.c HTTP/1.1\r\nHost: a\r\n\r\n', { target: '/', host: 'b.c' }],
  ['GET http://b?q HTTP/1.1\r\nHost: a\r\n\r\n', { target: '/?q', path: '/' }],
  ['OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n', { target: '*', path: '*' }],
  ['GET / HTTP/1.1\r\nHost: [::1]:80\r\n\r\n', { host: '[::1]' }],
  ['GET / HTTP/1.1\r\nHost: a.b.\r\n\r\n', { host: 'a.b' }],
  [
    'GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n',
    { upgrade: 'websocket' },
  ],
  [
    'GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n\r\n',
    { upgrade: undefined },
  ],
  ['GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\n\r\n', { upgrade: undefined }],
  ['GET /\xc3\xa9 HTTP/1.1\r\nHost: a\r\nX: \xff\r\n\r\n', { path: '/\xc3\xa9' }],
];

for (const [text, want] of good) {
  test(`l7 parse: ${JSON.stringify(text)}`, () => {
    const head = request(text);
    assert.equal(head.kind, 'request');
    for (const [key, value] of Object.entries(want)) assert.equal(head[key as keyof typeof head], value, key);
  });
}

const bad: readonly (readonly [string, number])[] = [
  [' GET / HTTP/1.1\r\nHost: a\r\n\r\n', 400],
  ['GET  / HTTP/1.1\r\nHost: a\r\n\r\n', 400],
  ['GET / HTTP/1.1 \r\nHost: a\r\n\r\n', 400],
  ['GET /a b HTTP/1.1\r\nHost: a\r\n\r\n', 400],
  ['GET /\x7f HTTP/1.1\r\nHost: a\r\n\r\n', 400],
  ['GET /#f HTTP/1.1\r\nHost: a\r\n\r\n', 400],
  ['GET a HTTP/1.1\r\nHost: a\r\n\r\n', 400],
  ['GET * HTTP/1.1\r\nHost: a\r\n\r\n', 400],
  ['GET ftp://a/ HTTP/1.1\r\nHost: a\r\n\r\n', 400],
  ['GET http://u@a/ HTTP/1.1\r\nHost: a\r\n\r\n', 400],
  ['GET http:/// HTTP/1.1\r\nHost: a\r\n\r\n', 400],
  ['GET / HTTP/1.2x\r\nHost: a\r\n\r\n', 400],
  ['GET / http/1.1\r\nHost: a\r\n\r\n', 400],
  ['GET / HTTP/2.0\r\nHost: a\r\n\r\n', 505],
  ['GET /\r\n\r\n', 400],
  ['G\x00T / HTTP/1.1\r\nHost: a\r\n\r\n', 400],
  ['GET / HTTP/1.1\r\nHost: a\r\n: b\r\n\r\n', 400],
  ['GET / HTTP/1.1\r\nHost: a\r\nb\r\n\r\n', 400],
  ['GET / HTTP/1.1\r\nHost: a\r\nb : c\r\n\r\n', 400],
  ['GET / HTTP/1.1\r\n Host: a\r\n\r\n', 400],
  ['GET / HTTP/1.1\r\nHost: a\r\n\tb: c\r\n\r\n', 400],
  ['GET / HTTP/1.1\r\nHost: a\r\nb: c\x0b\r\n\r\n', 400],
  ['GET / HTTP/1.1\r\nHost: a b\r\n\r\n', 400],
  ['GET / HTTP/1.1\r\nHost: a:b\r\n\r\n', 400],
  ['GET / HTTP/1.1\r\nHost: :80\r\n\r\n', 400],
  ['GET / HTTP/1.1\r\nHost: [::1\r\n\r\n', 400],
  ['GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n', 400],
  ['POST / HTTP/1.1\r\nHost: a\r\nContent-Length:\r\n\r\n', 400],
  ['POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0x1\r\n\r\n', 400],
  ['POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9999999999999999\r\n\r\n', 400],
  ['POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n', 400],
  ['POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n', 501],
  ['POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: \x0bchunked\r\n\r\n', 400],
  ['CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n', 405],
  [`GET / HTTP/1.1\r\nHost: a\r\n${'b: c\r\n'.repeat(20)}\r\n`, 431],
];

for (const [text, status] of bad) {
  test(`l7 parse: ${JSON.stringify(text.slice(0, 80))} is ${status}`, () => {
    const head = request(text);
    assert.equal(head.kind === 'failure' ? head.status : 200, status);
  });
}

const responses: readonly (readonly [string, string, Partial<ResponseHead> | 'failure'])[] = [
  ['HTTP/1.1 200 OK\r\n\r\n', 'GET', { status: 200, body: 'close', keepAlive: false }],
  ['HTTP/1.1 200\r\nContent-Length: 3\r\n\r\n', 'GET', { body: 'length', contentLength: 3, keepAlive: true }],
  ['HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n', 'HEAD', { body: 'none' }],
  ['HTTP/1.1 304 X\r\nContent-Length: 3\r\n\r\n', 'GET', { body: 'none' }],
  ['HTTP/1.1 204 X\r\nTransfer-Encoding: chunked\r\n\r\n', 'GET', { body: 'none' }],
  ['HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n', 'GET', { body: 'chunked' }],
  ['HTTP/1.0 200 OK\r\nContent-Length: 3\r\n\r\n', 'GET', { keepAlive: false }],
  ['HTTP/1.1 200 OK\r\nContent-Length: 3\r\nConnection: close\r\n\r\n', 'GET', { keepAlive: false }],
  ['HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n', 'GET', 'failure'],
  ['HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n', 'GET', 'failure'],
  ['HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\n', 'GET', 'failure'],
  ['HTTP/1.1 2x0 OK\r\n\r\n', 'GET', 'failure'],
  ['HTTP/1.1 099 OK\r\n\r\n', 'GET', 'failure'],
  ['HTTP/2.0 200 OK\r\n\r\n', 'GET', 'failure'],
  ['HTTP/1.1 200 O\x00K\r\n\r\n', 'GET', 'failure'],
  ['HTTP/1.1 200 OK\r\nA : b\r\n\r\n', 'GET', 'failure'],
];

for (const [text, method, want] of responses) {
  test(`l7 parse: answer ${JSON.stringify(text)} to ${method}`, () => {
    const head = response(text, method);
    if (want === 'failure') assert.equal(head.kind, 'failure');
    else
      for (const [key, value] of Object.entries(want))
        assert.equal(head[key as keyof typeof head], value, key);
  });
}

test('l7 parse: hostOf', () => {
  const cases: readonly (readonly [string, string | undefined])[] = [
    ['', ''],
    ['a', 'a'],
    ['A:1', 'a'],
    ['a:', 'a'],
    ['a:1:2', undefined],
    ['[::1]', '[::1]'],
    ['[::1]x', undefined],
    ['a]', undefined],
    ['.', '.'],
  ];
  for (const [authority, host] of cases) assert.equal(hostOf(authority), host, authority);
});

test('l7 parse: a head that is already wrong is found before it ends', () => {
  const check = (text: string): boolean =>
    checkPartialHead(Buffer.from(text, 'latin1'), 0, 0, text.length) !== undefined;
  assert.equal(check('GET / HTTP/1.1\r\nHost'), false);
  assert.equal(check('GET / HTTP/1.1\nHost'), true);
  assert.equal(check('GET \0'), true);
});

test('l7 parse: any bytes either fail or give a head that says the same when written again', () => {
  const piece = fc.constantFrom(
    'GET',
    'POST',
    ' ',
    '/',
    '/a',
    'http://h',
    ' HTTP/1.1',
    ' HTTP/1.0',
    '\r\n',
    '\n',
    '\r',
    'Host',
    ':',
    ' a',
    'Content-Length',
    'Transfer-Encoding',
    'chunked',
    '5',
    ',',
    '\t',
    '\0',
    'Connection: close',
    'X: y',
    '\x80',
  );
  fc.assert(
    fc.property(fc.array(piece, { maxLength: 40 }), (pieces) => {
      const data = Buffer.from(`${pieces.join('')}\r\n\r\n`, 'latin1');
      const end = findHeadEnd(data, 0, data.length);
      const head = parseRequestHead(data, 0, end, lines);
      if (head.kind === 'failure') return;
      const text = data.toString('latin1', 0, end);
      assert.equal(head.text, text);
      assert.ok(!/[\0]|[^\r]\n|\r[^\n]/.test(text), 'no NUL, bare CR or bare LF');
      assert.equal(/^content-length:/im.test(text) && /^transfer-encoding:/im.test(text), false);
      assert.ok((text.match(/^host:/gim) ?? []).length <= 1);
      const again = Buffer.from(head.text, 'latin1');
      assert.deepEqual(parseRequestHead(again, 0, again.length, lines), head);
    }),
    { numRuns: 3000 },
  );
});

test('l7 parse: every well-formed request is read as it was written', () => {
  const token = fc.stringMatching(/^[A-Za-z0-9!#$%&'*+.^_`|~-]{1,12}$/);
  const value = fc.stringMatching(/^[!-~]([ -~]{0,20}[!-~])?$/);
  const names = fc.array(
    fc.tuple(
      token.map((name) => `X-${name}`),
      value,
    ),
    { maxLength: 12 },
  );
  fc.assert(
    fc.property(token, fc.stringMatching(/^\/[!-"$-~]{0,30}$/), names, (method, target, fields) => {
      fc.pre(method !== 'CONNECT');
      const block = fields.map(([name, text]) => `${name}:  ${text} \r\n`).join('');
      const head = request(`${method} ${target} HTTP/1.1\r\nHost: example\r\n${block}\r\n`);
      assert.ok(head.kind === 'request');
      assert.equal(head.method, method);
      assert.equal(head.target, target);
      assert.equal(lines.count, fields.length + 1);
      for (const [index, [name, text]] of fields.entries()) {
        const line = index + 1;
        assert.equal(head.text.slice(lines.lineStarts[line], lines.nameEnds[line]), name);
        assert.equal(head.text.slice(lines.valueStarts[line], lines.valueEnds[line]), text);
      }
    }),
  );
});

test('l7 http1: a later minor version is passed on as the one that we speak', () => {
  const request = Buffer.from('GET /a HTTP/1.2\r\nHost: x\r\n\r\n');
  const head = parseRequestHead(request, 0, request.length, new FieldLines(10));
  assert.ok(head.kind === 'request');
  assert.equal(head.text, 'GET /a HTTP/1.1\r\nHost: x\r\n\r\n');
  const response = Buffer.from('HTTP/1.9 200 OK\r\nContent-Length: 0\r\n\r\n');
  const answer = parseResponseHead(response, 0, response.length, 'GET', new FieldLines(10));
  assert.ok(answer.kind === 'response');
  assert.equal(answer.text, 'HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n');
});

test('l7 http1: a malformed Host is refused though the target names the host', () => {
  const bytes = Buffer.from('GET http://shop.example/x HTTP/1.1\r\nHost: s host\r\n\r\n');
  const head = parseRequestHead(bytes, 0, bytes.length, new FieldLines(10));
  assert.ok(head.kind === 'failure' && head.status === 400);
});

test('the end of a head is found wherever its four bytes lie, and what precedes `from` or follows `end` does not count', () => {
  const letters = ['\r', '\n', 'a'];
  let texts = [''];
  for (let length = 1; length <= 7; length += 1) {
    texts = texts.flatMap((text) => letters.map((letter) => text + letter));
    for (const text of texts) {
      const data = Buffer.from(`\r\n${text}\r\n`, 'latin1');
      const at = data.indexOf('\r\n\r\n', 1);
      const end = data.length - 1;
      assert.equal(findHeadEnd(data, 1, end), at === -1 || at + 4 > end ? -1 : at + 4, JSON.stringify(text));
    }
  }
});
