import assert from 'node:assert/strict';
import { test } from 'node:test';
import { shimSocketOf } from './shim-sockets.ts';

const hash = 'a0'.repeat(32);

for (const { name, text, want } of [
  {
    name: 'what containerd writes',
    text: `unix:///run/containerd/s/${hash}`,
    want: `/run/containerd/s/${hash}`,
  },
  { name: 'another folder', text: `unix:///etc/${hash}`, want: undefined },
  { name: 'a path that leads out', text: `unix:///run/containerd/s/../../../etc/passwd`, want: undefined },
  { name: 'an address of another kind', text: 'vsock://2:1024', want: undefined },
]) {
  test(`shim socket: ${name}`, () => assert.equal(shimSocketOf(text), want));
}
