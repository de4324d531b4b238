import type { Pod } from '../../api/gen/core-v1.ts';
import { type KubeObject, type ObjectKey, objectKey } from '../../api/object.ts';
import { podClaims } from '../../api/pod-claims.ts';

/** "namespace/name" of every claim that a Pod uses. Before it has a node it uses none: no node mounts anything for it. */
export function claimsInUse(pod: Pod): readonly ObjectKey[] {
  if ((pod.spec?.nodeName ?? '') === '') return [];
  return podClaims(pod).map(({ claimName }) => objectKey(pod.metadata?.namespace, claimName));
}

/** The finalizers that an object is to have; undefined: those that it has. */
export function wantedFinalizers(
  { metadata }: KubeObject,
  finalizer: string,
  inUse: boolean,
): readonly string[] | undefined {
  const { finalizers = [], deletionTimestamp } = metadata ?? {};
  const has = finalizers.includes(finalizer);
  // What is being deleted gets no new finalizer, and loses ours when nobody uses it any more.
  if (deletionTimestamp === undefined) return has ? undefined : [...finalizers, finalizer];
  return has && !inUse ? finalizers.filter((one) => one !== finalizer) : undefined;
}
