import assert from 'node:assert/strict';
import { globSync, readFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { test } from 'node:test';
import { schemaTable } from '../src/api/gen/schema.ts';

const root = join(import.meta.dirname, '..');
const text = readFileSync(join(root, 'docs/compatibility.md'), 'utf8');

/** Of the Ingress API, without the types that other kinds share. */
const ingressTypes = [
  ...['Ingress', 'IngressSpec', 'IngressRule', 'HTTPIngressRuleValue', 'HTTPIngressPath', 'IngressBackend'],
  ...['IngressServiceBackend', 'ServiceBackendPort', 'IngressTLS', 'IngressStatus', 'IngressPortStatus'],
  ...['IngressLoadBalancerStatus', 'IngressLoadBalancerIngress', 'IngressClass', 'IngressClassSpec'],
  'IngressClassParametersReference',
] as const;

test('compatibility: every field of the Ingress API has its row, and no row is about a field that there is not', () => {
  const fields = ingressTypes.flatMap((type) => {
    const known = schemaTable[`networking/v1.${type}`];
    assert.ok(known !== undefined, type);
    return Object.keys(known).map((field) => `${type}.${field}`);
  });
  const section = text.slice(text.indexOf('### The Ingress API'), text.indexOf('\n## Services'));
  const rows = section.split('\n').filter((line) => line.startsWith('| `'));
  const told = rows.flatMap((row) =>
    [...(row.split(' | ')[0] ?? '').matchAll(/`(\w+\.\w+)`/g)].map(([, field = '']) => field),
  );
  assert.deepEqual(told.toSorted(), fields.toSorted());
});

test('compatibility: every test that is named exists', () => {
  const tests = new Set(
    globSync('{src,test,scripts,tools}/**/*.test.ts', { cwd: root }).map((path) => basename(path)),
  );
  const named = [...text.matchAll(/[\w/-]+\.test\.ts/g)].map(([path]) => basename(path));
  assert.deepEqual(
    named.filter((name) => !tests.has(name)),
    [],
  );
});
