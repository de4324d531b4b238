import type { Node, PersistentVolume, PersistentVolumeClaim } from '../../api/gen/core-v1.ts';
import type { StorageClass } from '../../api/gen/storage-v1.ts';
import { keyOf, type ObjectKey } from '../../api/object.ts';
import { findVolume, noProvisioner, selectedNodeAnnotation } from '../volume-binder/plan.ts';
import { isReachable } from './volume-reach.ts';

/** Claims of StorageClasses whose volumeBindingMode is WaitForFirstConsumer get their volumes with their Pod's node. */

/** One claim and what it is to get: a volume that is there, or one that its class's provisioner makes on the node. */
export type VolumeChoice = {
  readonly claim: PersistentVolumeClaim;
  readonly volume: PersistentVolume | undefined;
};

export type DelayedClaim = { readonly claim: PersistentVolumeClaim; readonly storageClass: StorageClass };

/** True for a claim that nobody binds before a Pod that uses it is placed. */
export function isDelayed(claim: PersistentVolumeClaim, storageClass: StorageClass | undefined): boolean {
  return storageClass?.volumeBindingMode === 'WaitForFirstConsumer' && (claim.spec?.volumeName ?? '') === '';
}

/**
 * Volumes for all of a Pod's delayed claims on one node; undefined where there are none. `promised` tells for whom a
 * volume is kept whose own copy does not show it yet.
 */
export function chooseVolumes(
  node: Node,
  delayed: readonly DelayedClaim[],
  volumes: readonly PersistentVolume[],
  promised: (volumeName: string) => ObjectKey | undefined,
): readonly VolumeChoice[] | undefined {
  const taken = new Set<string>();
  const choices: VolumeChoice[] = [];
  for (const { claim, storageClass } of delayed) {
    const usable = volumes.filter((volume) => {
      const name = volume.metadata?.name ?? '';
      const holder = promised(name) ?? keyOf(claim);
      return !taken.has(name) && holder === keyOf(claim) && isReachable(node, volume);
    });
    const volume = findVolume(claim, usable);
    if (volume === undefined && !canProvision(node, claim, storageClass)) return undefined;
    if (volume !== undefined) taken.add(volume.metadata?.name ?? '');
    choices.push({ claim, volume });
  }
  return choices;
}

function canProvision(node: Node, claim: PersistentVolumeClaim, storageClass: StorageClass): boolean {
  if (storageClass.provisioner === noProvisioner) return false;
  const selected = claim.metadata?.annotations?.[selectedNodeAnnotation];
  if (selected !== undefined && selected !== node.metadata?.name) return false;
  const topologies = storageClass.allowedTopologies ?? [];
  if (topologies.length === 0) return true;
  return topologies.some(({ matchLabelExpressions = [] }) =>
    matchLabelExpressions.every(({ key, values }) => values.includes(node.metadata?.labels?.[key] ?? '')),
  );
}
