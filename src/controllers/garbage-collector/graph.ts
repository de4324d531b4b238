import type { ObjectMeta, OwnerReference } from '../../api/gen/meta-v1.ts';
import type { KubeObject } from '../../api/object.ts';
import type { Resource } from '../../api/resource.ts';

/** What the collector keeps of an object. */
export type Item = {
  readonly resource: Resource;
  readonly namespace: string | undefined;
  readonly name: string;
  readonly uid: string;
  readonly owners: readonly OwnerReference[];
  /** undefined: lives; else how its dependents are to be treated. */
  readonly deletion: 'background' | 'foreground' | 'orphan' | undefined;
};

export const foregroundFinalizer = 'foregroundDeletion';
export const orphanFinalizer = 'orphan';

export function itemOf(resource: Resource, object: KubeObject): Item {
  const { namespace, name = '', uid = '', ownerReferences = [] } = object.metadata ?? {};
  return { resource, namespace, name, uid, owners: ownerReferences, deletion: deletionOf(object.metadata) };
}

function deletionOf(metadata: ObjectMeta | undefined): Item['deletion'] {
  if (metadata?.deletionTimestamp === undefined) return undefined;
  if (metadata.finalizers?.includes(orphanFinalizer) === true) return 'orphan';
  return metadata.finalizers?.includes(foregroundFinalizer) === true ? 'foreground' : 'background';
}

/** All objects of the cluster with who owns whom. Bound: objects; a few hundred bytes each. */
export class OwnerGraph {
  readonly #items = new Map<string, Item>();
  readonly #dependents = new Map<string, Set<string>>(); // owner's uid to uids; owners may be unknown to us

  items(): Iterable<Item> {
    return this.#items.values();
  }

  get(uid: string): Item | undefined {
    return this.#items.get(uid);
  }

  set(item: Item): void {
    const old = this.#items.get(item.uid);
    if (old !== undefined) this.#unlink(old);
    this.#items.set(item.uid, item);
    for (const { uid } of item.owners) {
      const dependents = this.#dependents.get(uid);
      if (dependents === undefined) this.#dependents.set(uid, new Set([item.uid]));
      else dependents.add(item.uid);
    }
  }

  remove(uid: string): void {
    const old = this.#items.get(uid);
    if (old === undefined) return;
    this.#unlink(old);
    this.#items.delete(uid);
  }

  dependentsOf(uid: string): readonly Item[] {
    return [...(this.#dependents.get(uid) ?? [])].flatMap((dependent) => this.#items.get(dependent) ?? []);
  }

  #unlink(item: Item): void {
    for (const { uid } of item.owners) {
      const dependents = this.#dependents.get(uid);
      dependents?.delete(item.uid);
      if (dependents?.size === 0) this.#dependents.delete(uid);
    }
  }
}

/** Of an owner that is referred to: there, going with its dependents first, gone, or nobody can tell. */
export type OwnerState = 'present' | 'awaitsDependents' | 'absent' | 'unknown';

export type Verdict =
  | { readonly kind: 'keep' }
  /** Somebody still owns it: these references lead nowhere and go. */
  | { readonly kind: 'dropReferences'; readonly uids: readonly string[] }
  | {
      readonly kind: 'delete';
      readonly policy: 'Foreground' | 'Background' | 'Orphan';
      /** A dependent waits for its own dependents, maybe for this object: it must not hold up its owners, or nobody goes. */
      readonly unblocks: boolean;
    };

/** What is to become of an object with owners. An object whose owners are unknown is kept: deleting is for ever. */
export function judge(
  item: Item,
  stateOf: (owner: OwnerReference) => OwnerState,
  dependents: readonly Item[],
): Verdict {
  if (item.owners.length === 0 || item.deletion !== undefined) return { kind: 'keep' };
  const states = item.owners.map((owner) => ({ owner, state: stateOf(owner) }));
  const solid = states.filter(({ state }) => state === 'present' || state === 'unknown');
  const rest = states.filter(({ state }) => state === 'absent' || state === 'awaitsDependents');
  if (rest.length === 0) return { kind: 'keep' };
  if (solid.length > 0) return { kind: 'dropReferences', uids: rest.map(({ owner }) => owner.uid) };
  const awaited = rest.some(
    ({ owner, state }) => state === 'awaitsDependents' && owner.blockOwnerDeletion === true,
  );
  if (!awaited || dependents.length === 0) return { kind: 'delete', policy: 'Background', unblocks: false };
  const unblocks = dependents.some(({ deletion }) => deletion === 'foreground');
  return { kind: 'delete', policy: 'Foreground', unblocks };
}
