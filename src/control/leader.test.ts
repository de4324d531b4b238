import assert from 'node:assert/strict';
import { test } from 'node:test';
import { FakeApi } from '../../test/support/fake-api.ts';
import { FakeClock } from '../../test/support/fake-clock.ts';
import { leases } from '../api/resource.ts';
import { aborted } from '../base/lifetime.ts';
import { runAsLeader } from './leader.ts';

function candidates() {
  const clock = new FakeClock();
  const api = new FakeApi({ clock });
  const leading = new Set<string>();
  const run = (identity: string, signal: AbortSignal): Promise<void> =>
    runAsLeader(
      api,
      { namespace: 'kube-system', name: 'test', identity, timing: { clock, random: () => 0 } },
      signal,
      async (scope) => {
        leading.add(identity);
        await aborted(scope);
        leading.delete(identity);
      },
    );
  return { clock, api, leading, run };
}

test('leader: one leads, the other takes over at once when it stops in order', async () => {
  const { clock, api, leading, run } = candidates();
  const [first, second] = [new AbortController(), new AbortController()];
  const a = run('a', first.signal);
  await clock.advance(10);
  const b = run('b', second.signal);
  await clock.advance(60_000);
  assert.deepEqual([...leading], ['a']);
  first.abort();
  await a;
  await clock.advance(5000);
  assert.deepEqual([...leading], ['b']);
  assert.equal(api.find(leases, 'kube-system/test')?.spec?.leaseTransitions, 1);
  second.abort();
  await b;
});

test('leader: one that cannot renew gives up before another may take over', async () => {
  const { clock, api, leading, run } = candidates();
  const stop = new AbortController();
  const a = run('a', stop.signal);
  const lost = assert.rejects(a, /lost the lease/);
  await clock.advance(10);
  assert.deepEqual([...leading], ['a']);
  api.disconnect({ down: true });
  await clock.advance(14_000);
  assert.deepEqual([...leading], []);
  await lost;
});

test('leader: one that dies without a word is replaced when its lease has run out', async () => {
  const { clock, api, leading, run } = candidates();
  api.seed(leases, {
    metadata: { namespace: 'kube-system', name: 'test' },
    spec: { holderIdentity: 'dead', leaseDurationSeconds: 15, leaseTransitions: 4 },
  });
  const stop = new AbortController();
  const b = run('b', stop.signal);
  await clock.advance(14_000);
  assert.deepEqual([...leading], []);
  await clock.advance(5000);
  assert.deepEqual([...leading], ['b']);
  stop.abort();
  await b;
});
