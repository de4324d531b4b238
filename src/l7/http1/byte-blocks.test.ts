import assert from 'node:assert/strict';
import { test } from 'node:test';
import { giveBlock, takeBlock } from './byte-blocks.ts';

test('l7 blocks: one that is given back serves whoever needs one of its size next', () => {
  for (const [bytes, length] of [
    [0, 1024],
    [1, 1024],
    [1024, 1024],
    [1025, 2048],
    [16_384, 16_384],
    [131_072, 131_072],
  ] as const) {
    const block = takeBlock(bytes);
    assert.equal(block.length, length);
    giveBlock(block);
    assert.equal(takeBlock(bytes), block);
  }
});

test('l7 blocks: memory beyond the largest size, or of another one, is not kept', () => {
  const large = takeBlock(131_073);
  assert.equal(large.length, 131_073);
  giveBlock(large);
  assert.notEqual(takeBlock(131_073), large);
  const odd = Buffer.alloc(3000);
  giveBlock(odd);
  assert.notEqual(takeBlock(3000), odd);
  giveBlock(Buffer.alloc(0));
  assert.equal(takeBlock(0).length, 1024);
});

test('l7 blocks: at most a MiB of each size waits', () => {
  const blocks = Array.from({ length: 20 }, () => takeBlock(131_072));
  for (const block of blocks) giveBlock(block);
  const again = new Set(Array.from({ length: 20 }, () => takeBlock(131_072)));
  assert.equal(blocks.filter((block) => again.has(block)).length, 8);
});
