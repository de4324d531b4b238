import type { PersistentVolume, PersistentVolumeClaim } from '../../api/gen/core-v1.ts';
import { persistentVolumeClaims, persistentVolumes } from '../../api/resource.ts';
import type { ApiClient } from '../../client/client.ts';
import { statusPatch } from '../status-patch.ts';
import { reservation } from './plan.ts';

/** Name is Kubernetes'. */
const provisionerAnnotation = 'volume.kubernetes.io/storage-provisioner';

/** Gives the volume to the claim and the claim the volume; may be repeated, whatever was written before. */
export async function bind(
  client: ApiClient,
  claim: PersistentVolumeClaim,
  volume: PersistentVolume,
  signal: AbortSignal,
): Promise<void> {
  const { namespace, name = '', uid } = claim.metadata ?? {};
  const volumeName = volume.metadata?.name ?? '';
  if (volume.spec?.claimRef?.uid !== uid) {
    const body = reservation(claim, volume);
    await client.patch(persistentVolumes, undefined, volumeName, 'merge', body, { signal });
  }
  if (claim.spec?.volumeName !== volumeName) {
    const annotations = { 'pv.kubernetes.io/bind-completed': 'yes' };
    const body = { metadata: { annotations }, spec: { volumeName } };
    await client.patch(persistentVolumeClaims, namespace, name, 'merge', body, { signal });
  }
  const { accessModes, capacity } = volume.spec ?? {};
  const patch = statusPatch(claim.status, { phase: 'Bound', accessModes, capacity });
  if (patch === undefined) return;
  const options = { subresource: 'status', signal };
  await client.patch(persistentVolumeClaims, namespace, name, 'merge', patch, options);
}

/** External provisioners look for their own name on claims. */
export async function askProvisioner(
  client: ApiClient,
  claim: PersistentVolumeClaim,
  provisioner: string,
  signal: AbortSignal,
): Promise<void> {
  const { namespace, name = '', uid, resourceVersion, annotations } = claim.metadata ?? {};
  if (annotations?.[provisionerAnnotation] === provisioner) return;
  const metadata = { uid, resourceVersion, annotations: { [provisionerAnnotation]: provisioner } };
  await client.patch(persistentVolumeClaims, namespace, name, 'merge', { metadata }, { signal });
}
