import type { LabelSelector, OwnerReference } from '../api/gen/meta-v1.ts';
import type { KubeObject } from '../api/object.ts';
import { apiVersionOf, type Resource } from '../api/resource.ts';
import { matchesSelector } from '../control/selector.ts';

/** The reference of the object's controller; at most one owner may be it. */
export function controllerOf(object: KubeObject): OwnerReference | undefined {
  return object.metadata?.ownerReferences?.find((reference) => reference.controller === true);
}

/** The reference that a controller puts on what it creates. */
export function controllerReference(resource: Resource, owner: KubeObject): OwnerReference {
  return {
    apiVersion: apiVersionOf(resource),
    kind: resource.kind,
    name: owner.metadata?.name ?? '',
    uid: owner.metadata?.uid ?? '',
    controller: true,
    blockOwnerDeletion: true,
  };
}

export type Claims<T> = {
  /** Ours already, and ours to keep. */
  readonly owned: readonly T[];
  /** Nobody's, and the selector wants them. */
  readonly adopt: readonly T[];
  /** Ours, but the selector wants them no more. */
  readonly release: readonly T[];
};

/** Sorts candidates of the owner's namespace by what is to happen to them. An owner on its way out adopts nothing. */
export function planClaims<T extends KubeObject>(
  owner: KubeObject,
  selector: LabelSelector | undefined,
  candidates: Iterable<T>,
): Claims<T> {
  const owned: T[] = [];
  const adopt: T[] = [];
  const release: T[] = [];
  const ownerGoes = owner.metadata?.deletionTimestamp !== undefined;
  for (const candidate of candidates) {
    const controller = controllerOf(candidate);
    const wanted = matchesSelector(selector, candidate.metadata?.labels);
    if (controller !== undefined) {
      if (controller.uid !== owner.metadata?.uid) continue;
      if (wanted || ownerGoes) owned.push(candidate);
      else release.push(candidate);
    } else if (wanted && !ownerGoes && candidate.metadata?.deletionTimestamp === undefined) {
      adopt.push(candidate);
    }
  }
  return { owned, adopt, release };
}

/**
 * A merge patch that makes the reference's owner the controller, and puts on the `finalizer` that it holds its own
 * with, if any. The uid makes it fail if the name was given to a new object.
 */
export function adoptionPatch(object: KubeObject, reference: OwnerReference, finalizer?: string): unknown {
  const { uid, resourceVersion, ownerReferences = [], finalizers = [] } = object.metadata ?? {};
  const held = finalizer === undefined || finalizers.includes(finalizer);
  return {
    metadata: {
      uid,
      resourceVersion,
      ownerReferences: [...ownerReferences, reference],
      ...(held ? {} : { finalizers: [...finalizers, finalizer] }),
    },
  };
}

/** The reverse of `adoptionPatch`: left with the finalizer, the object could never go. */
export function releasePatch(object: KubeObject, ownerUid: string | undefined, finalizer?: string): unknown {
  const { uid, resourceVersion, ownerReferences = [], finalizers = [] } = object.metadata ?? {};
  const rest = ownerReferences.filter((reference) => reference.uid !== ownerUid);
  const others = finalizers.filter((one) => one !== finalizer);
  return {
    metadata: {
      uid,
      resourceVersion,
      ownerReferences: rest.length === 0 ? null : rest,
      ...(others.length === finalizers.length ? {} : { finalizers: others.length === 0 ? null : others }),
    },
  };
}
