import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { JsonObject } from '../object.ts';
import { StatusError } from '../status.ts';
import { applyStrategicPatch } from './strategic.ts';

type Case = {
  readonly name: string;
  readonly type?: string;
  readonly from: JsonObject;
  readonly patch: JsonObject;
  readonly want: JsonObject;
};

const podSpec = 'core/v1.PodSpec';

const cases: readonly Case[] = [
  {
    name: 'maps merge and null deletes',
    from: { metadata: { labels: { a: '1', b: '2' } } },
    patch: { metadata: { labels: { b: null, c: '3' } } },
    want: { metadata: { labels: { a: '1', c: '3' } } },
  },
  {
    name: 'containers merge by name, in the order of the patch',
    type: podSpec,
    from: { containers: [{ name: 'a', image: '1', tty: true }] },
    patch: {
      containers: [
        { name: 'b', image: '2' },
        { name: 'a', image: '3' },
      ],
    },
    want: {
      containers: [
        { name: 'b', image: '2' },
        { name: 'a', image: '3', tty: true },
      ],
    },
  },
  {
    name: 'a container that is new comes before those that the patch does not name, as in Kubernetes',
    type: podSpec,
    from: { containers: [{ name: 'a' }, { name: 'b' }] },
    patch: { containers: [{ name: 'c' }] },
    want: { containers: [{ name: 'c' }, { name: 'a' }, { name: 'b' }] },
  },
  {
    name: 'a list without a merge strategy is replaced',
    type: podSpec,
    from: { tolerations: [{ key: 'a' }] },
    patch: { tolerations: [{ key: 'b' }] },
    want: { tolerations: [{ key: 'b' }] },
  },
  {
    name: '$patch delete takes one element out',
    type: podSpec,
    from: { containers: [{ name: 'a' }, { name: 'b' }] },
    patch: { containers: [{ name: 'a', $patch: 'delete' }] },
    want: { containers: [{ name: 'b' }] },
  },
  {
    name: '$patch replace in a list replaces the list',
    type: podSpec,
    from: { containers: [{ name: 'a' }, { name: 'b' }] },
    patch: { containers: [{ $patch: 'replace' }, { name: 'c' }] },
    want: { containers: [{ name: 'c' }] },
  },
  {
    name: '$patch replace in a map replaces the map',
    from: { metadata: { labels: { a: '1' } } },
    patch: { metadata: { labels: { $patch: 'replace', b: '2' } } },
    want: { metadata: { labels: { b: '2' } } },
  },
  {
    name: '$patch delete in a map empties it',
    from: { metadata: { labels: { a: '1' } } },
    patch: { metadata: { labels: { $patch: 'delete' } } },
    want: { metadata: { labels: {} } },
  },
  {
    name: '$setElementOrder orders, and keeps what only the server has beside its neighbour',
    type: podSpec,
    from: { containers: [{ name: 'a' }, { name: 'sidecar' }, { name: 'b' }] },
    patch: {
      '$setElementOrder/containers': [{ name: 'b' }, { name: 'a' }],
      containers: [{ name: 'b', image: 'x' }],
    },
    want: { containers: [{ name: 'sidecar' }, { name: 'b', image: 'x' }, { name: 'a' }] },
  },
  {
    name: '$setElementOrder alone moves elements',
    type: podSpec,
    from: { containers: [{ name: 'a' }, { name: 'b' }] },
    patch: { '$setElementOrder/containers': [{ name: 'b' }, { name: 'a' }] },
    want: { containers: [{ name: 'b' }, { name: 'a' }] },
  },
  {
    name: 'finalizers are a set',
    from: { metadata: { finalizers: ['a', 'b'] } },
    patch: { metadata: { finalizers: ['b', 'c'] } },
    want: { metadata: { finalizers: ['a', 'b', 'c'] } },
  },
  {
    name: '$deleteFromPrimitiveList takes values out of a set',
    from: { metadata: { finalizers: ['a', 'b'] } },
    patch: {
      metadata: { '$deleteFromPrimitiveList/finalizers': ['a'], '$setElementOrder/finalizers': ['b'] },
    },
    want: { metadata: { finalizers: ['b'] } },
  },
  {
    name: '$retainKeys drops the other members of a union',
    type: podSpec,
    from: { volumes: [{ name: 'v', emptyDir: {} }] },
    patch: { volumes: [{ $retainKeys: ['name', 'hostPath'], name: 'v', hostPath: { path: '/x' } }] },
    want: { volumes: [{ name: 'v', hostPath: { path: '/x' } }] },
  },
  {
    name: '$retainKeys on a Deployment’s strategy',
    type: 'apps/v1.Deployment',
    from: { spec: { strategy: { type: 'RollingUpdate', rollingUpdate: { maxSurge: 1 } } } },
    patch: { spec: { strategy: { $retainKeys: ['type'], type: 'Recreate' } } },
    want: { spec: { strategy: { type: 'Recreate' } } },
  },
  {
    name: 'two Service ports of one number are told apart by protocol',
    type: 'core/v1.ServiceSpec',
    from: {
      ports: [
        { port: 53, protocol: 'TCP', name: 't' },
        { port: 53, protocol: 'UDP', name: 'u' },
      ],
    },
    patch: { ports: [{ port: 53, protocol: 'UDP', nodePort: 30053 }] },
    want: {
      ports: [
        { port: 53, protocol: 'TCP', name: 't' },
        { port: 53, protocol: 'UDP', name: 'u', nodePort: 30053 },
      ],
    },
  },
  {
    name: 'directives inside new elements do not stay',
    type: podSpec,
    from: {},
    patch: {
      containers: [
        { name: 'a', '$setElementOrder/ports': [{ containerPort: 1 }], ports: [{ containerPort: 1 }] },
      ],
    },
    want: { containers: [{ name: 'a', ports: [{ containerPort: 1 }] }] },
  },
];

for (const { name, type = 'core/v1.Service', from, patch, want } of cases) {
  test(`strategic merge patch: ${name}`, () => {
    const before = structuredClone(from);
    assert.deepEqual(applyStrategicPatch(type, from, patch), want);
    assert.deepEqual(from, before, 'the document was changed');
  });
}

const refused: readonly { readonly name: string; readonly patch: JsonObject }[] = [
  { name: 'an unknown directive', patch: { $patch: 'explode' } },
  { name: 'an element without its merge key', patch: { containers: [{ image: 'x' }] } },
  { name: 'a $retainKeys that leaves out a patched field', patch: { $retainKeys: ['a'], hostname: 'x' } },
];

for (const { name, patch } of refused) {
  test(`strategic merge patch: ${name} is a bad request`, () => {
    assert.throws(
      () => applyStrategicPatch(podSpec, {}, patch),
      (error) => error instanceof StatusError && error.status.code === 400,
    );
  });
}
