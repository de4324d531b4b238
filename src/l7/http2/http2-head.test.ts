import assert from 'node:assert/strict';
import { test } from 'node:test';
import { HeaderList, HpackDecoder } from './hpack-decode.ts';
import { HpackEncoder } from './hpack-encode.ts';
import { HeaderField } from './hpack-table.ts';
import { renderUpstreamRequest } from '../proxy/headers.ts';
import { FieldLines } from '../http1/http1-fields.ts';
import type { RequestHead, ResponseHead } from '../http1/http1-parse.ts';
import { OutputBuffer } from './http2-frame.ts';
import { requestOf, responseOf, trailersOf } from './http2-head.ts';
import { writeRequest, writeResponse } from './http2-write.ts';

function list(...fields: readonly (readonly [string, string])[]): HeaderList {
  const made = new HeaderList(10_000, 200);
  for (const [name, value] of fields) made.add(new HeaderField(name, value));
  return made;
}

const get = (...more: readonly (readonly [string, string])[]): HeaderList =>
  list(
    [':method', 'GET'],
    [':scheme', 'https'],
    [':authority', 'Web.example:8443'],
    [':path', '/a?b'],
    ...more,
  );

function read(fields: HeaderList, ended = true): RequestHead {
  const head = requestOf(fields, ended, new FieldLines(100));
  assert.equal(head.kind, 'request', JSON.stringify(head));
  return head as RequestHead;
}

function decoded(write: (encoder: HpackEncoder, out: OutputBuffer) => void): string[] {
  const out = new OutputBuffer();
  write(new HpackEncoder(), out);
  const block = out.take()!;
  const fields = new HeaderList(10_000, 200);
  assert.ok(new HpackDecoder().decode(block, 0, block.length, fields));
  return fields.fields.map(({ name, value, neverIndexed }) => `${name}: ${value}${neverIndexed ? ' !' : ''}`);
}

test('http2 heads: a request reads as if it had come by HTTP/1.1', () => {
  const head = read(get(['accept', '*/*'], ['x-b', '']));
  assert.equal(head.text, 'GET /a?b HTTP/1.1\r\nHost: Web.example:8443\r\naccept: */*\r\nx-b: \r\n\r\n');
  assert.deepEqual([head.host, head.path, head.body, head.keepAlive], ['web.example', '/a', 'none', true]);
});

test('http2 heads: cookies that came in pieces are one field', () => {
  const head = read(get(['cookie', 'a=1'], ['x', 'y'], ['cookie', 'b=2']));
  assert.ok(head.text.includes('\r\nx: y\r\ncookie: a=1; b=2\r\n\r\n'));
});

test('http2 heads: a body whose length is not told is chunked, one that is told is not', () => {
  const post = (...more: readonly (readonly [string, string])[]): HeaderList =>
    list([':method', 'POST'], [':scheme', 'http'], [':authority', 'a'], [':path', '/'], ...more);
  assert.equal(read(post(), false).body, 'chunked');
  assert.ok(read(post(), false).text.includes('Transfer-Encoding: chunked\r\n'));
  assert.equal(read(post(['content-length', '7']), false).body, 'length');
  assert.ok(read(post()).text.includes('Content-Length: 0\r\n'));
});

test('http2 heads: extended CONNECT for WebSocket asks the backend for an upgrade', () => {
  const head = read(
    list(
      [':method', 'CONNECT'],
      [':protocol', 'websocket'],
      [':scheme', 'https'],
      [':authority', 'a'],
      [':path', '/ws'],
    ),
    false,
  );
  assert.equal(head.upgrade, 'websocket');
  assert.equal(head.body, 'none');
  assert.match(
    head.text,
    /^GET \/ws HTTP\/1\.1\r\nHost: a\r\nUpgrade: websocket\r\nSec-WebSocket-Key: [A-Za-z0-9+/]{22}==\r\n\r\n$/,
  );
});

test('http2 heads: a request goes from client to backend with what gRPC and never-indexed fields need', () => {
  const fields = list(
    [':method', 'POST'],
    [':scheme', 'http'],
    [':authority', 'a'],
    [':path', '/s.S/M'],
    ['te', 'trailers'],
  );
  fields.add(new HeaderField('content-type', 'application/grpc+proto'));
  fields.add(new HeaderField('grpc-timeout', '1500m'));
  fields.add(new HeaderField('x-token', 'secret', true));
  const lines = new FieldLines(100);
  const head = requestOf(fields, false, lines);
  assert.ok(head.kind === 'request');
  assert.equal(head.http2?.grpc?.timeoutMs, 1500);
  const text = renderUpstreamRequest(head, lines, { address: '192.0.2.1', scheme: 'http', trusted: false });
  assert.deepEqual(
    decoded((encoder, out) => writeRequest(encoder, out, text, 'http', head.http2)),
    [
      ':method: POST',
      ':scheme: http',
      ':authority: a',
      ':path: /s.S/M',
      'content-type: application/grpc+proto',
      'grpc-timeout: 1500m',
      'x-token: secret !',
      'x-forwarded-for: 192.0.2.1',
      'x-forwarded-host: a',
      'x-forwarded-port: 80',
      'x-forwarded-proto: http',
      'x-real-ip: 192.0.2.1',
      'te: trailers',
    ],
  );
});

test('http2 heads: an answer of HTTP/1.1 leaves its framing and connection behind', () => {
  const text =
    'HTTP/1.1 404 Gone Fishing\r\nDate: x\r\nTransfer-Encoding: chunked\r\nConnection: close\r\nKeep-Alive: 5\r\nX-A:b\r\n\r\n';
  assert.deepEqual(
    decoded((encoder, out) => writeResponse(encoder, out, text, 404)),
    [':status: 404', 'date: x', 'x-a: b'],
  );
});

test('http2 heads: an answer of HTTP/2 gets the framing that its client needs', () => {
  const answer = (
    ended: boolean,
    method: string,
    minorVersion: 0 | 1,
    ...fields: [string, string][]
  ): ResponseHead => {
    const head = responseOf(
      list([':status', '200'], ...fields),
      ended,
      { method, minorVersion },
      new FieldLines(100),
    );
    assert.equal(head.kind, 'response');
    return head as ResponseHead;
  };
  assert.equal(answer(false, 'GET', 1).text, 'HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n');
  assert.equal(answer(false, 'GET', 0).body, 'close');
  assert.equal(answer(true, 'GET', 1).text, 'HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n');
  assert.equal(answer(true, 'HEAD', 1).text, 'HTTP/1.1 200 OK\r\n\r\n');
  assert.equal(answer(false, 'GET', 1, ['content-length', '3']).body, 'length');
});

test('http2 heads: answers that no client should see', () => {
  const bad = (...fields: [string, string][]): string =>
    responseOf(list(...fields), true, { method: 'GET', minorVersion: 1 }, new FieldLines(100)).kind;
  assert.equal(bad([':status', '101']), 'malformed');
  assert.equal(bad([':status', '20']), 'malformed');
  assert.equal(bad(['x', 'y']), 'malformed');
  assert.equal(bad([':status', '200'], [':status', '200']), 'malformed');
  assert.equal(bad([':status', '200'], ['connection', 'close']), 'malformed');
  assert.equal(bad([':status', '200'], ['x', 'a\r\nset-cookie: b']), 'malformed');
  assert.equal(bad([':status', '200'], ['content-length', '1'], ['content-length', '1']), 'malformed');
});

test('http2 heads: an answer that has no body has no length, whatever its content-length', () => {
  for (const status of ['204', '304']) {
    const fields = list([':status', status], ['content-length', '5']);
    const head = responseOf(fields, false, { method: 'GET', minorVersion: 1 }, new FieldLines(100));
    assert.deepEqual(head.kind === 'response' && [head.body, head.contentLength], ['none', 0], status);
  }
});

test('http2 heads: trailers are lines, without what frames a message', () => {
  assert.equal(
    trailersOf(list(['grpc-status', '0'], ['grpc-message', ''])),
    'grpc-status: 0\r\ngrpc-message: \r\n',
  );
  assert.notEqual(typeof trailersOf(list(['content-length', '3'])), 'string');
  assert.notEqual(typeof trailersOf(list([':status', '200'])), 'string');
});
