/**
 * HTTP/2 with bytes that nobody meant: a corpus and its mutations, and any fields as a head. Whatever the session lets through must read
 * the same by the strict reader of HTTP/1.1, for that is what a backend reads. FUZZ_RUNS sets how many.
 */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import fc from 'fast-check';
import { preface, settings } from '../../../test/support/http2-frames.ts';
import { HeaderList } from './hpack-decode.ts';
import { HeaderField } from './hpack-table.ts';
import { FieldLines } from '../http1/http1-fields.ts';
import { parseRequestHead, parseResponseHead, type RequestHead } from '../http1/http1-parse.ts';
import { PROTOCOL_ERROR } from './http2-frame.ts';
import { requestOf, responseOf, trailersOf } from './http2-head.ts';
import { Http2Session, type SessionHandler } from './http2-session.ts';
import type { Http2Stream } from './http2-stream.ts';
import { defaultLimits, http2Options } from '../proxy/limits.ts';

const numRuns = Number(process.env['FUZZ_RUNS'] ?? 300);
const corpus = readFileSync(join(import.meta.dirname, '../../../test/corpus/http2/frames.txt'), 'utf8')
  .split('\n')
  .filter((line) => line !== '' && !line.startsWith('#'))
  .map((line) => {
    const [kind = '', name = '', hex = ''] = line.split('\t');
    const bytes = Buffer.from(hex, 'hex');
    return { name, bytes: kind === 'raw' ? bytes : Buffer.concat([preface, settings(), bytes]) };
  });

/** Notes what is let through, and answers nothing. */
class Listener implements SessionHandler {
  readonly session = new Http2Session(http2Options(defaultLimits, 'server'), this);
  readonly told: string[] = [];

  onRequest(stream: Http2Stream, fields: HeaderList, ended: boolean): void {
    const lines = new FieldLines(100);
    const head = requestOf(fields, ended, lines);
    if (head.kind === 'malformed') {
      this.session.refuse(stream, PROTOCOL_ERROR);
      return;
    }
    if (head.kind === 'request') checkReadAlike(head, lines);
    this.told.push(
      head.kind === 'request' ? `${stream.id} ${head.method} ${head.target}` : `${stream.id} refused`,
    );
    stream.handler = {
      onHead: () => {},
      onBody: (_, start, end) => this.session.credit(stream, end - start),
      onTrailers: (list) => {
        const trailers = trailersOf(list);
        if (typeof trailers !== 'string') this.session.refuse(stream, PROTOCOL_ERROR);
        else assert.match(trailers, /^([!#$%&'*+.^_`|~0-9a-z-]+: [^\r\n\0]*\r\n)*$/);
      },
      onEnd: () => this.told.push(`${stream.id} ended`),
      onDrain: () => {},
      onReset: () => this.told.push(`${stream.id} reset`),
    };
  }

  onGoaway(): void {}
  onSettings(): void {}
  onPong(): void {}
  onStreamClosed(): void {}

  onFailure(code: number): void {
    this.told.push(`failed ${code}`);
  }

  read(bytes: Buffer, pieces: number): readonly string[] {
    for (let at = 0; at < bytes.length; at += pieces)
      this.session.receive(Buffer.from(bytes.subarray(at, at + pieces)), 1); // it may be changed
    assert.ok(this.session.streams.size <= defaultLimits.http2StreamsMax);
    return this.told;
  }
}

/** The head that a backend is sent says the same to whoever reads it as HTTP/1.1. */
function checkReadAlike(head: RequestHead, lines: FieldLines): void {
  const bytes = Buffer.from(head.text, 'latin1');
  const again = new FieldLines(100);
  const read = parseRequestHead(bytes, 0, bytes.length, again);
  assert.ok(read.kind === 'request', `${JSON.stringify(read)} of ${JSON.stringify(head.text)}`);
  assert.deepEqual(
    [read.method, read.target, read.host, read.body, read.contentLength, again.count],
    [head.method, head.target, head.host, head.body, head.contentLength, lines.count],
  );
  for (let i = 0; i < again.count; i += 1) {
    assert.deepEqual(
      [again.fields[i], again.lineStarts[i], again.nameEnds[i], again.valueEnds[i]],
      [lines.fields[i], lines.lineStarts[i], lines.nameEnds[i], lines.valueEnds[i]],
    );
  }
}

for (const { name, bytes } of corpus) {
  test(`http2 fuzz: ${name} is read alike in whatever pieces`, () => {
    const whole = new Listener().read(bytes, bytes.length);
    for (const pieces of [1, 2, 7, 50]) assert.deepEqual(new Listener().read(bytes, pieces), whole);
  });
}

test('http2 fuzz: mutations of the corpus', () => {
  const change = fc.record({
    at: fc.nat(700),
    byte: fc.nat(255),
    kind: fc.constantFrom('set', 'cut', 'add', 'join'),
  });
  fc.assert(
    fc.property(
      fc.constantFrom(...corpus),
      fc.constantFrom(...corpus),
      fc.array(change, { maxLength: 6 }),
      (one, other, changes) => {
        let bytes = one.bytes;
        for (const { at, byte, kind } of changes) {
          const place = bytes.length === 0 ? 0 : at % bytes.length;
          if (kind === 'cut') bytes = Buffer.concat([bytes.subarray(0, place), bytes.subarray(place + 1)]);
          else if (kind === 'add')
            bytes = Buffer.concat([bytes.subarray(0, place), Buffer.from([byte]), bytes.subarray(place)]);
          else if (kind === 'join') bytes = Buffer.concat([bytes, other.bytes.subarray(preface.length)]);
          else {
            bytes = Buffer.from(bytes);
            bytes[place] = byte;
          }
        }
        assert.deepEqual(new Listener().read(bytes, 5), new Listener().read(bytes, bytes.length + 1));
      },
    ),
    { numRuns },
  );
});

const wicked = fc.constantFrom(
  '\r\n',
  '\n',
  '\0',
  ' ',
  '\t',
  ':',
  ',',
  '/',
  '#',
  '?',
  '@',
  'a',
  'Z',
  '9',
  '*',
  '\x7f',
  '\xe9',
);
const anyText = fc
  .array(fc.oneof(wicked, fc.constantFrom('chunked', 'close', 'web.example', 'HTTP/1.1', '5')), {
    maxLength: 4,
  })
  .map((parts) => parts.join(''));
const anyName = fc.oneof(
  fc.constantFrom(
    'host',
    'connection',
    'transfer-encoding',
    'content-length',
    'te',
    'cookie',
    'upgrade',
    'expect',
    'x-forwarded-for',
    'keep-alive',
  ),
  fc.constantFrom(':method', ':path', ':scheme', ':authority', ':protocol', ':status'),
  anyText,
);

function listOf(fields: readonly (readonly [string, string])[]): HeaderList {
  const list = new HeaderList(1 << 16, 200);
  for (const [name, value] of fields) list.add(new HeaderField(name, value));
  return list;
}

test('http2 fuzz: no head that is let through is two heads to a reader of HTTP/1.1', () => {
  const right: readonly (readonly [string, string])[] = [
    [':method', 'POST'],
    [':scheme', 'http'],
    [':path', '/'],
    [':authority', 'web.example'],
  ];
  const field = fc.tuple(
    anyName,
    fc.oneof(anyText, fc.constantFrom('web.example', 'trailers', '100-continue', '3')),
  );
  const replaced = fc.tuple(fc.nat(3), anyText);
  fc.assert(
    fc.property(
      fc.array(field, { maxLength: 5 }),
      fc.option(replaced),
      fc.boolean(),
      (more, change, ended) => {
        const first = right.map(
          ([name, value], index) => [name, change?.[0] === index ? change[1] : value] as const,
        );
        const lines = new FieldLines(100);
        const head = requestOf(listOf([...first, ...more]), ended, lines);
        if (head.kind === 'request') checkReadAlike(head, lines);
      },
    ),
    { numRuns: 10 * numRuns },
  );
});

test('http2 fuzz: no answer that is let through is two answers to a reader of HTTP/1.1', () => {
  const field = fc.tuple(anyName, anyText);
  fc.assert(
    fc.property(
      fc.constantFrom('200', '204', '304', '101', '2 0', '999'),
      fc.array(field, { maxLength: 5 }),
      fc.boolean(),
      (status, more, ended) => {
        const lines = new FieldLines(100);
        const head = responseOf(
          listOf([[':status', status], ...more]),
          ended,
          { method: 'GET', minorVersion: 1 },
          lines,
        );
        if (head.kind !== 'response') return;
        const bytes = Buffer.from(head.text, 'latin1');
        const again = new FieldLines(100);
        const read = parseResponseHead(bytes, 0, bytes.length, 'GET', again);
        assert.ok(read.kind === 'response', JSON.stringify(head.text));
        assert.deepEqual(
          [read.status, again.count, again.linesEnd],
          [head.status, lines.count, lines.linesEnd],
        );
        if (!ended) assert.deepEqual([read.body, read.contentLength], [head.body, head.contentLength]);
      },
    ),
    { numRuns: 10 * numRuns },
  );
});
