import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { JsonObject } from '../object.ts';
import { defineKind } from './define.ts';
import { deploymentKind } from './deployment.ts';

const fields = (errors: readonly { readonly field: string }[] | undefined): readonly string[] =>
  (errors ?? []).map(({ field }) => field);

/** As an older server may have stored it. */
const stored: JsonObject = {
  metadata: { name: 'web', namespace: 'default', labels: { app: 'web' } },
  spec: { replicas: -1 },
};

test('what was stored before a rule was made: its status and metadata can be written, its spec is to be mended', () => {
  const labelled = { ...stored, metadata: { name: 'web', namespace: 'default', finalizers: [] } };
  const counted = { ...stored, status: { replicas: 3 } };
  const scaled = { ...stored, spec: { replicas: -2 } };
  assert.deepEqual(fields(deploymentKind.validate?.(labelled, stored)), []);
  assert.deepEqual(fields(deploymentKind.validateStatus?.(counted, stored)), []);
  assert.ok(fields(deploymentKind.validate?.(stored)).includes('spec.replicas'));
  assert.ok(fields(deploymentKind.validate?.(scaled, stored)).includes('spec.replicas'));
});

test('metadata is checked whatever is written; annotations may mean something to a kind', () => {
  const labels = { app: 'no label value!' };
  const wrong = { ...stored, metadata: { name: 'web', namespace: 'default', labels } };
  assert.deepEqual(fields(deploymentKind.validate?.(wrong, stored)), ['metadata.labels']);
  assert.deepEqual(fields(deploymentKind.validateStatus?.(wrong, stored)), ['metadata.labels']);
  const annotated = { ...stored, metadata: { name: 'web', namespace: 'default', annotations: { a: 'b' } } };
  assert.ok(fields(deploymentKind.validate?.(annotated, stored)).includes('spec.replicas'));
});

test('a kind without a status subresource: a changed status is a change', () => {
  const kind = defineKind({
    group: 'example.com',
    version: 'v1',
    kind: 'Plain',
    plural: 'plains',
    namespaced: true,
    schema: 'example.com/v1.Plain',
    validate: () => [{ type: 'FieldValueInvalid', field: 'status', message: 'seen' }],
  });
  assert.deepEqual(fields(kind.validate?.({ ...stored }, stored)), []);
  assert.deepEqual(fields(kind.validate?.({ ...stored, status: 1 }, stored)), ['status']);
});
