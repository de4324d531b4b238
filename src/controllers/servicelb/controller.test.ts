import assert from 'node:assert/strict';
import { test } from 'node:test';
import { FakeApi } from '../../../test/support/fake-api.ts';
import { FakeClock } from '../../../test/support/fake-clock.ts';
import { serviceOf } from '../../../test/support/services.ts';
import { events, nodes, pods, services } from '../../api/resource.ts';
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

test('servicelb: a port that a Pod gives free is taken, and the condition goes', async () => {
  const clock = new FakeClock();
  const api = new FakeApi({ clock });
  const ready = [{ type: 'Ready', status: 'True' }];
  const addresses = [{ type: 'InternalIP', address: '10.41.0.2' }];
  api.seed(nodes, { metadata: { name: 'n' }, status: { addresses, conditions: ready } });
  const ports = [{ containerPort: 8080, hostPort: 80 }];
  api.seed(pods, {
    metadata: { name: 'holder', namespace: 'default' },
    spec: { nodeName: 'n', containers: [{ name: 'c', ports }] },
    status: { phase: 'Running' },
  });
  api.seed(services, serviceOf('web', '10.43.0.5', { type: 'LoadBalancer' }));
  const stop = new AbortController();
  const config = { ...controllersDefaults, controllers: ['servicelb'] };
  const running = runControllers(config, api, silentLogger, stop.signal, {
    timing: { clock, random: () => 0.5 },
  });
  const seen = (): readonly unknown[] => {
    const [web] = api.objects(services);
    const messages = web?.status?.conditions?.map(({ message }) => message) ?? [];
    return [web?.status?.loadBalancer?.ingress?.map(({ ip }) => ip) ?? [], ...messages];
  };
  await clock.advance(100);
  const clash = 'port 80/TCP of node n belongs to Pod default/holder: delete that or choose another port';
  assert.deepEqual(seen(), [[], clash]);
  assert.deepEqual(
    api.objects(events).map(({ reason, message }) => [reason, message]),
    [['PortUnavailable', clash]],
  );
  api.update(pods, 'default/holder', { status: { phase: 'Succeeded' } });
  await clock.advance(100);
  assert.deepEqual(seen(), [['10.41.0.2']]);
  stop.abort();
  await running;
});
