import assert from 'node:assert/strict';
import { test, type TestContext } from 'node:test';
import { FakeApi } from '../../../test/support/fake-api.ts';
import { FakeClock, settle } from '../../../test/support/fake-clock.ts';
import type { Service } from '../../api/gen/core-v1.ts';
import type { Ingress } from '../../api/gen/networking-v1.ts';
import { ingresses } from '../../api/resource.ts';
import { runTogether } from '../../base/lifetime.ts';
import { silentLogger } from '../../base/log.ts';
import type { ApiClient, WriteOptions } from '../../client/client.ts';
import { compileRoutes } from '../routes/compile.ts';
import { ApiWriter } from './api-writer.ts';
import { ingressDefaults } from './config.ts';
import { viewOf } from './listed-view.ts';

const web: Ingress = {
  metadata: { name: 'web', namespace: 'default' },
  spec: { ingressClassName: 'fairlead', defaultBackend: { service: { name: 'web', port: { number: 80 } } } },
};
const ours = { metadata: { name: 'fairlead' }, spec: { controller: 'fairlead.dev/ingress' } };
const published = (ip: string): Service => ({
  metadata: { name: 'ingress', namespace: 'kube-system' },
  status: { loadBalancer: { ingress: [{ ip }] } },
});

/** A writer to an API that answers the first write of a status only when that is given up. `says` is what it is to write. */
function startWriter(t: TestContext) {
  const api = new FakeApi();
  api.seed(ingresses, web);
  const clock = new FakeClock();
  const writes: string[] = [];
  const client = {
    patch: (...[resource, namespace, name, kind, body, options]: Parameters<ApiClient['patch']>) => {
      writes.push(JSON.stringify(body));
      return writes.length === 1
        ? unanswered(options)
        : api.patch(resource, namespace, name, kind, body, options);
    },
  } as ApiClient;
  let services: readonly Service[] = [];
  const lists = () => ({ ingressClasses: [ours], ingresses: [web], services, slices: [], secrets: [] });
  const watched = {
    get view() {
      return viewOf(lists());
    },
    tasks: [],
    whenSynced: () => Promise.resolve(),
  };
  const config = { ...ingressDefaults, http: [], https: [], healthAddress: undefined };
  const writer = new ApiWriter(config, client, watched, silentLogger, clock, () => {});
  const stop = new AbortController();
  const running = runTogether(writer.tasks, stop.signal);
  t.after(async () => {
    stop.abort();
    await running;
  });
  const compiled = compileRoutes(viewOf(lists()), ['fairlead']);
  return {
    clock,
    writes,
    shown: () => api.find(ingresses, 'default/web')?.status?.loadBalancer?.ingress?.[0]?.ip,
    async says(ip: string): Promise<void> {
      services = [published(ip)];
      writer.update(compiled);
      await settle();
    },
  };
}

function unanswered(options: WriteOptions | undefined): Promise<never> {
  return new Promise((_, reject) => {
    options?.signal?.addEventListener('abort', () => reject(options.signal?.reason as Error));
  });
}

test('l7 api writer: a status whose write is not answered is written again within the time of a renewal', async (t) => {
  const writer = startWriter(t);
  await writer.says('192.0.2.7');
  await writer.clock.advance(4_900);
  assert.equal(writer.writes.length, 1);
  await writer.clock.advance(200);
  assert.equal(writer.writes.length, 2);
  assert.equal(writer.shown(), '192.0.2.7');
});

test('l7 api writer: what is wanted by now does not wait for the write of what was wanted before', async (t) => {
  const writer = startWriter(t);
  await writer.says('192.0.2.7');
  assert.equal(writer.writes.length, 1);
  await writer.says('192.0.2.8');
  assert.equal(writer.shown(), '192.0.2.8', 'no time has passed');
  assert.equal(writer.writes.length, 2);
});
