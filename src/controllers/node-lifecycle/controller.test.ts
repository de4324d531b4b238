import assert from 'node:assert/strict';
import { test } from 'node:test';
import { FakeApi } from '../../../test/support/fake-api.ts';
import { FakeClock, settle } from '../../../test/support/fake-clock.ts';
import type { Lease } from '../../api/gen/coordination-v1.ts';
import type { Node, Pod } from '../../api/gen/core-v1.ts';
import { events, leases, nodes, pods } from '../../api/resource.ts';
import { rfc3339Micro } from '../../base/clock.ts';
import { silentLogger } from '../../base/log.ts';
import { controllersDefaults, runControllers } from '../run.ts';

const graceMs = 40_000;
const leaseKey = 'kube-node-lease/n1';

const node = (ready: string): Node => ({
  metadata: { name: 'n1' },
  status: { conditions: [{ type: 'Ready', status: ready }] },
});
const pod: Pod = {
  metadata: { name: 'p', namespace: 'default' },
  spec: { nodeName: 'n1', containers: [] },
  status: { conditions: [{ type: 'Ready', status: 'True' }] },
};

/** The controller alone on a node with a Pod. `lagging`: no event of a Lease reaches it. */
async function lifecycle(ready: string, lagging: boolean) {
  const clock = new FakeClock();
  const api = new FakeApi({ clock, resources: [events, leases, nodes, pods] });
  const spec = () => ({ renewTime: rfc3339Micro(clock.nowMs()) });
  const lease: Lease = { metadata: { name: 'n1', namespace: 'kube-node-lease' }, spec: spec() };
  api.seed(nodes, node(ready));
  api.seed(pods, pod);
  api.seed(leases, lease);
  if (lagging) {
    const watch = api.watch.bind(api);
    api.watch = (resource, version, options) =>
      watch(resource, (resource as unknown) === leases ? String(Number.MAX_SAFE_INTEGER) : version, options);
  }
  const stop = new AbortController();
  const config = { ...controllersDefaults, controllers: ['node-lifecycle'], nodeMonitorGraceMs: graceMs };
  const running = runControllers(config, api, silentLogger, stop.signal, {
    timing: { clock, random: () => 0.5 },
  });
  await clock.advance(10);
  const readyOf = (conditions: readonly { readonly type: string; readonly status: string }[] | undefined) =>
    conditions?.find(({ type }) => type === 'Ready')?.status;
  return {
    clock,
    renew: () => api.update(leases, leaseKey, { spec: spec() }),
    said: () => [
      readyOf(api.objects(nodes)[0]?.status?.conditions),
      readyOf(api.objects(pods)[0]?.status?.conditions),
    ],
    async [Symbol.asyncDispose]() {
      stop.abort();
      await settle();
      await running;
    },
  };
}

/** Time passes in steps, as timers that make new timers need. */
async function pass(clock: FakeClock, ms: number, each: () => void = () => {}): Promise<void> {
  for (let passedMs = 0; passedMs < ms; passedMs += 5_000) {
    each();
    await clock.advance(5_000);
  }
}

test('node lifecycle: a node that falls silent is unknown and its Pods are not ready', async () => {
  await using run = await lifecycle('True', false);
  await pass(run.clock, graceMs - 10_000);
  assert.deepEqual(run.said(), ['True', 'True']);
  await pass(run.clock, 20_000);
  assert.deepEqual(run.said(), ['Unknown', 'False']);
});

test('node lifecycle: a watch that lags behind does not make a node silent that renews its Lease', async () => {
  await using run = await lifecycle('True', true);
  await pass(run.clock, 4 * graceMs, run.renew);
  assert.deepEqual(run.said(), ['True', 'True']);
  await pass(run.clock, 3 * graceMs);
  assert.deepEqual(run.said(), ['Unknown', 'False'], 'what was read once is not news again');
});

test('node lifecycle: a node that is heard again, but has not said so yet, keeps its Pods ready', async () => {
  await using run = await lifecycle('Unknown', false);
  await pass(run.clock, 2 * graceMs, run.renew);
  assert.deepEqual(run.said(), ['Unknown', 'True']);
});
