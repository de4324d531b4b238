import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { JsonObject } from './object.ts';
import { kindNamed } from './registry.ts';
import { scaleOf, withScale } from './scale.ts';
import { partialObjectMetadata, partialObjectMetadataList, renderTable } from './table.ts';

const nowMs = Date.parse('2026-01-01T00:05:00Z');
const namespace: JsonObject = {
  apiVersion: 'v1',
  kind: 'Namespace',
  metadata: { name: 'web', creationTimestamp: '2026-01-01T00:00:00Z' },
  status: { phase: 'Active' },
};
const kind = kindNamed('', 'v1', 'Namespace');
assert.ok(kind !== undefined);

test('table: columns, cells and how much of the object each row carries', () => {
  const options = {
    version: 'v1',
    includeObject: 'Metadata',
    nowMs,
    listMeta: { resourceVersion: '7' },
  } as const;
  const table = renderTable(kind, [namespace], options);
  assert.equal(table['apiVersion'], 'meta.k8s.io/v1');
  assert.deepEqual(table['metadata'], { resourceVersion: '7' });
  assert.deepEqual(
    (table['columnDefinitions'] as JsonObject[]).map(({ name, format }) => [name, format]),
    [
      ['Name', 'name'],
      ['Status', ''],
      ['Age', ''],
    ],
  );
  const { apiVersion: _apiVersion, ...partial } = partialObjectMetadata(namespace, 'v1');
  assert.deepEqual(table['rows'], [
    { cells: ['web', 'Active', '5m'], object: { apiVersion: 'meta.k8s.io/v1', ...partial } },
  ]);
  assert.deepEqual(renderTable(kind, [namespace], { ...options, includeObject: 'None' })['rows'], [
    { cells: ['web', 'Active', '5m'] },
  ]);
  assert.deepEqual(renderTable(kind, [namespace], { ...options, includeObject: 'Object' })['rows'], [
    { cells: ['web', 'Active', '5m'], object: namespace },
  ]);
  const later = renderTable(kind, [namespace], { ...options, version: 'v1beta1', withColumns: false });
  assert.deepEqual(later['columnDefinitions'], []);
  assert.equal(later['apiVersion'], 'meta.k8s.io/v1beta1');
});

test('table: lists of metadata', () => {
  assert.deepEqual(partialObjectMetadataList([namespace], { resourceVersion: '7' }, 'v1'), {
    kind: 'PartialObjectMetadataList',
    apiVersion: 'meta.k8s.io/v1',
    metadata: { resourceVersion: '7' },
    items: [{ kind: 'PartialObjectMetadata', apiVersion: 'meta.k8s.io/v1', metadata: namespace['metadata'] }],
  });
});

test('scale: read and written', () => {
  const deployment: JsonObject = {
    metadata: { name: 'web', namespace: 'default', resourceVersion: '5', labels: { a: 'b' } },
    spec: { replicas: 3, selector: { matchLabels: { app: 'web' } } },
    status: { replicas: 2 },
  };
  assert.deepEqual(scaleOf(deployment), {
    kind: 'Scale',
    apiVersion: 'autoscaling/v1',
    metadata: { name: 'web', namespace: 'default', resourceVersion: '5' },
    spec: { replicas: 3 },
    status: { replicas: 2, selector: 'app=web' },
  });
  const scaled = withScale(deployment, { metadata: { resourceVersion: '6' }, spec: { replicas: 0 } });
  assert.deepEqual(
    [scaled['spec'], scaled['metadata']],
    [
      { replicas: 0, selector: { matchLabels: { app: 'web' } } },
      { name: 'web', namespace: 'default', resourceVersion: '6', labels: { a: 'b' } },
    ],
  );
});
