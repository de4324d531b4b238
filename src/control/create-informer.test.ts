import assert from 'node:assert/strict';
import { test } from 'node:test';
import { FakeApi } from '../../test/support/fake-api.ts';
import { FakeClock, settle } from '../../test/support/fake-clock.ts';
import type { ConfigMap } from '../api/gen/core-v1.ts';
import { configMaps } from '../api/resource.ts';
import { createInformer } from './create-informer.ts';

function configMap(name: string, data: string): ConfigMap {
  return { metadata: { namespace: 'default', name }, data: { value: data } };
}

async function started(setUp: (api: FakeApi) => void = () => {}) {
  const clock = new FakeClock();
  const api = new FakeApi({ clock });
  setUp(api);
  const informer = createInformer(api, configMaps, { timing: { clock, random: () => 0 } });
  const heard: string[] = [];
  informer.addIndex('value', (object) => [object.data?.['value'] ?? '']);
  informer.onChange((key, now, old) => {
    heard.push(`${old === undefined ? '+' : now === undefined ? '-' : '~'}${key}`);
  });
  const stop = new AbortController();
  const running = informer.run(stop.signal);
  await settle();
  return {
    api,
    clock,
    informer,
    heard,
    async [Symbol.asyncDispose]() {
      stop.abort();
      await running;
    },
  };
}

test('informer: lists, then follows', async () => {
  await using run = await started((api) => api.seed(configMaps, configMap('a', '1')));
  assert.equal(run.informer.synced, true);
  run.api.seed(configMaps, configMap('b', '1'));
  run.api.update(configMaps, 'default/a', { data: { value: '2' } });
  await settle();
  run.api.remove(configMaps, 'default/b');
  await settle();
  assert.deepEqual(run.heard, ['+default/a', '+default/b', '~default/a', '-default/b']);
  assert.deepEqual(
    [...run.informer.byIndex('value', '2')].map((object) => object.metadata?.name),
    ['a'],
  );
  assert.deepEqual([...run.informer.byIndex('value', '1')], []);
});

test('informer: a closed stream is resumed without a list', async () => {
  await using run = await started((api) => api.seed(configMaps, configMap('a', '1')));
  run.api.disconnect();
  run.api.seed(configMaps, configMap('b', '1'));
  await run.clock.advance(1000);
  assert.deepEqual(run.heard, ['+default/a', '+default/b']);
});

test('informer: an expired version leads to a list that tells only what differs', async () => {
  await using run = await started((api) => api.seed(configMaps, configMap('a', '1'), configMap('b', '1')));
  run.api.disconnect({ down: true });
  await settle();
  run.api.reconnect();
  run.api.remove(configMaps, 'default/a');
  run.api.seed(configMaps, configMap('c', '1'));
  run.api.compact();
  await run.clock.advance(5000);
  assert.deepEqual(run.heard, ['+default/a', '+default/b', '-default/a', '+default/c']);
});

test('informer: keeps serving what it knew while the server is away', async () => {
  await using run = await started((api) => api.seed(configMaps, configMap('a', '1')));
  run.api.disconnect({ down: true });
  await run.clock.advance(60_000);
  assert.equal(run.informer.get('default/a')?.data?.['value'], '1');
  run.api.reconnect();
  run.api.update(configMaps, 'default/a', { data: { value: '2' } });
  await run.clock.advance(10_000);
  assert.equal(run.informer.get('default/a')?.data?.['value'], '2');
});
