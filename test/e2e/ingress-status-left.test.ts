import assert from 'node:assert/strict';
import { test } from 'node:test';
import { events, ingressClasses, ingresses, services } from '../../src/api/resource.ts';
import { FakeApi } from '../support/fake-api.ts';
import { hostRule, ingress, seedWeb, service, startIngress, until } from './ingress-harness.ts';

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

test('an Ingress whose class is deleted is told so, and one that is deleted with it is not', {
  timeout: 300_000,
}, async (t) => {
  const api = new FakeApi();
  seedWeb(api, []);
  api.seed(ingressClasses, { metadata: { name: 'second' }, spec: { controller: 'fairlead.dev/ingress' } });
  api.seed(services, {
    ...service('published'),
    status: { loadBalancer: { ingress: [{ ip: '192.0.2.7' }] } },
  });
  const inSecond = { ingressClassName: 'second', rules: [hostRule('b.example', 'web')] };
  api.seed(ingresses, ingress('stays', inSecond), ingress('goes', inSecond));
  await startIngress(t, api, { publishService: { namespace: 'default', name: 'published' } });
  const shown = () => api.find(ingresses, 'default/stays')?.status?.loadBalancer?.ingress ?? [];
  await until(() => shown().length === 1);
  api.remove(ingresses, 'default/goes');
  api.remove(ingressClasses, 'second');
  await until(() => shown().length === 0);
  const told = () => api.objects(events).filter(({ reason }) => reason === 'IngressClassNotFound');
  await until(() => told().length > 0);
  assert.deepEqual(
    told().map(({ involvedObject, message }) => [involvedObject.name, message]),
    [['stays', 'spec.ingressClassName: there is no IngressClass second, so it is not served']],
  );
});
