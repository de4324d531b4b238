import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type ClientFacts, renderClientResponse, renderUpstreamRequest } from './headers.ts';
import { FieldLines } from '../http1/http1-fields.ts';
import { parseRequestHead, parseResponseHead } from '../http1/http1-parse.ts';

const lines = new FieldLines(50);
const stranger = { address: '192.0.2.7', scheme: 'http', trusted: false } as const;
const forwarded = (host: string, port = '80'): string[] => [
  'X-Forwarded-For: 192.0.2.7',
  `X-Forwarded-Host: ${host}`,
  `X-Forwarded-Port: ${port}`,
  'X-Forwarded-Proto: http',
  'X-Real-IP: 192.0.2.7',
];

function upstream(head: readonly string[], client: ClientFacts = { ...stranger }): string[] {
  const data = Buffer.from(`${head.join('\r\n')}\r\n\r\n`, 'latin1');
  const parsed = parseRequestHead(data, 0, data.length, lines);
  assert.ok(parsed.kind === 'request');
  const text = renderUpstreamRequest(parsed, lines, client);
  assert.ok(text.endsWith('\r\n\r\n'));
  return text.slice(0, -4).split('\r\n');
}

function downstream(
  head: readonly string[],
  after: 'keep-alive' | 'close' | 'upgrade' = 'keep-alive',
  minorVersion: 0 | 1 = 1,
): string[] {
  const data = Buffer.from(`${head.join('\r\n')}\r\n\r\n`, 'latin1');
  const parsed = parseResponseHead(data, 0, data.length, 'GET', lines);
  assert.ok(parsed.kind === 'response');
  const text = renderClientResponse(parsed, lines, after, minorVersion, () => today);
  assert.ok(text.endsWith('\r\n\r\n'));
  return text.slice(0, -4).split('\r\n');
}

const today = 'Fri, 27 Nov 2026 14:00:00 GMT';

test('l7 headers: ordinary fields pass as written, in their order', () => {
  const head = ['GET /x HTTP/1.1', 'Host: a', 'uSER-agent:  x ', 'Cookie: a=b', 'Cookie: c=d'];
  assert.deepEqual(upstream(head), [...head, ...forwarded('a')]);
});

test('l7 headers: what is for one hop ends here', () => {
  const head = [
    'GET / HTTP/1.1',
    'Connection: keep-alive, X-Private, Host',
    'Host: a',
    'Keep-Alive: 5',
    'X-Private: 1',
    'TE: trailers',
    'Accept: */*',
    'Proxy-Connection: x',
    'Proxy: evil',
    'Upgrade: h2c',
    'HTTP2-Settings: x',
  ];
  assert.deepEqual(upstream(head), ['GET / HTTP/1.1', 'Host: a', 'Accept: */*', ...forwarded('a')]);
});

test('l7 headers: a stranger cannot set where he comes from', () => {
  const head = [
    'GET / HTTP/1.1',
    'Host: a:8080',
    'X-Forwarded-For: 1.1.1.1',
    'x_forwarded_for: 1.1.1.1',
    'X-Forwarded-Prefix: /admin',
    'X-Real-Ip: 1.1.1.1',
    'X-Forwarded-Proto: https',
  ];
  assert.deepEqual(upstream(head), ['GET / HTTP/1.1', 'Host: a:8080', ...forwarded('a:8080', '8080')]);
});

test('l7 headers: a trusted proxy is believed and joined to the list', () => {
  const head = [
    'GET / HTTP/1.1',
    'Host: a',
    'X-Forwarded-For: 1.1.1.1',
    'X-Forwarded-For: 2.2.2.2',
    'X-Forwarded-Proto: https',
    'X-Forwarded-Host: shop',
    'X-Forwarded-Port: 443',
    'X-Forwarded-Prefix: /p',
  ];
  assert.deepEqual(upstream(head, { ...stranger, trusted: true }), [
    'GET / HTTP/1.1',
    'Host: a',
    'X-Forwarded-Prefix: /p',
    'X-Forwarded-For: 1.1.1.1, 2.2.2.2, 192.0.2.7',
    'X-Forwarded-Host: shop',
    'X-Forwarded-Port: 443',
    'X-Forwarded-Proto: https',
    'X-Real-IP: 192.0.2.7',
  ]);
});

test('l7 headers: absolute-form becomes origin-form with its own Host', () => {
  assert.deepEqual(upstream(['GET http://b/x HTTP/1.1', 'Host: a', 'A: b']), [
    'GET /x HTTP/1.1',
    'Host: b',
    'A: b',
    ...forwarded('b'),
  ]);
});

test('l7 headers: HTTP/1.0 goes on as such, an upgrade asks for itself', () => {
  assert.deepEqual(upstream(['GET / HTTP/1.0', 'Connection: keep-alive']), [
    'GET / HTTP/1.0',
    'Connection: close',
    ...forwarded(''),
  ]);
  assert.deepEqual(upstream(['GET / HTTP/1.1', 'Host: a', 'Connection: Upgrade', 'Upgrade: websocket']), [
    'GET / HTTP/1.1',
    'Host: a',
    'Upgrade: websocket',
    'Connection: Upgrade',
    ...forwarded('a'),
  ]);
});

test('l7 headers: answers lose what was for our hop and say what becomes of theirs', () => {
  const head = [
    'HTTP/1.0 200 Fine',
    'Connection: close, X-Hop',
    'X-Hop: 1',
    'A: b',
    'Keep-Alive: 3',
    'Content-Length: 0',
  ];
  assert.deepEqual(downstream(head), ['HTTP/1.1 200 Fine', 'A: b', 'Content-Length: 0', `Date: ${today}`]);
  assert.deepEqual(downstream(head, 'close').at(-1), 'Connection: close');
  assert.deepEqual(downstream(head, 'keep-alive', 0).at(-1), 'Connection: keep-alive');
  assert.deepEqual(downstream(['HTTP/1.1 204 X', 'date: Then', 'Transfer-Encoding: chunked']), [
    'HTTP/1.1 204 X',
    'date: Then',
  ]);
  assert.deepEqual(downstream(['HTTP/1.1 101 Switch', 'Connection: upgrade', 'Upgrade: ws'], 'upgrade'), [
    'HTTP/1.1 101 Switch',
    'Upgrade: ws',
    'Connection: Upgrade',
  ]);
});

test("l7 headers: Forwarded is written by RFC 7239 when asked for, and a stranger's is dropped", () => {
  const head = ['GET / HTTP/1.1', 'Host: a:8080', 'Forwarded: for=evil', 'X-Forwarded-For: evil'];
  const plain = head.slice(0, 2);
  assert.deepEqual(upstream(head), [...plain, ...forwarded('a:8080', '8080')]);
  assert.deepEqual(upstream(head, { ...stranger, forwarded: 'rfc7239' }), [
    ...plain,
    'Forwarded: for=192.0.2.7;host="a:8080";proto=http',
  ]);
  assert.deepEqual(upstream(head, { ...stranger, forwarded: 'both' }), [
    ...plain,
    'Forwarded: for=192.0.2.7;host="a:8080";proto=http',
    ...forwarded('a:8080', '8080'),
  ]);
  const proxy: ClientFacts = { address: '2001:db8::1', scheme: 'https', trusted: true, forwarded: 'rfc7239' };
  assert.deepEqual(upstream(['GET / HTTP/1.1', 'Host: a', 'Forwarded: for=192.0.2.9'], proxy), [
    'GET / HTTP/1.1',
    'Host: a',
    'Forwarded: for=192.0.2.9, for="[2001:db8::1]";host=a;proto=https',
  ]);
  const quiet = upstream(['GET / HTTP/1.1', 'Host: a', 'Forwarded: for=192.0.2.9'], {
    ...proxy,
    forwarded: 'x',
  });
  assert.ok(quiet.includes('Forwarded: for=192.0.2.9'));
});

test('l7 headers: a client that names another authority than before is told of by that one', () => {
  const client = { ...stranger };
  for (const host of ['a', 'a:8080', 'a']) {
    const head = ['GET / HTTP/1.1', `Host: ${host}`];
    assert.deepEqual(upstream(head, client), [...head, ...forwarded(host, host === 'a' ? '80' : '8080')]);
  }
});

test('l7 headers: a proxy that is believed by Forwarded passes on no X-Forwarded-… of its client', () => {
  const proxy: ClientFacts = { address: '10.0.0.1', scheme: 'http', trusted: true, believes: 'rfc7239' };
  const head = [
    'GET / HTTP/1.1',
    'Host: a',
    'X-Forwarded-For: 9.9.9.9',
    'X-Real-IP: 9.9.9.9',
    'X-Forwarded-Server: x',
  ];
  const told = 'Forwarded: for=1.1.1.1;host=evil, for="[2001:db8::7]:99";host=shop.example;proto=https';
  const first = ['GET / HTTP/1.1', 'Host: a'];
  const byX = [
    'X-Forwarded-For: 1.1.1.1, 2001:db8::7, 10.0.0.1',
    'X-Forwarded-Host: shop.example',
    'X-Forwarded-Port: 443',
    'X-Forwarded-Proto: https',
    'X-Real-IP: 2001:db8::7',
  ];
  assert.deepEqual(upstream([...head, told], proxy), [...first, ...byX]);
  const both = upstream([...head, told], { ...proxy, forwarded: 'both' });
  assert.deepEqual(both, [...first, `${told}, for=10.0.0.1;host=a;proto=http`, ...byX]);
  const unreadable = upstream([...head, 'Forwarded: for=1.1.1.1 evil'], { ...proxy, forwarded: 'rfc7239' });
  assert.deepEqual(unreadable, [...first, 'Forwarded: for=10.0.0.1;host=a;proto=http']);
});
