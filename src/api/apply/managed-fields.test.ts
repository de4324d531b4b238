import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { isJsonObject, type Json, type JsonObject } from '../object.ts';
import {
  difference,
  emptySet,
  type FieldSet,
  intersection,
  isEmptySet,
  pathTexts,
  union,
} from './field-set.ts';
import { compareObjects, fieldsOfObject } from './fields-of.ts';
import { applyConfiguration, type Manager, managersOf, trackUpdate } from './managed-fields.ts';

const deployment = 'apps/v1.Deployment';

function manager(name: string, operation: Manager['operation'] = 'Apply', subresource = ''): Manager {
  return { name, operation, apiVersion: 'apps/v1', subresource };
}

function apply(live: JsonObject, configuration: JsonObject, name: string, force = false): JsonObject {
  const result = applyConfiguration(deployment, live, configuration, {
    manager: manager(name),
    force,
    time: '2026-01-01T00:00:00Z',
    allowed: emptySet,
  });
  if (result.kind === 'object') return result.object;
  throw new Error(result.conflicts.map(({ manager: who, path }) => `${who.name} ${path}`).join(', '));
}

function update(live: JsonObject, after: JsonObject, name: string, sent?: Json): JsonObject {
  const entries = trackUpdate(deployment, live, after, manager(name, 'Update'), {
    sent,
    created: Object.keys(live).length === 0,
    time: '2026-01-01T00:00:01Z',
  });
  const metadata = isJsonObject(after['metadata']) ? after['metadata'] : {};
  return {
    ...after,
    metadata: { ...metadata, ...(entries === undefined ? {} : { managedFields: entries }) },
  };
}

function containers(...items: JsonObject[]): JsonObject {
  return { template: { spec: { containers: items } } };
}

function config(spec: JsonObject, metadata: JsonObject = {}): JsonObject {
  return { apiVersion: 'apps/v1', kind: 'Deployment', metadata: { name: 'web', ...metadata }, spec };
}

function without(object: JsonObject): JsonObject {
  const { managedFields: _fields, ...metadata } = isJsonObject(object['metadata']) ? object['metadata'] : {};
  return { ...object, metadata };
}

function owned(object: JsonObject, name: string): readonly string[] {
  return managersOf(object)
    .filter((owner) => owner.name === name)
    .flatMap((owner) => pathTexts(owner.fields));
}

test('apply: a configuration is owned field by field, atomic parts whole, keyed elements by key', () => {
  const object = apply(
    {},
    config(
      {
        replicas: 2,
        selector: { matchLabels: { app: 'web' } },
        ...containers({ name: 'web', args: ['a', 'b'], ports: [{ containerPort: 80 }] }),
      },
      { labels: { app: 'web' }, finalizers: ['a/b'] },
    ),
    'me',
  );
  assert.deepEqual(owned(object, 'me'), [
    '.metadata.finalizers[="a/b"]',
    '.metadata.labels.app',
    '.spec.replicas',
    '.spec.selector',
    '.spec.template.spec.containers[name="web"]',
    '.spec.template.spec.containers[name="web"].args',
    '.spec.template.spec.containers[name="web"].name',
    '.spec.template.spec.containers[name="web"].ports[containerPort=80,protocol="TCP"]',
    '.spec.template.spec.containers[name="web"].ports[containerPort=80,protocol="TCP"].containerPort',
  ]);
});

test('apply: another value than the owner’s is a conflict, the same value shares, force takes over', () => {
  const one = apply({}, config({ replicas: 2, paused: true }), 'one');
  assert.throws(() => apply(one, config({ replicas: 3 }), 'two'), /^Error: one \.spec\.replicas$/);
  const shared = apply(one, config({ replicas: 2 }), 'two');
  assert.deepEqual(owned(shared, 'one'), ['.spec.paused', '.spec.replicas']);
  assert.deepEqual(owned(shared, 'two'), ['.spec.replicas']);
  const forced = apply(one, config({ replicas: 3 }), 'two', true);
  assert.deepEqual(owned(forced, 'one'), ['.spec.paused']);
  assert.deepEqual(forced['spec'], { replicas: 3, paused: true });
});

test('apply: what a manager leaves out goes, unless somebody else owns it too', () => {
  const first = apply({}, config({ replicas: 2, paused: true, minReadySeconds: 5 }), 'one');
  const shared = apply(first, config({ paused: true }), 'two');
  const less = apply(shared, config({ replicas: 2 }), 'one');
  assert.deepEqual(less['spec'], { replicas: 2, paused: true });
  assert.deepEqual(owned(less, 'one'), ['.spec.replicas']);
});

test('apply: a removed struct takes the defaults below it along, and an element of a keyed list goes whole', () => {
  const probe = { httpGet: { path: '/', port: 80 } };
  const first = apply(
    {},
    config(containers({ name: 'a', livenessProbe: probe }, { name: 'b', image: 'x' })),
    'one',
  );
  const defaulted = structuredClone(first);
  const spec = defaulted['spec'] as { template: { spec: { containers: JsonObject[] } } };
  Object.assign(spec.template.spec.containers[0]?.['livenessProbe'] as JsonObject, { periodSeconds: 10 });
  Object.assign(spec.template.spec.containers[1] as JsonObject, { imagePullPolicy: 'Always' });
  const less = apply(defaulted, config(containers({ name: 'a' })), 'one');
  assert.deepEqual(less['spec'], containers({ name: 'a' }));
});

test('apply: elements that others added keep their place beside their neighbours', () => {
  const live = update({}, config(containers({ name: 'a' }, { name: 'sidecar' }, { name: 'b' })), 'x');
  const merged = apply(live, config(containers({ name: 'a' }, { name: 'b' }, { name: 'c' })), 'one');
  const spec = merged['spec'] as { template: { spec: { containers: JsonObject[] } } };
  assert.deepEqual(
    spec.template.spec.containers.map((container) => container['name']),
    ['a', 'sidecar', 'b', 'c'],
  );
});

test('apply: a list key by its default is the same element as one that says it', () => {
  const live = update(
    {},
    config(containers({ name: 'a', ports: [{ containerPort: 80, protocol: 'TCP', hostPort: 1 }] })),
    'x',
  );
  const merged = apply(live, config(containers({ name: 'a', ports: [{ containerPort: 80 }] })), 'one');
  assert.deepEqual(
    merged['spec'],
    containers({ name: 'a', ports: [{ containerPort: 80, protocol: 'TCP', hostPort: 1 }] }),
  );
});

test('apply: over an object without records, what was there is before-first-apply’s', () => {
  const live = config({ replicas: 1, paused: true });
  assert.throws(() => apply(live, config({ replicas: 2 }), 'one'), /before-first-apply \.spec\.replicas/);
  assert.deepEqual(owned(apply(live, config({ replicas: 2 }), 'one', true), 'before-first-apply'), [
    '.spec.paused',
  ]);
});

test('apply twice is apply once', () => {
  const once = apply({}, config({ replicas: 2 }), 'one');
  assert.deepEqual(apply(once, config({ replicas: 2 }), 'one'), once);
});

test('update: the writer owns what it changes, and nobody what it removes', () => {
  const made = update({}, config({ replicas: 1, paused: true }, { labels: { a: '1' } }), 'kubectl-create');
  assert.deepEqual(owned(made, 'kubectl-create'), [
    '.metadata.labels',
    '.metadata.labels.a',
    '.spec.paused',
    '.spec.replicas',
  ]);
  const edited = update(made, config({ replicas: 2 }, { labels: { a: '1' } }), 'kubectl-edit');
  assert.deepEqual(owned(edited, 'kubectl-edit'), ['.spec.replicas']);
  assert.deepEqual(owned(edited, 'kubectl-create'), ['.metadata.labels', '.metadata.labels.a']);
});

test('update: a label may be named like a method of objects', () => {
  const made = update({}, config({}, { labels: { a: '1' } }), 'x');
  const edited = update(made, config({}, { labels: { a: '1', constructor: '2' } }), 'y');
  assert.deepEqual(owned(edited, 'y'), ['.metadata.labels.constructor']);
});

test('update: the client’s record counts where it can be read, and one empty entry clears it', () => {
  const made = update({}, config({ replicas: 1 }), 'x');
  const same = config({ replicas: 1 });
  const renamed = [{ manager: 'y', operation: 'Update', fieldsType: 'FieldsV1', fieldsV1: { 'f:spec': {} } }];
  assert.deepEqual(owned(update(made, same, 'z', renamed), 'y'), ['.spec']);
  assert.deepEqual(owned(update(made, same, 'z', [{ operation: 'Odd' }]), 'x'), ['.spec.replicas']);
  assert.deepEqual(owned(update(made, same, 'z', []), 'x'), ['.spec.replicas']);
  assert.deepEqual(managersOf(update(made, same, 'z', [{}])), []);
});

test('update: managers beyond ten are joined', () => {
  let object = update({}, config({ replicas: 1 }), 'first');
  for (let at = 0; at < 15; at++) {
    object = update(
      object,
      {
        ...without(object),
        metadata: {
          ...(object['metadata'] as JsonObject),
          labels: { ...((object['metadata'] as JsonObject)['labels'] as JsonObject), [`l${at}`]: 'x' },
        },
      },
      `m${at}`,
    );
  }
  assert.equal(managersOf(object).length, 10);
  assert.ok(owned(object, 'ancient-changes').includes('.spec.replicas'));
});

/** Random parts of a Deployment, with all list types in it. */
const randomSpec = fc
  .record(
    {
      replicas: fc.integer({ min: 0, max: 3 }),
      paused: fc.boolean(),
      selector: fc.constantFrom<JsonObject>({ matchLabels: { a: '1' } }, { matchLabels: { a: '2', b: '3' } }),
      template: fc.record({
        spec: fc.record(
          {
            nodeSelector: fc.dictionary(fc.constantFrom('a', 'b'), fc.constantFrom('1', '2')),
            containers: fc.uniqueArray(
              fc.record(
                {
                  name: fc.constantFrom('a', 'b', 'c'),
                  image: fc.constantFrom('x', 'y'),
                  args: fc.array(fc.constantFrom('1', '2'), { maxLength: 2 }),
                  env: fc.uniqueArray(
                    fc.record({ name: fc.constantFrom('e', 'f'), value: fc.constant('v') }),
                    {
                      selector: (item) => item.name,
                    },
                  ),
                },
                { requiredKeys: ['name'] },
              ),
              { selector: (item) => item.name },
            ),
          },
          { requiredKeys: [] },
        ),
      }),
    },
    { requiredKeys: [] },
  )
  .map((value) => JSON.parse(JSON.stringify(value)) as JsonObject); // with ordinary prototypes

test('apply: whatever was there, the configuration is in the result and its manager owns exactly it', () => {
  fc.assert(
    fc.property(randomSpec, randomSpec, randomSpec, (made, before, spec) => {
      const live = apply(update({}, config(made), 'maker'), config(before), 'me', true);
      const result = apply(live, config(spec), 'me', true);
      assert.deepEqual(owned(result, 'me'), pathTexts(fieldsOfObject(deployment, config(spec))), 'owned');
      const again = apply(result, config(spec), 'me', false);
      assert.deepEqual(again, result, 'a second time changes nothing');
      assert.deepEqual(pathTexts(compareObjects(deployment, result, again).changed), []);
    }),
  );
});

function setOf(spec: JsonObject): FieldSet {
  return fieldsOfObject(deployment, config(spec));
}

test('field sets: union, difference and intersection agree with sets of paths', () => {
  fc.assert(
    fc.property(randomSpec, randomSpec, (left, right) => {
      const [a, b] = [setOf(left), setOf(right)];
      const [pathsA, pathsB] = [new Set(pathTexts(a)), new Set(pathTexts(b))];
      assert.deepEqual(new Set(pathTexts(union(a, b))), pathsA.union(pathsB));
      assert.deepEqual(new Set(pathTexts(difference(a, b))), pathsA.difference(pathsB));
      assert.deepEqual(new Set(pathTexts(intersection(a, b))), pathsA.intersection(pathsB));
      assert.ok(isEmptySet(difference(a, a)));
    }),
  );
});
