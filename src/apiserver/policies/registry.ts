import {
  compileBinding,
  compileMutatingPolicy,
  compilePolicy,
  type MutatingPolicy,
  type Policy,
  type PolicyBinding,
} from '../../api/admission/policy.ts';
import type { JsonObject } from '../../api/object.ts';
import type { Entry, Store } from '../../store/store.ts';
import { parseEntry } from '../objects.ts';

/** A policy together with a binding that puts it to use. */
export type Bound<P extends Policy = Policy> = { readonly policy: P; readonly binding: PolicyBinding };

export type PolicyRegistry = {
  /** By the name of the policy, then of the binding. The same lists until one of them changes. */
  readonly validating: readonly Bound[];
  readonly mutating: readonly Bound<MutatingPolicy>[];
  stop(): void;
};

const prefix = 'admissionregistration.k8s.io/';

/** Follows policies and bindings in the store: they count from their commit on. */
export function createPolicyRegistry(store: Store): PolicyRegistry {
  const validating = createSort(`${prefix}validatingadmissionpolic`, compilePolicy);
  const mutating = createSort(`${prefix}mutatingadmissionpolic`, compileMutatingPolicy);
  const sorts = [validating, mutating];
  const listing = store.list(prefix);
  for (const entry of listing.entries) for (const sort of sorts) sort.set(entry.key, entry);
  for (const sort of sorts) sort.index();
  const watching = store.watch(prefix, listing.revision, (events) => {
    for (const event of events) {
      for (const sort of sorts) sort.set(event.key, event.type === 'put' ? event.entry : undefined);
    }
    for (const sort of sorts) sort.index();
  });
  return {
    get validating() {
      return validating.bound;
    },
    get mutating() {
      return mutating.bound;
    },
    stop: () => watching.stop(),
  };
}

type Sort<P extends Policy> = {
  readonly bound: readonly Bound<P>[];
  /** `entry` undefined: it was deleted. Keys of others are left alone. */
  set(key: string, entry: Entry | undefined): void;
  index(): void;
};

function createSort<P extends Policy>(stem: string, compile: (policy: JsonObject) => P): Sort<P> {
  const policies = `${stem}ies/`;
  const bindings = `${stem}ybindings/`;
  const policyByName = new Map<string, P>();
  const bindingByKey = new Map<string, PolicyBinding>();
  const order = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0);
  let bound: readonly Bound<P>[] = [];
  return {
    get bound() {
      return bound;
    },
    set(key, entry) {
      if (key.startsWith(policies)) {
        const name = key.slice(policies.length);
        if (entry === undefined) policyByName.delete(name);
        else policyByName.set(name, compile(parseEntry(entry)));
      } else if (key.startsWith(bindings)) {
        if (entry === undefined) bindingByKey.delete(key);
        else bindingByKey.set(key, compileBinding(parseEntry(entry)));
      }
    },
    index() {
      bound = [...bindingByKey.values()]
        .flatMap((binding) => {
          const policy = policyByName.get(binding.policyName);
          return policy === undefined ? [] : [{ policy, binding }];
        })
        .toSorted((a, b) => order(a.policy.name, b.policy.name) || order(a.binding.name, b.binding.name));
    },
  };
}
