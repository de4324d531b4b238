import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ingresses, services } from '../../src/api/resource.ts';
import { FakeApi } from '../support/fake-api.ts';
import { seedWeb, service, startIngress, until } from './ingress-harness.ts';

test('an Ingress whose class changes loses our address from its status', { timeout: 300_000 }, async (t) => {
  const api = new FakeApi();
  seedWeb(api, []);
  const address = { ip: '192.0.2.7' };
  api.seed(services, { ...service('published'), status: { loadBalancer: { ingress: [address] } } });
  await startIngress(t, api, { publishService: { namespace: 'default', name: 'published' } });
  const shown = () => api.objects(ingresses)[0]?.status?.loadBalancer?.ingress ?? [];
  await until(() => shown().length === 1);
  assert.deepEqual(shown(), [address]);
  api.update(ingresses, 'default/web', { spec: { ingressClassName: 'of-another' } });
  await until(() => shown().length === 0);
});
