import assert from 'node:assert/strict';
import { test } from 'node:test';
import { openMemoryStore } from '../store/memory.ts';
import { isStoreError, StoreError } from '../store/store.ts';
import { createTurns, takeTurn } from './turns.ts';

const value = { before: '{', after: '}' };

test('turns: who was overtaken is judged by what came before, and writes again', async () => {
  const store = openMemoryStore();
  const judged: number[] = [];
  const seen: number[] = [];
  const entry = await takeTurn(
    store,
    'quota a',
    () => judged.push(store.count('/things/')),
    async (turn) => {
      seen.push(turn.seen - store.revision);
      if (store.count('/things/') < 2) {
        await store.put(`/things/${store.count('/things/')}`, value, 0); // another server's
        throw new StoreError('Overtaken', 'another was first');
      }
      return store.put('/things/ours', value, 0);
    },
  );
  assert.deepEqual([entry.key, judged, seen], ['/things/ours', [0, 1, 2], [0, 0, 0]]);
  await store.close();
});

test('turns: nobody tries for ever, and a refusal ends it at once', async () => {
  const store = openMemoryStore();
  let attempts = 0;
  const overtaken = takeTurn(
    store,
    'quota a',
    () => {},
    () => {
      attempts++;
      return Promise.reject(new StoreError('Overtaken', 'always'));
    },
  );
  await assert.rejects(overtaken, (error) => isStoreError(error, 'Overtaken'));
  assert.equal(attempts, 20);
  const refused = takeTurn(
    store,
    'quota a',
    () => {
      throw new Error('too much');
    },
    () => assert.fail('what is refused is not written'),
  );
  await assert.rejects(refused, /too much/);
  await store.close();
});

test('turns: one after the other in a namespace, whatever becomes of those before', async () => {
  const inTurn = createTurns();
  const gate = Promise.withResolvers<void>();
  const order: string[] = [];
  const first = inTurn('a', async () => {
    await gate.promise;
    order.push('first');
    throw new Error('it failed');
  });
  const second = inTurn('a', () => Promise.resolve(order.push('second')));
  await inTurn('b', () => Promise.resolve(order.push('elsewhere')));
  gate.resolve();
  await assert.rejects(first, /it failed/);
  await second;
  assert.deepEqual(order, ['elsewhere', 'first', 'second']);
});
