import assert from 'node:assert/strict';
import { test } from 'node:test';
import { kindNamed } from '../api/registry.ts';
import { StatusError } from '../api/status.ts';
import { assert as ensure } from '../base/assert.ts';
import { openMemoryStore } from '../store/memory.ts';
import type { ApiContext, Target } from './context.ts';
import { readPage } from './list.ts';
import { keyOfObject, templateOf } from './objects.ts';

test('pages whose moment is forgotten go on with the rest as it is now', async () => {
  const store = openMemoryStore();
  const kind = kindNamed('', 'v1', 'ConfigMap');
  ensure(kind !== undefined, 'ConfigMaps are served');
  const put = (name: string) =>
    store.put(
      keyOfObject(kind, 'a', name),
      templateOf(kind, { metadata: { namespace: 'a', name, uid: name } }),
      0,
    );
  const page = (token: string | undefined) => {
    const query = new URLSearchParams({ limit: '2', ...(token === undefined ? {} : { continue: token }) });
    return readPage({ store } as ApiContext, { kind, namespace: 'a', request: { query } } as Target);
  };
  const keys = ({ entries }: { readonly entries: readonly { readonly key: string }[] }): readonly string[] =>
    entries.map(({ key }) => key.split('/').at(-1) ?? '');
  for (const name of ['a', 'b', 'c', 'e']) await put(name);
  const first = await page(undefined);
  assert.deepEqual(keys(first), ['a', 'b']);
  const { revision } = await put('d');
  store.compact(revision);
  const refusal = await page(first.continueToken).catch((error: unknown) => error);
  assert.ok(refusal instanceof StatusError && refusal.status.code === 410);
  const second = await page(refusal.status.metadata.continue);
  assert.deepEqual(keys(second), ['c', 'd']);
  await put('f');
  assert.deepEqual(keys(await page(second.continueToken)), ['e'], 'from then on of one moment again');
  await store.close();
});
