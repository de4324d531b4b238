import type { PersistentVolume, PersistentVolumeClaim, Pod } from '../../api/gen/core-v1.ts';
import type { StorageClass } from '../../api/gen/storage-v1.ts';
import type { ObjectKey } from '../../api/object.ts';
import { foreignClaimProblem, podClaims } from '../../api/pod-claims.ts';
import { type DelayedClaim, isDelayed } from './delayed-claims.ts';

export type ClaimLookup = {
  claim(namespace: string, name: string): PersistentVolumeClaim | undefined;
  volume(name: string): PersistentVolume | undefined;
  volumes(): readonly PersistentVolume[];
  storageClass(name: string): StorageClass | undefined;
  /** The claim that a volume was reserved for by us, before our own copy shows it. */
  promised(volumeName: string): ObjectKey | undefined;
};

/** What the claims of a Pod ask of its node. */
export type ClaimedPlaces =
  /** No node will do; in Kubernetes' words. */
  | { readonly kind: 'nowhere'; readonly reason: string }
  | {
      readonly kind: 'volumes';
      readonly volumes: readonly PersistentVolume[];
      /** Claims that get their volumes with the node. */
      readonly delayed: readonly DelayedClaim[];
    };

/** The volumes that a Pod's claims are bound to. A Pod waits until all are but those that wait for it. */
export function findClaimedPlaces(pod: Pod, placed: Iterable<Pod>, lookup: ClaimLookup): ClaimedPlaces {
  const namespace = pod.metadata?.namespace ?? 'default';
  const volumes: PersistentVolume[] = [];
  const delayed: DelayedClaim[] = [];
  for (const { claimName: name, isEphemeral } of podClaims(pod)) {
    const quoted = JSON.stringify(name);
    const claim = lookup.claim(namespace, name);
    if (claim === undefined) {
      const maker = 'waiting for ephemeral volume controller to create the persistentvolumeclaim';
      return nowhere(isEphemeral ? `${maker} ${quoted}` : `persistentvolumeclaim ${quoted} not found`);
    }
    const foreign = isEphemeral ? foreignClaimProblem(pod, claim) : undefined;
    if (foreign !== undefined) return nowhere(foreign);
    if (claim.metadata?.deletionTimestamp !== undefined)
      return nowhere(`persistentvolumeclaim ${quoted} is being deleted`);
    const volumeName = claim.spec?.volumeName ?? '';
    const storageClass = lookup.storageClass(claim.spec?.storageClassName ?? '');
    if (storageClass !== undefined && isDelayed(claim, storageClass)) {
      delayed.push({ claim, storageClass });
      continue;
    }
    if (volumeName === '' || claim.status?.phase !== 'Bound')
      return nowhere('pod has unbound immediate PersistentVolumeClaims');
    const volume = lookup.volume(volumeName);
    if (volume === undefined) return nowhere(`persistentvolume ${JSON.stringify(volumeName)} not found`);
    if (claim.spec?.accessModes?.includes('ReadWriteOncePod') === true && isUsed(namespace, name, placed))
      return nowhere(
        'node has pod using PersistentVolumeClaim with the same name and ReadWriteOncePod access mode',
      );
    volumes.push(volume);
  }
  return { kind: 'volumes', volumes, delayed };
}

function nowhere(reason: string): ClaimedPlaces {
  return { kind: 'nowhere', reason };
}

function isUsed(namespace: string, name: string, placed: Iterable<Pod>): boolean {
  for (const other of placed) {
    if (other.metadata?.namespace !== namespace) continue;
    if (podClaims(other).some(({ claimName }) => claimName === name)) return true;
  }
  return false;
}
