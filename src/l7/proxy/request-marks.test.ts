import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { ClientFacts } from './headers.ts';
import { FieldLines } from '../http1/http1-fields.ts';
import { parseRequestHead } from '../http1/http1-parse.ts';
import { type MarkingOptions, parseTraceparent, RequestMarker } from './request-marks.ts';

const traceId = '0af7651916cd43dd8448eb211c80319c';
const parent = `00-${traceId}-b7ad6b7169203331`;

const parents: readonly (readonly [string, ReturnType<typeof parseTraceparent>])[] = [
  [`${parent}-01`, { traceId, sampled: true }],
  [`${parent}-00`, { traceId, sampled: false }],
  [`${parent}-03`, { traceId, sampled: true }],
  [`cc${parent.slice(2)}-01-what-the-future-will-be-like`, { traceId, sampled: true }],
  [`${parent}-01-more`, undefined],
  [`ff${parent.slice(2)}-01`, undefined],
  [`00-${'0'.repeat(32)}-b7ad6b7169203331-01`, undefined],
  [`00-${traceId}-${'0'.repeat(16)}-01`, undefined],
  [`00-${traceId.toUpperCase()}-b7ad6b7169203331-01`, undefined],
  [`${parent}`, undefined],
  ['', undefined],
];

for (const [value, want] of parents) {
  test(`l7 marks: traceparent "${value}"`, () => assert.deepEqual(parseTraceparent(value), want));
}

const all: MarkingOptions = { startsTraces: true, sampledShare: 1, setsRequestId: true };
const stranger: ClientFacts = { address: '192.0.2.7', scheme: 'http', trusted: false };

function marked(fields: readonly string[], options = all, client = stranger) {
  let drawn = 0;
  const marker = new RequestMarker(options, (bytes) => {
    drawn += 1;
    return String(drawn % 10).repeat(bytes * 2);
  });
  const data = Buffer.from(['GET / HTTP/1.1', 'Host: a', ...fields, '', ''].join('\r\n'), 'latin1');
  const lines = new FieldLines(20);
  const head = parseRequestHead(data, 0, data.length, lines);
  assert.ok(head.kind === 'request');
  const marks = marker.mark(head, lines, client, head.text);
  return { ...marks, fields: marks.head.trimEnd().split('\r\n').slice(2) };
}

test('l7 marks: a valid trace goes on untouched, with its state', () => {
  const fields = [`traceparent: ${parent}-01`, 'tracestate: a=b'];
  const { traceSampled, ...marks } = marked(fields, { ...all, setsRequestId: false });
  assert.deepEqual(marks.fields, fields);
  assert.equal(marks.traceId, traceId);
  assert.equal(traceSampled, true);
});

test('l7 marks: a request without a valid trace begins one, and a stray state is dropped', () => {
  for (const fields of [
    [],
    ['traceparent: x', 'tracestate: a=b'],
    [`traceparent: ${parent}-01`, `TraceParent: ${parent}-00`],
  ]) {
    const marks = marked(fields, { ...all, setsRequestId: false });
    assert.deepEqual(marks.fields, [`traceparent: 00-${'1'.repeat(32)}-${'2'.repeat(16)}-01`]);
    assert.equal(marks.traceId, '1'.repeat(32));
    assert.equal(marks.traceSampled, false, 'it did not come sampled');
  }
});

test('l7 marks: without --trace-context nothing begins, and only what came is told', () => {
  const quiet = { ...all, startsTraces: false, setsRequestId: false };
  assert.deepEqual(marked([], quiet).fields, []);
  assert.equal(marked([`traceparent: ${parent}-00`], quiet).traceId, traceId);
});

test('l7 marks: a request id is believed of a trusted proxy only', () => {
  const options = { ...all, startsTraces: false };
  assert.deepEqual(marked(['X-Request-ID: mine'], options).fields, [`X-Request-ID: ${'1'.repeat(32)}`]);
  const trusted = marked(['X-Request-ID: mine'], options, { ...stranger, trusted: true });
  assert.deepEqual(trusted.fields, ['X-Request-ID: mine']);
  assert.equal(trusted.requestId, 'mine');
});
