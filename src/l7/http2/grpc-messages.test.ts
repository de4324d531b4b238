import assert from 'node:assert/strict';
import { test } from 'node:test';
import { GrpcMessages } from './grpc-messages.ts';

function message(bytes: number): Buffer {
  const data = Buffer.alloc(5 + bytes);
  data.writeUInt32BE(bytes, 1);
  return data;
}

test('gRPC messages: only between two of them nothing is unfinished, however the bytes are cut', () => {
  const sizes = [0, 1, 300, 70_000, 0, 5];
  const whole = Buffer.concat(sizes.map(message));
  const ends = new Set(sizes.map((_, index) => Buffer.concat(sizes.slice(0, index + 1).map(message)).length));
  for (const step of [1, 2, 3, 5, 7, 299, 65_536, whole.length]) {
    const messages = new GrpcMessages();
    assert.equal(messages.unfinished, false);
    for (let at = 0; at < whole.length; at += step) {
      const end = Math.min(at + step, whole.length);
      messages.receive(whole, at, end);
      assert.equal(messages.unfinished, !ends.has(end), `step ${step}, byte ${end}`);
    }
  }
});
