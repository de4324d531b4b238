import assert from 'node:assert/strict';
import { test } from 'node:test';
import { kindsOfDefinition } from './kind.ts';

test('custom kinds: a deprecated version says so, in its own words where it has some', () => {
  const schema = { openAPIV3Schema: { type: 'object' } };
  const version = { served: true, storage: false, schema };
  const kinds = kindsOfDefinition({
    spec: {
      group: 'example.com',
      scope: 'Namespaced',
      names: { kind: 'Boat', plural: 'boats', singular: 'boat' },
      versions: [
        { ...version, name: 'v1', storage: true },
        { ...version, name: 'v1beta1', deprecated: true },
        { ...version, name: 'v1alpha1', deprecated: true, deprecationWarning: 'sail with v1' },
      ],
    },
  });
  assert.deepEqual(
    kinds.map((kind) => [kind.version, kind.deprecated]),
    [
      ['v1', undefined],
      ['v1beta1', 'example.com/v1beta1 Boat is deprecated'],
      ['v1alpha1', 'sail with v1'],
    ],
  );
});

test('custom kinds: unknown fields are told of metadata, of the object and of those embedded in it', () => {
  const template = { type: 'object', 'x-kubernetes-embedded-resource': true, properties: {} };
  const schema = {
    openAPIV3Schema: {
      type: 'object',
      properties: { spec: { type: 'object', properties: { template } } },
    },
  };
  const [kind] = kindsOfDefinition({
    spec: {
      group: 'example.com',
      scope: 'Namespaced',
      names: { kind: 'Boat', plural: 'boats', singular: 'boat' },
      versions: [{ name: 'v1', served: true, storage: true, schema }],
    },
  });
  const metadata = { name: 'a', owner: 'me' };
  const structure = kind?.structure?.({ metadata, spec: { template: { kind: 'Oar', metadata } } });
  assert.deepEqual(structure?.unknownFields, ['metadata.owner', 'spec.template.metadata.owner']);
  assert.deepEqual(structure?.pruned, {
    metadata: { name: 'a' },
    spec: { template: { kind: 'Oar', metadata: { name: 'a' } } },
  });
});
