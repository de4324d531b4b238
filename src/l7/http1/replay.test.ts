import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ReplayBuffer } from './replay.ts';

test('l7 replay: what was added comes back, however it came, and what comes back is a copy', () => {
  const replay = new ReplayBuffer(10_000);
  const sent = Buffer.alloc(9000, '0123456789');
  for (let at = 0; at < sent.length; at += 700) replay.add(sent, at, Math.min(at + 700, sent.length));
  replay.add(sent, 5, 5);
  const bytes = replay.bytes();
  assert.deepEqual(bytes, sent);
  bytes.fill(0);
  assert.deepEqual(replay.bytes(), sent);
});

test('l7 replay: beyond the bound nothing is kept', () => {
  const replay = new ReplayBuffer(10);
  replay.add(Buffer.alloc(10), 0, 10);
  assert.deepEqual([replay.overflown, replay.length], [false, 10]);
  replay.add(Buffer.alloc(1), 0, 1);
  replay.add(Buffer.alloc(1), 0, 1);
  assert.deepEqual([replay.overflown, replay.length, replay.bytes().length], [true, 0, 0]);
});

test('l7 replay: after it was dropped nothing is taken in, and it has not run over', () => {
  const replay = new ReplayBuffer(10);
  replay.add(Buffer.alloc(3), 0, 3);
  replay.drop();
  replay.add(Buffer.alloc(3), 0, 3);
  assert.deepEqual([replay.overflown, replay.length], [false, 0]);
});
