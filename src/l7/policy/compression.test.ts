import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  chooseCoding,
  type Coding,
  compressionDefaults,
  isCompressible,
  renderCodedHead,
} from './compression.ts';
import { FieldLines } from '../http1/http1-fields.ts';
import { parseResponseHead } from '../http1/http1-parse.ts';

const all: readonly Coding[] = ['zstd', 'br', 'gzip'];

const accepted: readonly (readonly [string, Coding | undefined])[] = [
  ['', undefined],
  ['gzip', 'gzip'],
  ['x-gzip', 'gzip'],
  ['gzip, deflate, br', 'br'],
  ['GZIP;q=1.0, br;q=0.5', 'gzip'],
  ['gzip;q=0', undefined],
  ['*', 'zstd'],
  ['*;q=0.5, zstd;q=0', 'br'],
  ['identity, gzip;q=0.5', undefined],
  ['identity;q=0.5, gzip', 'gzip'],
  ['identity;q=0, gzip;q=0.1', 'gzip'],
  ['deflate', undefined],
  ['gzip;q=nonsense', undefined],
  ['gzip ; q=0.8 , br;q=0.8', 'br'],
];

for (const [value, want] of accepted) {
  test(`l7 compression: Accept-Encoding "${value}"`, () => assert.equal(chooseCoding(all, value), want));
}

const policy = { codings: all, ...compressionDefaults };

function compressible(fields: readonly string[], status = 200, method = 'GET'): boolean {
  const data = Buffer.from([`HTTP/1.1 ${status} X`, ...fields, '', ''].join('\r\n'), 'latin1');
  const lines = new FieldLines(20);
  const head = parseResponseHead(data, 0, data.length, method, lines);
  assert.ok(head.kind === 'response');
  return isCompressible(policy, head, lines);
}

const json = 'Content-Type: application/json; charset=utf-8';
const answers: readonly (readonly [string, readonly string[], boolean, number?, string?])[] = [
  ['JSON of unknown length', [json, 'Transfer-Encoding: chunked'], true],
  ['a long text', ['Content-Type: text/html', 'Content-Length: 5000'], true],
  ['a failure that is long', [json, 'Content-Length: 5000'], true, 500],
  ['a short one', [json, 'Content-Length: 1023'], false],
  ['an image', ['Content-Type: image/png', 'Content-Length: 5000'], false],
  ['something without a type', ['Content-Length: 5000'], false],
  ['what is coded already', [json, 'Content-Length: 5000', 'Content-Encoding: br'], false],
  ['what is called identity', [json, 'Content-Length: 5000', 'Content-Encoding: identity'], true],
  [
    'what must not be transformed',
    [json, 'Content-Length: 5000', 'Cache-Control: public, no-transform'],
    false,
  ],
  ['a part', [json, 'Content-Length: 5000', 'Content-Range: bytes 0-4999/9000'], false, 206],
  [
    'an answer with a digest of its bytes',
    [json, 'Content-Length: 5000', 'Content-Digest: sha-256=:x:'],
    false,
  ],
  ['an answer to HEAD', [json, 'Content-Length: 5000'], false, 200, 'HEAD'],
  ['Not Modified', [json], false, 304],
  ['No Content', [json], false, 204],
];

for (const [name, fields, want, status, method] of answers) {
  test(`l7 compression: ${name} is ${want ? '' : 'not '}coded`, () => {
    assert.equal(compressible(fields, status, method), want);
  });
}

const head = [
  'HTTP/1.1 200 OK',
  'Content-Length: 9',
  'ETag: "v1"',
  'Accept-Ranges: bytes',
  'Vary: Origin',
  '',
  '',
].join('\r\n');

test('l7 compression: a coded answer tells its coding, no length, and an ETag that is weak', () => {
  assert.deepEqual(renderCodedHead(head, 'br', true).split('\r\n'), [
    'HTTP/1.1 200 OK',
    'ETag: W/"v1"',
    'Vary: Origin',
    'Vary: Accept-Encoding',
    'Content-Encoding: br',
    'Transfer-Encoding: chunked',
    '',
    '',
  ]);
  const weak = head.replace('"v1"', 'W/"v1"');
  assert.match(renderCodedHead(weak, 'gzip', false), /\r\nETag: W\/"v1"\r\n/);
  assert.doesNotMatch(renderCodedHead(weak, 'gzip', false), /Transfer-Encoding/);
});

test('l7 compression: an answer that goes plain differs only in Vary, once', () => {
  const plain = renderCodedHead(head, undefined, true);
  assert.equal(plain, head.replace('Vary: Origin\r\n', 'Vary: Origin\r\nVary: Accept-Encoding\r\n'));
  assert.equal(renderCodedHead(plain, undefined, true), plain);
  const any = head.replace('Origin', '*');
  assert.equal(renderCodedHead(any, undefined, true), any);
});
