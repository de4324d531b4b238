import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import fc from 'fast-check';
import { isStoreError, type Store, type StoreEvent, type ValueTemplate } from '../../src/store/store.ts';

export type OpenStore = (historyEventsMax: number, folder: string) => Store | Promise<Store>;

/** What every implementation of the port must do; `open` gets an empty folder of its own. */
export function storeConformance(name: string, open: OpenStore): void {
  const scenario = (title: string, body: (store: Store) => Promise<void>, historyEventsMax = 1000): void => {
    test(`${name} store: ${title}`, async () => {
      const folder = mkdtempSync(join(tmpdir(), 'fairlead-store-'));
      const store = await open(historyEventsMax, folder);
      try {
        await body(store);
      } finally {
        await store.close();
        rmSync(folder, { recursive: true });
      }
    });
  };

  scenario('a value carries the revision of its write', async (store) => {
    const entry = await store.put('/pods/a/web', value('x'), 0);
    assert.equal(entry.value.toString(), `<${entry.revision}>x`);
    assert.equal(store.get('/pods/a/web')?.value.toString(), `<${entry.revision}>x`);
    assert.equal(store.revision, entry.revision);
  });

  scenario('a creation over something is refused and says what is there', async (store) => {
    await store.put('/a', value('1'), 0);
    await assert.rejects(
      store.put('/a', value('2'), 0),
      (error) => isStoreError(error, 'Exists') && error.current?.key === '/a',
    );
  });

  scenario('a write at an old revision is a conflict', async (store) => {
    const first = await store.put('/a', value('1'), 0);
    await store.put('/a', value('2'), first.revision);
    await assert.rejects(store.put('/a', value('3'), first.revision), (e) => isStoreError(e, 'Conflict'));
    await assert.rejects(store.delete('/a', value('3'), first.revision), (e) => isStoreError(e, 'Conflict'));
    await assert.rejects(store.put('/b', value('3'), 7), (e) => isStoreError(e, 'Missing'));
  });

  scenario('of two creations at the same time one is refused', async (store) => {
    const outcomes = await Promise.allSettled([
      store.put('/a', value('1'), 0),
      store.put('/a', value('2'), 0),
      store.put('/b', value('1'), 0),
    ]);
    const [first, second, other] = outcomes.map((outcome) => outcome.status);
    // Which of the two on /a comes first is up to the store: etcd serves requests of one connection side by side.
    assert.notEqual(first, second);
    assert.equal(other, 'fulfilled');
    const refused = outcomes.find((outcome) => outcome.status === 'rejected');
    assert.ok(isStoreError(refused?.reason, 'Exists'));
  });

  scenario('nothing is visible before its commit', async (store) => {
    const before = store.revision;
    const writing = store.put('/a', value('1'), 0);
    assert.equal(store.get('/a'), undefined);
    assert.equal(store.revision, before);
    await writing;
    assert.notEqual(store.get('/a'), undefined);
  });

  scenario('lists are ordered, bounded by prefix and can be paged', async (store) => {
    await Promise.all(
      ['/pods/b/1', '/pods/a/2', '/pods/a/1', '/podsets/a/1'].map((k) => store.put(k, value(k), 0)),
    );
    assert.deepEqual(keys(store.list('/pods/').entries), ['/pods/a/1', '/pods/a/2', '/pods/b/1']);
    const page = store.list('/pods/', { limit: 2 });
    assert.deepEqual([keys(page.entries), page.remaining], [['/pods/a/1', '/pods/a/2'], 1]);
    assert.deepEqual(keys(store.list('/pods/', { after: '/pods/a/2' }).entries), ['/pods/b/1']);
    assert.equal(store.count('/pods/'), 3);
  });

  scenario('a list can show an earlier revision', async (store) => {
    const a = await store.put('/a', value('1'), 0);
    const b = await store.put('/b', value('1'), 0);
    await store.put('/a', value('2'), a.revision);
    await store.delete('/b', value('1'), b.revision);
    await store.put('/c', value('1'), 0);
    const then = store.list('/', { atRevision: b.revision });
    assert.deepEqual(keys(then.entries), ['/a', '/b']);
    assert.equal(then.entries[0]?.revision, a.revision);
    assert.equal(then.revision, b.revision);
  });

  scenario('a watch delivers the past at once and the future after each commit', async (store) => {
    const before = store.revision;
    const a = await store.put('/a', value('1'), 0);
    await store.put('/x', value('1'), 0);
    const seen: StoreEvent[] = [];
    const watching = store.watch('/a', before, (events) => seen.push(...events));
    assert.equal(seen.length, 1);
    const changed = await store.put('/a', value('2'), a.revision);
    await store.delete('/a', value('2'), changed.revision);
    watching.stop();
    await store.put('/a', value('3'), 0);
    assert.deepEqual(
      seen.map((event) => [event.type, event.previous?.revision]),
      [
        ['put', undefined],
        ['put', a.revision],
        ['delete', changed.revision],
      ],
    );
    assert.equal(seen[2]?.entry.value.toString(), `<${seen[2]?.revision}>2`);
  });

  scenario('a watch from a compacted or a future revision is expired', async (store) => {
    const first = await store.put('/a', value('1'), 0);
    const second = await store.put('/b', value('1'), 0);
    store.compact(second.revision);
    assert.throws(
      () => store.watch('/', first.revision, () => {}),
      (e) => isStoreError(e, 'Expired'),
    );
    assert.throws(
      () => store.watch('/', second.revision + 99, () => {}),
      (e) => isStoreError(e, 'Expired'),
    );
    assert.throws(
      () => store.list('/', { atRevision: first.revision }),
      (e) => isStoreError(e, 'Expired'),
    );
    store.watch('/', second.revision, () => {}).stop();
  });

  scenario(
    'history is bounded',
    async (store) => {
      const before = store.revision;
      for (let at = 0; at < 100; at++) await store.put(`/${at}`, value(''), 0);
      const behind = store.compactedRevision - before;
      assert.ok(behind > 0 && behind <= 90, `history begins ${behind} writes after the start`);
    },
    10,
  );

  scenario('a closed store refuses', async (store) => {
    await store.close();
    await assert.rejects(store.put('/a', value(''), 0), (e) => isStoreError(e, 'Closed'));
  });

  scenario('random writes agree with a plain map, at every past revision', async (store) => {
    const write = fc.record({
      key: fc.constantFrom('/a/1', '/a/2', '/b/1', '/b/2'),
      remove: fc.boolean(),
      text: fc.string({ maxLength: 5 }),
    });
    await fc.assert(
      fc.asyncProperty(fc.array(write, { maxLength: 20 }), async (writes) => {
        const states = new Map<number, string[]>([[store.revision, shown(store, store.revision)]]);
        for (const { key, remove, text } of writes) {
          const current = store.get(key);
          if (remove && current === undefined) continue;
          if (remove) await store.delete(key, value(text), current?.revision ?? 0);
          else await store.put(key, value(text), current?.revision ?? 0);
          states.set(store.revision, shown(store, store.revision));
        }
        for (const [revision, state] of states) assert.deepEqual(shown(store, revision), state);
      }),
      { numRuns: 20 },
    );
  });
}

function shown(store: Store, atRevision: number): string[] {
  return store.list('/', { atRevision }).entries.map((entry) => `${entry.key} ${entry.value.toString()}`);
}

function value(text: string): ValueTemplate {
  return { before: '<', after: `>${text}` };
}

function keys(entries: readonly { readonly key: string }[]): string[] {
  return entries.map((entry) => entry.key);
}
