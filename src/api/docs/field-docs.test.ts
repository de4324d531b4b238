import assert from 'node:assert/strict';
import { test } from 'node:test';
import { typeNode } from '../schema.ts';
import { describeField, documentedTypes } from './field-docs.ts';

test('field docs: every text is of a type and a field that exist, and is a sentence', () => {
  for (const [typeName, fields] of Object.entries(documentedTypes())) {
    const node = typeNode(typeName);
    assert.ok(node !== undefined, `${typeName} is no type`);
    for (const [field, text] of Object.entries(fields)) {
      assert.ok(field === '' || node.fields.has(field), `${typeName} has no field ${field}`);
      assert.match(text, /^[A-Z*].*\.$/s, `${typeName}.${field}: ${text}`);
    }
  }
});

test('field docs: the types that people ask for have a text for every field', () => {
  for (const typeName of [
    'meta/v1.ObjectMeta',
    'core/v1.ServiceSpec',
    'core/v1.ServicePort',
    'apps/v1.DeploymentSpec',
    'networking/v1.IngressSpec',
    'networking/v1.HTTPIngressPath',
    'core/v1.Probe',
    'core/v1.ContainerPort',
    'core/v1.EnvVar',
  ]) {
    const without = [...(typeNode(typeName)?.fields.keys() ?? [])].filter(
      (field) => describeField(typeName, field, false) === undefined,
    );
    assert.deepEqual(without, [], typeName);
  }
});
