import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { PersistentVolume } from '../../api/gen/core-v1.ts';
import { stateOf } from './plan.ts';

function volume(policy: string, uid?: string, annotations: Readonly<Record<string, string>> = {}) {
  const claimRef = uid === undefined ? {} : { claimRef: { namespace: 'default', name: 'data', uid } };
  return {
    metadata: { name: 'disk', annotations },
    spec: { persistentVolumeReclaimPolicy: policy, ...claimRef },
  } satisfies PersistentVolume;
}

const claim = { metadata: { namespace: 'default', name: 'data', uid: 'u1' } };
const noDeleter = 'error getting deleter volume plugin for volume "disk": no deletable volume plugin matched';

for (const { name, given, of: holder, want } of [
  { name: 'nobody has it', given: volume('Retain'), want: { phase: 'Available', message: null } },
  {
    name: 'its claim is there',
    given: volume('Delete', 'u1'),
    of: claim,
    want: { phase: 'Bound', message: null },
  },
  { name: 'Retain keeps it', given: volume('Retain', 'u1'), want: { phase: 'Released', message: null } },
  {
    name: 'a new claim of the same name is not its claim',
    given: volume('Retain', 'u0'),
    of: claim,
    want: { phase: 'Released', message: null },
  },
  {
    name: 'Delete of what nobody here can delete',
    given: volume('Delete', 'u1'),
    want: { phase: 'Failed', message: noDeleter, event: 'VolumeFailedDelete' },
  },
  {
    name: 'Delete is left to whoever provisioned it',
    given: volume('Delete', 'u1', { 'pv.kubernetes.io/provisioned-by': 'example.org/disks' }),
    want: { phase: 'Released', message: null },
  },
  {
    name: 'Recycle',
    given: volume('Recycle', 'u1'),
    want: {
      phase: 'Failed',
      message: 'No recycler plugin found for the volume!',
      event: 'VolumeFailedRecycle',
    },
  },
]) {
  test(`volume binder: ${name}`, () => assert.deepEqual(stateOf(given, holder), want));
}
