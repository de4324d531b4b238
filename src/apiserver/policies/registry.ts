import {
  compileBinding,
  compilePolicy,
  type Policy,
  type PolicyBinding,
} from '../../api/admission/policy.ts';
import type { Store } from '../../store/store.ts';
import { parseEntry } from '../objects.ts';

/** A policy together with a binding that puts it to use. */
export type BoundPolicy = { readonly policy: Policy; readonly binding: PolicyBinding };

export type PolicyRegistry = {
  /** By the name of the policy, then of the binding. The same list until one of them changes. */
  readonly validating: readonly BoundPolicy[];
  stop(): void;
};

const prefix = 'admissionregistration.k8s.io/validatingadmissionpolic';
const policies = 'admissionregistration.k8s.io/validatingadmissionpolicies/';
const bindings = 'admissionregistration.k8s.io/validatingadmissionpolicybindings/';

/** Follows policies and bindings in the store: they count from their commit on. */
export function createPolicyRegistry(store: Store): PolicyRegistry {
  const policyByName = new Map<string, Policy>();
  const bindingByKey = new Map<string, PolicyBinding>();
  let validating: readonly BoundPolicy[] = [];

  function set(key: string, value: Parameters<typeof parseEntry>[0]): void {
    if (key.startsWith(policies)) {
      const policy = compilePolicy(parseEntry(value));
      policyByName.set(policy.name, policy);
    } else if (key.startsWith(bindings)) bindingByKey.set(key, compileBinding(parseEntry(value)));
  }
  function index(): void {
    const order = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0);
    validating = [...bindingByKey.values()]
      .flatMap((binding) => {
        const policy = policyByName.get(binding.policyName);
        return policy === undefined ? [] : [{ policy, binding }];
      })
      .toSorted((a, b) => order(a.policy.name, b.policy.name) || order(a.binding.name, b.binding.name));
  }

  const listing = store.list(prefix);
  for (const entry of listing.entries) set(entry.key, entry);
  index();
  const watching = store.watch(prefix, listing.revision, (events) => {
    for (const event of events) {
      if (event.type === 'put') set(event.key, event.entry);
      else if (event.key.startsWith(policies)) policyByName.delete(event.key.slice(policies.length));
      else bindingByKey.delete(event.key);
    }
    index();
  });
  return {
    get validating() {
      return validating;
    },
    stop: () => watching.stop(),
  };
}
