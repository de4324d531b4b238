import assert from 'node:assert/strict';
import { test } from 'node:test';
import { FakeApi } from '../../test/support/fake-api.ts';
import { FakeClock } from '../../test/support/fake-clock.ts';
import type { Pod, PodStatus } from '../api/gen/core-v1.ts';
import { pods } from '../api/resource.ts';
import { silentLogger } from '../base/log.ts';
import { StatusWriter } from './status-writer.ts';

const statusOf = (ready: 'True' | 'False', reason = 'Probed'): PodStatus => ({
  phase: 'Running',
  conditions: [
    {
      type: 'Ready',
      status: ready,
      lastTransitionTime: '2026-01-31T12:00:00Z',
      reason,
      message: 'said by a test',
    },
  ],
});

test('pod status: what somebody else wrote over ours is written again, once', async () => {
  const api = new FakeApi();
  api.seed(pods, { metadata: { name: 'web', namespace: 'default', uid: 'u' }, spec: { containers: [] } });
  const find = (): Pod => api.find(pods, 'default/web') ?? {};
  const writer = new StatusWriter(api, new FakeClock(), silentLogger, new AbortController().signal);
  const write = async (): Promise<void> => {
    writer.write(find(), statusOf('True'));
    await writer.flush();
  };
  await write();
  const mine = find();
  await write();
  assert.equal(api.writes.length, 1, 'the same again is no write');
  // As the node controller does with Pods of a node that it has not heard of.
  api.update(pods, 'default/web', { status: structuredClone(statusOf('False', 'NodeNotReady')) as never });
  writer.write(mine, statusOf('True'));
  await writer.flush();
  assert.equal(api.writes.length, 1, 'an old Pod of the watch tells nothing');
  await write();
  assert.equal(find().status?.conditions?.[0]?.status, 'True');
  await write();
  assert.equal(api.writes.length, 2);
});

for (const code of ['NotFound', 'Conflict'] as const) {
  test(`pod status: what was asked for while a write met ${code} is written, not forgotten`, async () => {
    const api = new FakeApi();
    api.seed(pods, { metadata: { name: 'web', namespace: 'default', uid: 'u' }, spec: { containers: [] } });
    const writer = new StatusWriter(api, new FakeClock(), silentLogger, new AbortController().signal);
    const pod = api.find(pods, 'default/web') ?? {};
    api.failNext('patch', pods, code); // the Pod was being made anew under its name
    writer.write(pod, statusOf('False'));
    writer.write(pod, statusOf('True'));
    await writer.flush();
    assert.equal(api.find(pods, 'default/web')?.status?.conditions?.[0]?.status, 'True');
  });
}
