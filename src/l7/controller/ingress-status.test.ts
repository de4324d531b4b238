import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Ingress } from '../../api/gen/networking-v1.ts';
import { planRemoval, planStatus, publishedAddresses } from './ingress-status.ts';

test('l7 status: addresses of the publishing Service, sorted, each once', () => {
  const service = {
    status: {
      loadBalancer: {
        ingress: [{ ip: '10.0.0.2' }, { hostname: 'lb.example' }, { ip: '10.0.0.1' }, { ip: '10.0.0.2' }],
      },
    },
  };
  assert.deepEqual(publishedAddresses(service), [
    { ip: '10.0.0.1' },
    { ip: '10.0.0.2' },
    { hostname: 'lb.example' },
  ]);
  assert.deepEqual(publishedAddresses(undefined), []);
});

test('l7 status: written when it differs, never taken away', () => {
  const one = [{ ip: '10.0.0.1' }];
  const patch = { status: { loadBalancer: { ingress: one } } };
  assert.deepEqual(planStatus({}, one), patch);
  assert.deepEqual(planStatus({ status: { loadBalancer: { ingress: [{ ip: '10.0.0.9' }] } } }, one), patch);
  assert.equal(planStatus(patch, one), undefined);
  assert.equal(planStatus(patch, []), undefined);
});

test('l7 status: an Ingress that is ours no more loses our addresses, and nobody else any', () => {
  const ours = [{ ip: '192.0.2.1' }, { ip: '192.0.2.2', ports: [{ port: 80, protocol: 'TCP' }] }];
  const of = (
    ingress: NonNullable<NonNullable<Ingress['status']>['loadBalancer']>['ingress'] & {},
  ): Ingress => ({
    metadata: { name: 'web', resourceVersion: '7' },
    status: { loadBalancer: { ingress } },
  });
  const left = (rest: unknown) => ({
    metadata: { resourceVersion: '7' },
    status: { loadBalancer: { ingress: rest } },
  });
  assert.deepEqual(planRemoval(of(ours), ours), left([]));
  assert.deepEqual(planRemoval(of([...ours, { ip: '192.0.2.9' }]), ours), left([{ ip: '192.0.2.9' }]));
  assert.equal(planRemoval(of([{ ip: '192.0.2.2' }]), ours), undefined); // other ports: not what we wrote
  assert.equal(planRemoval(of([]), ours), undefined);
  assert.equal(planRemoval(of(ours), []), undefined); // our addresses are not known for a moment
});
