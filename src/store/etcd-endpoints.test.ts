import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseEtcdEndpoints } from './etcd-endpoints.ts';

const cases = [
  { text: 'http://127.0.0.1:2379', want: ['127.0.0.1 2379 false'] },
  { text: 'https://etcd.example', want: ['etcd.example 2379 true'] },
  { text: 'https://[fd00::1]:4001/, http://b:1', want: ['fd00::1 4001 true', 'b 1 false'] },
  { text: '127.0.0.1:2379', want: undefined },
  { text: 'http://a:0', want: undefined },
  { text: 'http://a:65536', want: undefined },
  { text: 'http://a:2379/path', want: undefined },
  { text: 'http://a:2379,', want: undefined },
  { text: '', want: undefined },
] as const;

for (const { text, want } of cases) {
  test(`etcd endpoints: ${JSON.stringify(text)}`, () => {
    const found = parseEtcdEndpoints(text)?.map(({ host, port, secure }) => `${host} ${port} ${secure}`);
    assert.deepEqual(found, want);
  });
}
