import type { PersistentVolume, PersistentVolumeClaim } from '../../api/gen/core-v1.ts';
import type { StorageClass } from '../../api/gen/storage-v1.ts';
import { matchesSelector } from '../../control/selector.ts';
import { quantityValue } from '../scheduler/quantity.ts';

/** The volume that a claim is to have; undefined: none fits. By name where the claim names one, else the smallest fit. */
export function findVolume(
  claim: PersistentVolumeClaim,
  volumes: Iterable<PersistentVolume>,
): PersistentVolume | undefined {
  const { namespace, name, uid } = claim.metadata ?? {};
  let best: PersistentVolume | undefined;
  for (const volume of volumes) {
    const reference = volume.spec?.claimRef;
    const reserved = reference?.namespace === namespace && reference?.name === name;
    if (reference !== undefined && !reserved) continue;
    if (reserved && reference?.uid !== undefined && reference.uid !== uid) continue; // of an earlier claim
    if (!fits(claim, volume)) continue;
    if (reserved) return volume;
    if (best === undefined || sizeOf(volume) < sizeOf(best)) best = volume;
  }
  return best;
}

function sizeOf(volume: PersistentVolume): number {
  return quantityValue(volume.spec?.capacity?.['storage']);
}

function fits({ spec }: PersistentVolumeClaim, volume: PersistentVolume): boolean {
  if (volume.metadata?.deletionTimestamp !== undefined) return false;
  if (spec?.volumeName !== undefined && spec.volumeName !== '')
    return spec.volumeName === volume.metadata?.name;
  if ((spec?.storageClassName ?? '') !== (volume.spec?.storageClassName ?? '')) return false;
  if ((spec?.volumeMode ?? 'Filesystem') !== (volume.spec?.volumeMode ?? 'Filesystem')) return false;
  const modes = volume.spec?.accessModes ?? [];
  if (spec?.accessModes?.every((mode) => modes.includes(mode)) === false) return false;
  if (spec?.selector !== undefined && !matchesSelector(spec.selector, volume.metadata?.labels)) return false;
  return sizeOf(volume) >= quantityValue(spec?.resources?.requests?.['storage']);
}

/** The merge patch that keeps a volume for a claim; refused where the volume has changed meanwhile. */
export function reservation(claim: PersistentVolumeClaim, volume: PersistentVolume): object {
  const { namespace, name, uid, resourceVersion } = claim.metadata ?? {};
  const claimRef = { kind: 'PersistentVolumeClaim', apiVersion: 'v1', namespace, name, uid, resourceVersion };
  return { metadata: { resourceVersion: volume.metadata?.resourceVersion }, spec: { claimRef } };
}

export type VolumeState = {
  readonly phase: 'Available' | 'Bound' | 'Released' | 'Failed';
  /** Null takes an earlier one away. */
  readonly message: string | null;
  /** Reason of the Event that tells of a failure. */
  readonly event?: string;
};

/** Set by whoever provisioned the volume, who is then the one to delete it. */
const provisionedBy = 'pv.kubernetes.io/provisioned-by';

/** How a volume is; `claim` is the one of the name that its claimRef has. */
export function stateOf(volume: PersistentVolume, claim: PersistentVolumeClaim | undefined): VolumeState {
  const { claimRef, persistentVolumeReclaimPolicy: policy } = volume.spec ?? {};
  if (claimRef?.uid === undefined) return { phase: 'Available', message: null };
  if (claim?.metadata?.uid === claimRef.uid) return { phase: 'Bound', message: null };
  const isForeign = volume.metadata?.annotations?.[provisionedBy] !== undefined;
  if (policy === 'Delete' && !isForeign) {
    const message = `error getting deleter volume plugin for volume ${JSON.stringify(volume.metadata?.name)}: no deletable volume plugin matched`;
    return { phase: 'Failed', message, event: 'VolumeFailedDelete' };
  }
  if (policy === 'Recycle') {
    const message = 'No recycler plugin found for the volume!';
    return { phase: 'Failed', message, event: 'VolumeFailedRecycle' };
  }
  return { phase: 'Released', message: null };
}

/** The volumes that a claim may get now: one that waits for its Pod only those that were kept for it. */
export function eligibleVolumes(
  claim: PersistentVolumeClaim,
  volumes: Iterable<PersistentVolume>,
  storageClass: StorageClass | undefined,
): readonly PersistentVolume[] {
  const all = [...volumes];
  const isNamed = (claim.spec?.volumeName ?? '') !== '';
  if (storageClass?.volumeBindingMode !== 'WaitForFirstConsumer' || isNamed) return all;
  const { namespace, name } = claim.metadata ?? {};
  return all.filter(({ spec }) => spec?.claimRef?.namespace === namespace && spec?.claimRef?.name === name);
}

/** What becomes of a claim that no volume fits: who is waited for, with the Event that says so. */
export type Waiting = {
  readonly reason: 'FailedBinding' | 'WaitForFirstConsumer' | 'ExternalProvisioning';
  readonly message: string;
  /** Who is asked for a volume. */
  readonly provisioner?: string;
};

/** Marks a claim for whoever provisions its volume: on this node. Name is Kubernetes'. */
export const selectedNodeAnnotation = 'volume.kubernetes.io/selected-node';
/** The provisioner of classes whose volumes are made by hand. */
export const noProvisioner = 'kubernetes.io/no-provisioner';

export function waitingOf(claim: PersistentVolumeClaim, storageClass: StorageClass | undefined): Waiting {
  const isSelected = claim.metadata?.annotations?.[selectedNodeAnnotation] !== undefined;
  if (storageClass?.volumeBindingMode === 'WaitForFirstConsumer' && !isSelected) {
    const message = 'waiting for first consumer to be created before binding';
    return { reason: 'WaitForFirstConsumer', message };
  }
  const provisioner = storageClass?.provisioner ?? noProvisioner;
  if (provisioner !== noProvisioner) {
    const message = `Waiting for a volume to be created either by the external provisioner '${provisioner}' or manually by the system administrator. If volume creation is delayed, please verify that the provisioner is running and correctly registered.`;
    return { reason: 'ExternalProvisioning', message, provisioner };
  }
  const message =
    'no persistent volumes available for this claim: this cluster provisions none, so make a PersistentVolume that fits it';
  return { reason: 'FailedBinding', message };
}
