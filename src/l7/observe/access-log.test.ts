import assert from 'node:assert/strict';
import { test } from 'node:test';
import { FakeClock, settle } from '../../../test/support/fake-clock.ts';
import { AccessLog, accessLogBytesMax, type LineSink } from './access-log.ts';
import { piecesOf } from './access-log-sink.ts';
import type { AccessRecord } from '../proxy/context.ts';

const record: AccessRecord = {
  clientAddress: '192.0.2.7',
  scheme: 'http',
  protocol: 'HTTP/1.1',
  method: 'GET',
  host: 'shop.example',
  target: '/cart',
  status: 200,
  durationMs: 1.5,
  connectMs: 0.25,
  firstByteMs: 1.25,
  receivedBytes: 0,
  sentBytes: 512,
  backend: 'default/shop:80',
  endpoint: '10.42.0.5:8080',
  attempts: 1,
  traceId: '',
  traceSampled: false,
  requestId: '',
  tlsVersion: '',
  serverName: '',
};

/** A sink that writes when the test lets it. */
function world(share = 1) {
  const clock = new FakeClock();
  const metrics = { accessLogLines: 0, accessLogDropped: 0 };
  const texts: string[] = [];
  const waiting: ((written: boolean) => void)[] = [];
  let isClosed = false;
  const sink: LineSink = {
    write: (text) => {
      texts.push(text);
      return new Promise((resolve) => waiting.push(resolve));
    },
    close: () => {
      isClosed = true;
    },
  };
  const log = new AccessLog(sink, clock, metrics, share);
  return { clock, metrics, texts, waiting, log, closed: () => isClosed };
}

test('l7 access log: lines are JSON, written together after a moment', async () => {
  const { clock, metrics, texts, waiting, log } = world();
  log.record(record);
  log.record({ ...record, status: 404 });
  assert.equal(texts.length, 0);
  await clock.advance(100);
  assert.equal(texts.length, 1);
  const lines = texts[0]!
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line) as Record<string, unknown>);
  assert.deepEqual(lines[0], { time: '2026-01-31T12:00:00.000Z', ...record });
  assert.equal(lines[1]?.['status'], 404);
  waiting[0]?.(true);
  await settle();
  assert.deepEqual(metrics, { accessLogLines: 2, accessLogDropped: 0 });
});

test('l7 access log: a reader that stalls costs lines, which are counted, and bounded memory', async () => {
  const { clock, metrics, texts, waiting, log } = world();
  const long = { ...record, target: `/${'x'.repeat(1000)}` };
  for (let turn = 0; turn < 3000; turn += 1) log.record(long);
  await clock.advance(1000);
  assert.equal(texts.length, 1, 'one write at a time');
  assert.ok(metrics.accessLogDropped > 1000);
  const kept = 3000 - metrics.accessLogDropped;
  waiting[0]?.(true);
  await settle();
  assert.ok(texts.join('').length <= accessLogBytesMax);
  waiting[1]?.(true);
  await settle();
  assert.equal(metrics.accessLogLines, kept);
  log.record(record);
  await clock.advance(100);
  assert.equal(texts.length, 3, 'it goes on when the reader does');
});

test('l7 access log: of a tenth exactly a tenth, but failures and sampled traces always', async () => {
  const { clock, texts, log } = world(0.1);
  for (let turn = 0; turn < 100; turn += 1) log.record(record);
  log.record({ ...record, status: 502 });
  log.record({ ...record, status: 499 });
  log.record({ ...record, traceSampled: true });
  await clock.advance(100);
  const statuses = texts[0]!
    .trimEnd()
    .split('\n')
    .map((line) => (JSON.parse(line) as AccessRecord).status);
  assert.equal(statuses.length, 13);
  assert.deepEqual(statuses.slice(10), [502, 499, 200]);
});

test('l7 access log: what could not be written is counted as dropped', async () => {
  const { clock, metrics, waiting, log } = world();
  log.record(record);
  await clock.advance(100);
  waiting[0]?.(false);
  await settle();
  assert.deepEqual(metrics, { accessLogLines: 0, accessLogDropped: 1 });
});

test('l7 access log: closing writes what is left, and does not wait for ever', async () => {
  const { clock, texts, waiting, log, closed } = world();
  log.record(record);
  const first = log.close();
  await settle();
  assert.equal(texts.length, 1);
  waiting[0]?.(true);
  await first;
  assert.equal(closed(), true);
  const stalled = world();
  stalled.log.record(record);
  const second = stalled.log.close();
  await stalled.clock.advance(1000);
  await second;
  assert.equal(stalled.closed(), true);
  assert.equal(clock.pending, 0);
});

test('l7 access log: a pipe gets whole lines in pieces that do not mix with those of other workers', () => {
  const lines = Array.from({ length: 500 }, (_, index) => `${'é'.repeat(index % 90)} ${index}\n`);
  lines.splice(100, 0, `${'x'.repeat(9000)}\n`);
  const pieces = piecesOf(lines.join(''));
  assert.equal(pieces.join(''), lines.join(''));
  for (const piece of pieces) {
    assert.ok(piece.endsWith('\n'));
    assert.ok(Buffer.byteLength(piece) <= 4096 || piece.split('\n').length === 2);
  }
  assert.deepEqual(piecesOf(''), []);
});
