import assert from 'node:assert/strict';
import { test } from 'node:test';
import { takeDescriptor } from './sockets.ts';

test('a descriptor of a process that is gone cannot be taken', () => {
  assert.equal(takeDescriptor(2 ** 22 - 1, 3), undefined);
});
