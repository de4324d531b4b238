import assert from 'node:assert/strict';
import { test } from 'node:test';
import { FakeApi } from '../../../test/support/fake-api.ts';
import { FakeClock } from '../../../test/support/fake-clock.ts';
import { serviceOf } from '../../../test/support/services.ts';
import { endpointSlices, endpoints, events, services } from '../../api/resource.ts';
import { silentLogger } from '../../base/log.ts';
import { controllersDefaults, runControllers } from '../run.ts';

test('endpointslice mirroring: addresses that are left out are told by an Event, once for each change', async () => {
  const clock = new FakeClock();
  const api = new FakeApi({ clock });
  const addresses = Array.from({ length: 1001 }, (_, at) => ({ ip: `192.0.${at >> 8}.${at & 255}` }));
  api.seed(services, serviceOf('db', '10.43.0.5'));
  api.seed(endpoints, {
    metadata: { name: 'db', namespace: 'default' },
    subsets: [{ addresses, ports: [{ port: 5432 }] }],
  });
  const stop = new AbortController();
  const config = { ...controllersDefaults, controllers: ['endpointslice-mirroring'] };
  const running = runControllers(config, api, silentLogger, stop.signal, {
    timing: { clock, random: () => 0.5 },
  });
  await clock.advance(1000);
  await clock.advance(60_000);
  assert.equal(api.objects(endpointSlices).length, 10);
  assert.deepEqual(
    api.objects(events).map(({ reason, count, involvedObject }) => [reason, count, involvedObject?.kind]),
    [['TooManyAddressesToMirror', 1, 'Endpoints']],
  );
  stop.abort();
  await running;
});
