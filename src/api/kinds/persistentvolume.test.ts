import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { JsonObject } from '../object.ts';
import { persistentVolumeKind } from './persistentvolume.ts';

const base = { accessModes: ['ReadWriteOnce'], capacity: { storage: '1Gi' } };
const where = { key: 'kubernetes.io/hostname', operator: 'In', values: ['n1'] };
const nodeAffinity = { required: { nodeSelectorTerms: [{ matchExpressions: [where] }] } };

function volume(spec: JsonObject): JsonObject {
  const made: JsonObject = { metadata: { name: 'v' }, spec: { ...base, ...structuredClone(spec) } };
  persistentVolumeKind.setDefaults?.(made);
  return made;
}

const cases: readonly {
  readonly name: string;
  readonly spec: JsonObject;
  readonly want: readonly string[];
}[] = [
  { name: 'a local one', spec: { local: { path: '/disk' }, nodeAffinity }, want: [] },
  {
    name: 'a local one that is nowhere',
    spec: { local: { path: '/a/../b' } },
    want: [
      'spec.local.path: Invalid value: "/a/../b": must not contain \'..\'',
      'spec.nodeAffinity: Required value: Local volume requires node affinity',
    ],
  },
  {
    name: 'sources that say nothing',
    spec: { hostPath: { path: '' } },
    want: ['spec.hostPath.path: Required value'],
  },
  {
    name: 'a driver without a handle',
    spec: { csi: { driver: 'example.com' } },
    want: ['spec.csi.volumeHandle: Required value'],
  },
  {
    name: 'an affinity without terms',
    spec: {
      hostPath: { path: '/a' },
      nodeAffinity: { required: { nodeSelectorTerms: [] } },
      volumeMode: 'Tape',
    },
    want: [
      'spec.nodeAffinity.required.nodeSelectorTerms: Required value: must have at least one node selector term',
      'spec.volumeMode: Unsupported value: "Tape": supported values: "Block", "Filesystem"',
    ],
  },
];

for (const { name, spec, want } of cases) {
  test(`persistent volume: ${name}`, () => {
    const errors = persistentVolumeKind.validate?.(volume(spec)) ?? [];
    assert.deepEqual(
      errors.map(({ field, message }) => `${field}: ${message}`),
      want,
    );
  });
}

for (const { name, after, want } of [
  { name: 'a claim', after: { claimRef: { name: 'c' } }, want: [] },
  { name: 'a place', after: { local: { path: '/other' } }, want: ['spec.persistentvolumesource'] },
  {
    name: 'a kind',
    after: { local: undefined, hostPath: { path: '/disk' } },
    want: ['spec.persistentvolumesource'],
  },
  { name: 'its nodes', after: { nodeAffinity: undefined }, want: ['spec.nodeAffinity'] },
]) {
  test(`persistent volume: what an update may change, ${name}`, () => {
    const old = volume({ local: { path: '/disk' }, nodeAffinity });
    const now = volume({ local: { path: '/disk' }, nodeAffinity, ...(after as JsonObject) });
    const errors = persistentVolumeKind.validateUpdate?.(now, old) ?? [];
    assert.deepEqual(
      errors.map(({ field }) => field),
      want,
    );
  });
}

test('persistent volume: one that was accepted once keeps its status written', () => {
  const old = volume({ local: { path: '/disk' } });
  assert.deepEqual(persistentVolumeKind.validate?.({ ...old, status: { phase: 'Bound' } }, old), []);
});
