import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Job } from '../api/gen/batch-v1.ts';
import type { Pod } from '../api/gen/core-v1.ts';
import { jobs } from '../api/resource.ts';
import { adoptionPatch, controllerReference, planClaims, releasePatch } from './ownership.ts';

const job: Job = { metadata: { name: 'sum', uid: 'u' } };
const selector = { matchLabels: { job: 'sum' } };
const reference = controllerReference(jobs, job);
const held = 'example.com/held';
const meta = { name: 'p', uid: 'p1', resourceVersion: '7' };
const versioned = { uid: 'p1', resourceVersion: '7' };

test('a Pod that loses its labels is released, and adopted again when they come back', () => {
  const owned: Pod = { metadata: { ...meta, labels: { job: 'sum' }, ownerReferences: [reference] } };
  const bare: Pod = { metadata: { ...meta, ownerReferences: [reference] } };
  const orphan: Pod = { metadata: { ...meta, labels: { job: 'sum' } } };
  assert.deepEqual(planClaims(job, selector, [owned]), { owned: [owned], adopt: [], release: [] });
  assert.deepEqual(planClaims(job, selector, [bare]), { owned: [], adopt: [], release: [bare] });
  assert.deepEqual(planClaims(job, selector, [orphan]), { owned: [], adopt: [orphan], release: [] });
});

test('a Pod that its Job released kept the finalizer of the Job and could never be deleted', () => {
  const pod: Pod = { metadata: { ...meta, ownerReferences: [reference], finalizers: [held, 'a.b/other'] } };
  assert.deepEqual(releasePatch(pod, 'u', held), {
    metadata: { ...versioned, ownerReferences: null, finalizers: ['a.b/other'] },
  });
  assert.deepEqual(releasePatch(pod, 'u'), { metadata: { ...versioned, ownerReferences: null } });
});

test('an adopted Pod is held by the finalizer of its owner', () => {
  const pod: Pod = { metadata: { ...meta, finalizers: ['a.b/other'] } };
  assert.deepEqual(adoptionPatch(pod, reference, held), {
    metadata: { ...versioned, ownerReferences: [reference], finalizers: ['a.b/other', held] },
  });
  assert.deepEqual(adoptionPatch(pod, reference), {
    metadata: { ...versioned, ownerReferences: [reference] },
  });
});
