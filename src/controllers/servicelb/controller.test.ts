import assert from 'node:assert/strict';
import { test } from 'node:test';
import { FakeApi } from '../../../test/support/fake-api.ts';
import { FakeClock } from '../../../test/support/fake-clock.ts';
import { serviceOf } from '../../../test/support/services.ts';
import { nodes, services } from '../../api/resource.ts';
import { silentLogger } from '../../base/log.ts';
import { controllersDefaults, runControllers } from '../run.ts';

test('servicelb: a younger Service leaves the port that an older one takes by becoming a load balancer', async () => {
  const clock = new FakeClock();
  const api = new FakeApi({ clock });
  const late = serviceOf('late', '10.43.0.6', { type: 'LoadBalancer' });
  const metadata = { ...late.metadata, creationTimestamp: '2026-01-31T12:00:09Z' };
  api.seed(nodes, {
    metadata: { name: 'n' },
    status: {
      addresses: [{ type: 'InternalIP', address: '10.41.0.2' }],
      conditions: [{ type: 'Ready', status: 'True' }],
    },
  });
  api.seed(services, serviceOf('old', '10.43.0.5'), { ...late, metadata });
  const stop = new AbortController();
  const config = { ...controllersDefaults, controllers: ['servicelb'] };
  const running = runControllers(config, api, silentLogger, stop.signal, {
    timing: { clock, random: () => 0.5 },
  });
  const holders = () =>
    api
      .objects(services)
      .filter(({ status }) => (status?.loadBalancer?.ingress ?? []).length > 0)
      .map(({ metadata: named }) => named?.name);
  await clock.advance(100);
  assert.deepEqual(holders(), ['late']);
  api.update(services, 'default/old', { spec: { type: 'LoadBalancer' } });
  await clock.advance(100);
  assert.deepEqual(holders(), ['old']);
  stop.abort();
  await running;
});
