import assert from 'node:assert/strict';
import { chmod, mkdir, mkdtemp, rm, stat, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { FakeApi } from '../../test/support/fake-api.ts';
import type { PersistentVolume, PersistentVolumeClaim, PersistentVolumeSpec } from '../api/gen/core-v1.ts';
import { fetchClaimedVolumes, locateClaim, prepareLocalVolume } from './claimed-volumes.ts';
import { persistentVolumeClaims, persistentVolumes } from '../api/resource.ts';
import { MountError } from './config-error.ts';

const claim: PersistentVolumeClaim = {
  metadata: { name: 'data', uid: 'u1' },
  spec: { volumeName: 'disk' },
  status: { phase: 'Bound' },
};
function volume(spec: PersistentVolumeSpec): PersistentVolume {
  return { metadata: { name: 'disk' }, spec: { claimRef: { uid: 'u1' }, ...spec } };
}

test('claim: a hostPath and a local volume are found', () => {
  assert.deepEqual(locateClaim(claim, volume({ hostPath: { path: '/srv', type: '' } })), {
    kind: 'hostPath',
    source: { path: '/srv', type: '' },
  });
  assert.deepEqual(locateClaim(claim, volume({ local: { path: '/mnt/a' } })), {
    kind: 'local',
    path: '/mnt/a',
  });
});

test('claim: one of an ephemeral volume is used by the Pod that it was made for', async () => {
  const api = new FakeApi();
  const pod = {
    metadata: { name: 'web', namespace: 'default', uid: 'u2' },
    spec: { containers: [], volumes: [{ name: 'scratch', ephemeral: {} }] },
  };
  const owner = { apiVersion: 'v1', kind: 'Pod', name: 'web', uid: 'u2', controller: true };
  const metadata = { name: 'web-scratch', namespace: 'default', uid: 'u1', ownerReferences: [owner] };
  api.seed(persistentVolumeClaims, { ...claim, metadata });
  api.seed(persistentVolumes, volume({ local: { path: '/mnt/a' } }));
  const { signal } = new AbortController();
  assert.deepEqual(
    [...(await fetchClaimedVolumes(api, pod, signal))],
    [['scratch', { kind: 'local', path: '/mnt/a' }]],
  );
  const another = { ...pod, metadata: { ...pod.metadata, uid: 'u3' } };
  await assert.rejects(fetchClaimedVolumes(api, another, signal), /was not created for pod default\/web/);
});

for (const { name, of = claim, with: held, want } of [
  {
    name: 'not bound',
    of: { ...claim, status: { phase: 'Pending' } },
    with: volume({}),
    want: /"data" is not bound$/,
  },
  { name: 'without a volume', with: undefined, want: /"data" is not bound$/ },
  {
    name: 'being deleted',
    of: { ...claim, metadata: { ...claim.metadata, deletionTimestamp: '2026-01-01T00:00:00Z' } },
    with: volume({}),
    want: /"data" is being deleted/,
  },
  {
    name: 'of the same name as an earlier one',
    with: volume({ claimRef: { uid: 'u0' } }),
    want: /not bound to volume disk/,
  },
  {
    name: 'of a block device',
    with: volume({ volumeMode: 'Block', local: { path: '/dev/x' } }),
    want: /volumeMode Block/,
  },
  {
    name: 'of another kind',
    with: volume({ capacity: { storage: '1Gi' }, nfs: { server: '10.0.0.1', path: '/' } }),
    want: /"disk" is of kind nfs, which this node does not support/,
  },
] satisfies readonly {
  name: string;
  of?: PersistentVolumeClaim;
  with: PersistentVolume | undefined;
  want: RegExp;
}[]) {
  test(`claim: refused when ${name}`, () => {
    assert.throws(
      () => locateClaim(of, held),
      (error) => error instanceof MountError && want.test(error.message),
    );
  });
}

const group = process.getgid?.() ?? 0;
const podOf = (policy?: string) => ({
  spec: { containers: [], securityContext: { fsGroup: group, fsGroupChangePolicy: policy } },
});

test('local volume: files are given to the fsGroup; OnRootMismatch stops at a root that has it', async (t) => {
  const dir = await mkdtemp(join(tmpdir(), 'fairlead-local-'));
  t.after(() => rm(dir, { recursive: true }));
  await chmod(dir, 0o700);
  await mkdir(join(dir, 'sub'), { mode: 0o700 });
  const file = join(dir, 'sub', 'file');
  await writeFile(file, '', { mode: 0o600 });
  await symlink('/nowhere', join(dir, 'link'));
  const modes = async () =>
    Promise.all(
      [dir, join(dir, 'sub'), file].map(async (path) => ((await stat(path)).mode & 0o7777).toString(8)),
    );
  await prepareLocalVolume(podOf('OnRootMismatch'), dir);
  assert.deepEqual(await modes(), ['2770', '2770', '660']);
  await chmod(file, 0o600);
  await prepareLocalVolume(podOf('OnRootMismatch'), dir);
  assert.deepEqual(await modes(), ['2770', '2770', '600']);
  await prepareLocalVolume(podOf(), dir);
  assert.deepEqual(await modes(), ['2770', '2770', '660']);
});

test('local volume: one that is not there is never made', async (t) => {
  const dir = await mkdtemp(join(tmpdir(), 'fairlead-local-'));
  t.after(() => rm(dir, { recursive: true }));
  await writeFile(join(dir, 'file'), '');
  await assert.rejects(prepareLocalVolume(podOf(), join(dir, 'none')), /does not exist/);
  await assert.rejects(prepareLocalVolume(podOf(), join(dir, 'file')), /is not a directory/);
});
