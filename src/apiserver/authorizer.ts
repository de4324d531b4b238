import type { PolicyRule, Subject } from '../api/gen/rbac-v1.ts';
import type { Store, StoreEvent } from '../store/store.ts';
import type { User } from './exchange.ts';
import { type Attributes, allows, type Binding, rulesFor } from './rbac.ts';

export type Authorizer = {
  allows(user: User, asked: Attributes): boolean;
  rulesFor(user: User, namespace: string): Iterable<PolicyRule>;
  /** The rules of the role that a binding in `namespace` names; none when there is no such role. */
  rulesOf(roleRef: Binding['roleRef'] | undefined, namespace: string): readonly PolicyRule[];
  stop(): void;
};

type StoredRole = { readonly rules?: readonly PolicyRule[] | null };
type StoredBinding = {
  readonly metadata: { readonly namespace?: string };
  readonly roleRef: Binding['roleRef'];
  readonly subjects?: readonly Subject[] | null;
};

const prefix = 'rbac.authorization.k8s.io/';

/**
 * RBAC over the store: roles and bindings are parsed once, when they are written. Never asks the store in a request.
 * Bindings are few, so a request looks at all of them.
 */
export function createAuthorizer(store: Store): Authorizer {
  const roles = new Map<string, readonly PolicyRule[]>();
  const bindings = new Map<string, Binding>();
  const rulesOf = (ref: Binding['roleRef'], namespace: string): readonly PolicyRule[] =>
    roles.get(
      ref.kind === 'ClusterRole'
        ? `${prefix}clusterroles/${ref.name}`
        : `${prefix}roles/${namespace}/${ref.name}`,
    ) ?? [];

  const take = (key: string, value: Buffer): void => {
    if (key.startsWith(`${prefix}clusterroles/`) || key.startsWith(`${prefix}roles/`)) {
      roles.set(key, (JSON.parse(value.toString()) as StoredRole).rules ?? []);
      return;
    }
    const { metadata, roleRef, subjects } = JSON.parse(value.toString()) as StoredBinding;
    bindings.set(key, { namespace: metadata.namespace ?? '', roleRef, subjects: subjects ?? [] });
  };
  const onEvents = (events: readonly StoreEvent[]): void => {
    for (const event of events) {
      if (event.type === 'put') {
        take(event.key, event.entry.value);
      } else {
        roles.delete(event.key);
        bindings.delete(event.key);
      }
    }
  };

  const { entries, revision } = store.list(prefix);
  for (const entry of entries) take(entry.key, entry.value);
  const watching = store.watch(prefix, revision, onEvents);
  return {
    allows: (user, asked) => allows(user, asked, bindings.values(), rulesOf),
    rulesFor: (user, namespace) => rulesFor(user, namespace, bindings.values(), rulesOf),
    rulesOf: (roleRef, namespace) => (roleRef === undefined ? [] : rulesOf(roleRef, namespace)),
    stop: () => watching.stop(),
  };
}
