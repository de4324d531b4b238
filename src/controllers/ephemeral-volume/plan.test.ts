import assert from 'node:assert/strict';
import { test } from 'node:test';
import { foreignClaimProblem } from '../../api/pod-claims.ts';
import { plannedClaims } from './plan.ts';

const spec = { accessModes: ['ReadWriteOnce'], resources: { requests: { storage: '1Gi' } } };
const pod = {
  metadata: { name: 'web', namespace: 'default', uid: 'u1' },
  spec: {
    containers: [],
    volumes: [
      { name: 'kept', persistentVolumeClaim: { claimName: 'kept' } },
      { name: 'scratch', ephemeral: { volumeClaimTemplate: { metadata: { labels: { a: 'b' } }, spec } } },
    ],
  },
};

test('ephemeral volumes: each gets a claim that is named and owned by its Pod', () => {
  const [claim, ...others] = plannedClaims(pod);
  assert.deepEqual(others, []);
  assert.deepEqual([claim?.metadata?.name, claim?.metadata?.labels], ['web-scratch', { a: 'b' }]);
  assert.deepEqual(claim?.spec, spec);
  assert.equal(foreignClaimProblem(pod, claim ?? {}), undefined);
});

test('ephemeral volumes: a claim that was there before, or of an earlier Pod, is not used', () => {
  const claim = plannedClaims({ ...pod, metadata: { ...pod.metadata, uid: 'u0' } })[0] ?? {};
  const problem = 'PVC default/web-scratch was not created for pod default/web (pod is not owner)';
  assert.equal(foreignClaimProblem(pod, claim), problem);
  assert.equal(foreignClaimProblem(pod, { metadata: { name: 'web-scratch' } }), problem);
});
