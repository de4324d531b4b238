import type { PersistentVolumeClaim, Pod } from './gen/core-v1.ts';

/** A claim that a Pod uses: one that it names, or one that is made for it alone by a generic ephemeral volume. */
export type PodClaim = {
  readonly volumeName: string;
  readonly claimName: string;
  readonly isEphemeral: boolean;
};

export function podClaims({ metadata, spec }: Pod): readonly PodClaim[] {
  return (spec?.volumes ?? []).flatMap(
    ({ name: volumeName, persistentVolumeClaim, ephemeral }): readonly PodClaim[] => {
      if (persistentVolumeClaim !== undefined)
        return [{ volumeName, claimName: persistentVolumeClaim.claimName, isEphemeral: false }];
      if (ephemeral === undefined) return [];
      return [{ volumeName, claimName: `${metadata?.name ?? ''}-${volumeName}`, isEphemeral: true }];
    },
  );
}

/**
 * Why the Pod must not use a claim of the name that its ephemeral volume has, in Kubernetes' words: somebody else's data
 * may be in it. Undefined: it was made for this Pod.
 */
export function foreignClaimProblem(pod: Pod, { metadata }: PersistentVolumeClaim): string | undefined {
  const { namespace, name, uid } = pod.metadata ?? {};
  const isOurs = metadata?.ownerReferences?.some((owner) => owner.controller === true && owner.uid === uid);
  if (isOurs === true) return undefined;
  return `PVC ${namespace}/${metadata?.name} was not created for pod ${namespace}/${name} (pod is not owner)`;
}
