import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { createGrpcClient } from '../../src/base/grpc.ts';
import { etcdMethods } from '../../src/store/etcd-messages.ts';
import { isStoreError, type Store, type StoreEvent, type ValueTemplate } from '../../src/store/store.ts';
import { type Etcd, openTestStore, startEtcd, withoutEtcd } from '../support/etcd.ts';
import { eventually } from '../support/shell.ts';
import { storeConformance } from '../support/store-conformance.ts';

describe('the store on etcd', { skip: withoutEtcd }, () => {
  let etcd: Etcd;
  let opened = 0;
  const newPrefix = (): string => `/test-${(opened += 1)}/`;
  before(async () => {
    etcd = await startEtcd();
  });
  after(() => etcd.stop());

  storeConformance('etcd', (historyEventsMax) => openTestStore(etcd, newPrefix(), { historyEventsMax }));

  test('two servers see the same objects, revisions and events', async () => {
    await withStores(newPrefix(), 2, async ([one, two]) => {
      const seen: StoreEvent[] = [];
      two.watch('/pods/', two.revision, (events) => seen.push(...events));
      const made = await one.put('/pods/a', value('1'), 0);
      const changed = await one.put('/pods/a', value('2'), made.revision);
      const gone = await one.delete('/pods/a', value('2'), changed.revision);
      await two.catchUp?.();
      assert.deepEqual(
        seen.map(({ type, entry, previous }) => [type, entry.value.toString(), previous?.revision]),
        [
          ['put', `<${made.revision}>1`, undefined],
          ['put', `<${changed.revision}>2`, made.revision],
          ['delete', `<${gone.revision}>2`, changed.revision],
        ],
      );
    });
  });

  test('of two servers that write at once one wins, and the other knows by what when it is told', async () => {
    await withStores(newPrefix(), 2, async ([one, two]) => {
      const { revision } = await one.put('/a', value('0'), 0);
      await two.catchUp?.();
      const outcomes = await Promise.allSettled([
        one.put('/a', value('1'), revision),
        two.put('/a', value('2'), revision),
      ]);
      const refused = outcomes.flatMap((outcome) => (outcome.status === 'rejected' ? [outcome.reason] : []));
      assert.equal(refused.length, 1);
      assert.ok(isStoreError(refused[0], 'Conflict'));
      assert.equal(one.get('/a')?.revision, refused[0].current?.revision);
      assert.equal(two.get('/a')?.revision, refused[0].current?.revision);
    });
  });

  test('a server started later goes on with the watches of the first', async () => {
    const prefix = newPrefix();
    await withStores(prefix, 1, async ([one]) => {
      const first = await one.put('/a', value('1'), 0);
      const second = await one.put('/a', value('2'), first.revision);
      await one.delete('/a', value('2'), second.revision);
      await withStores(prefix, 1, ([two]) => {
        const seen: StoreEvent[] = [];
        two.watch('/', first.revision, (events) => seen.push(...events));
        assert.deepEqual(
          seen.map((event) => [event.type, event.previous?.revision]),
          [
            ['put', first.revision],
            ['delete', second.revision],
          ],
        );
        return Promise.resolve();
      });
    });
  });

  test('writes by others than us hold no reader up', async () => {
    await withStores(newPrefix(), 1, async ([store]) => {
      await withStores(newPrefix(), 1, async ([stranger]) => {
        const { revision } = await stranger.put('/a', value('1'), 0);
        await store.catchUp?.();
        assert.ok(store.revision >= revision);
      });
    });
  });

  test('acknowledged writes survive kill -9 of etcd, and the store goes on when it is back', async () => {
    await withStores(
      newPrefix(),
      1,
      async ([store]) => {
        const seen: StoreEvent[] = [];
        store.watch('/', store.revision, (events) => seen.push(...events));
        const made = await store.put('/a', value('1'), 0);
        await etcd.kill();
        assert.equal(store.get('/a')?.revision, made.revision, 'reads go on');
        const refused = store.put('/b', value('1'), 0);
        await assert.rejects(refused, (error) => isStoreError(error, 'Failed'));
        await etcd.restart();
        await eventually(() => store.catchUp?.());
        const again = await store.put('/a', value('2'), made.revision);
        assert.deepEqual(
          seen.map((event) => event.revision),
          [made.revision, again.revision],
        );
      },
      { callTimeoutMs: 2000, attemptTimeoutMs: 1000 },
    );
  });

  test('what a server missed because etcd compacted it comes as the difference', async () => {
    const prefix = newPrefix();
    await withStores(
      prefix,
      1,
      async ([store]) => {
        const kept = await store.put('/kept', value('1'), 0);
        const changed = await store.put('/changed', value('1'), 0);
        const removed = await store.put('/removed', value('1'), 0);
        const seen: StoreEvent[] = [];
        store.watch('/', store.revision, (events) => seen.push(...events));
        await etcd.kill();
        await etcd.restart();
        // Another server changes and compacts before this one's watch is back: its first delivery is that it is too late.
        await withStores(prefix, 1, async ([other]) => {
          await other.put('/changed', value('2'), changed.revision);
          await other.delete('/removed', value('1'), removed.revision);
          const last = await other.put('/new', value('1'), 0);
          await compact(last.revision);
        });
        await store.catchUp?.();
        assert.deepEqual(
          new Map(
            seen.map((event) => [event.key, `${event.type} ${event.entry.value.toString().split('>')[1]}`]),
          ),
          new Map([
            ['/changed', 'put 2'],
            ['/new', 'put 1'],
            ['/removed', 'delete 1'],
          ]),
        );
        assert.equal(store.get('/kept')?.revision, kept.revision);
        for (const { entry } of seen) assert.ok(entry.value.toString().startsWith(`<${entry.revision}>`));
      },
      { retryDelayMs: 500 },
    );
  });

  test('no etcd at its address is told with the address', async () => {
    const nowhere = { ...etcd, endpoint: { ...etcd.endpoint, port: 1 } };
    await assert.rejects(openTestStore(nowhere, '/', { callTimeoutMs: 100 }), /etcd at 127\.0\.0\.1:1/);
  });

  async function compact(revision: number): Promise<void> {
    const client = createGrpcClient(etcd.endpoint);
    await client.unary(etcdMethods.compact, { revision });
    client.close();
  }

  async function withStores<const N extends 1 | 2>(
    prefix: string,
    count: N,
    body: (stores: N extends 1 ? [Store] : [Store, Store]) => Promise<void>,
    options: Parameters<typeof openTestStore>[2] = {},
  ): Promise<void> {
    const stores = await Promise.all(
      Array.from({ length: count }, () => openTestStore(etcd, prefix, options)),
    );
    try {
      await body(stores as N extends 1 ? [Store] : [Store, Store]);
    } finally {
      await Promise.all(stores.map((store) => store.close()));
    }
  }
});

function value(text: string): ValueTemplate {
  return { before: '<', after: `>${text}` };
}
