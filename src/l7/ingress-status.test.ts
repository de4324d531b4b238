import assert from 'node:assert/strict';
import { test } from 'node:test';
import { planStatus, publishedAddresses } from './ingress-status.ts';

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
