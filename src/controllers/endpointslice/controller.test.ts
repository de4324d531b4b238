import assert from 'node:assert/strict';
import { test } from 'node:test';
import { FakeApi } from '../../../test/support/fake-api.ts';
import { FakeClock } from '../../../test/support/fake-clock.ts';
import { serviceOf } from '../../../test/support/services.ts';
import { events, nodes, pods, services } from '../../api/resource.ts';
import { silentLogger } from '../../base/log.ts';
import { controllersDefaults, runControllers } from '../run.ts';

test('endpointslice: Events tell whether topology mode Auto gives hints, once a change', async () => {
  const clock = new FakeClock();
  const api = new FakeApi({ clock });
  const annotations = { 'service.kubernetes.io/topology-mode': 'Auto' };
  const service = serviceOf('web', '10.43.0.5', { selector: { app: 'web' } });
  api.seed(services, { ...service, metadata: { ...service.metadata, annotations } });
  for (const zone of ['a', 'b']) {
    const ready = [{ type: 'Ready', status: 'True' }];
    api.seed(nodes, {
      metadata: { name: zone, labels: { 'topology.kubernetes.io/zone': zone } },
      status: { allocatable: { cpu: '4' }, conditions: ready },
    });
    api.seed(pods, {
      metadata: { name: `web-${zone}`, namespace: 'default', labels: { app: 'web' } },
      spec: { containers: [{ name: 'c' }], nodeName: zone },
      status: { phase: 'Running', podIP: `10.42.0.${zone === 'a' ? 1 : 2}`, conditions: ready },
    });
  }
  const stop = new AbortController();
  const config = { ...controllersDefaults, controllers: ['endpointslice'] };
  const running = runControllers(config, api, silentLogger, stop.signal, {
    timing: { clock, random: () => 0.5 },
  });
  const told = (): readonly string[] =>
    api.objects(events).map(({ type, reason, count }) => `${type} ${reason} ${count}`);
  await clock.advance(100);
  assert.deepEqual(told(), ['Normal TopologyAwareHintsEnabled 1']);
  api.update(pods, 'default/web-a', { metadata: { annotations: { nothing: 'new' } } });
  api.update(services, 'default/web', { metadata: { labels: { another: 'sync' } } });
  await clock.advance(100);
  assert.equal(told().length, 1);
  api.update(services, 'default/web', {
    metadata: { annotations: { 'service.kubernetes.io/topology-mode': 'Disabled' } },
  });
  await clock.advance(100);
  assert.deepEqual(told().toSorted(), [
    'Normal TopologyAwareHintsEnabled 1',
    'Warning TopologyAwareHintsDisabled 1',
  ]);
  stop.abort();
  await running;
});
