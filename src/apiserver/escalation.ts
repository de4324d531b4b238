import type { PolicyRule, RoleRef } from '../api/gen/rbac-v1.ts';
import type { Kind } from '../api/kind.ts';
import type { JsonObject } from '../api/object.ts';
import { forbidden } from '../api/status.ts';
import type { Authorizer } from './authorizer.ts';
import type { User } from './exchange.ts';
import { type Attributes, ruleAllows } from './rbac.ts';

/**
 * Nobody gives away more than he has: a role may hold only rules that its writer holds too (or he may `escalate` it), and
 * a binding may name only a role whose rules its writer holds (or he may `bind` it).
 * https://kubernetes.io/docs/reference/access-authn-authz/rbac/#privilege-escalation-prevention-and-bootstrapping
 * Throws StatusError 403.
 */
export function preventEscalation(
  authorizer: Authorizer,
  user: User,
  kind: Kind,
  namespace: string,
  name: string,
  object: JsonObject,
): void {
  if (kind.group !== 'rbac.authorization.k8s.io' || user.groups.includes('system:masters')) return;
  const isRole = kind.plural === 'roles' || kind.plural === 'clusterroles';
  const roleRef = object['roleRef'] as RoleRef | undefined; // its form was checked against the schema
  const rules = isRole
    ? ((object['rules'] ?? []) as unknown as readonly PolicyRule[])
    : authorizer.rulesOf(roleRef, namespace);
  const exempt: Attributes = {
    kind: 'resource',
    group: kind.group,
    subresource: '',
    namespace,
    verb: isRole ? 'escalate' : 'bind',
    plural: isRole ? kind.plural : roleRef?.kind === 'ClusterRole' ? 'clusterroles' : 'roles',
    name: isRole ? name : (roleRef?.name ?? ''),
  };
  if (authorizer.allows(user, exempt)) return;
  const held = [...authorizer.rulesFor(user, namespace)];
  if (object['aggregationRule'] !== undefined && !everything.every((rule) => covers(held, rule))) {
    throw forbidden(kind, name, 'must have cluster-admin privileges to use the aggregationRule');
  }
  const missing = rules.filter((rule) => !covers(held, rule));
  if (missing.length === 0) return;
  throw forbidden(
    kind,
    name,
    `user ${JSON.stringify(user.name)} (groups=${JSON.stringify(user.groups)}) is attempting to grant RBAC permissions not currently held:\n${missing.map(describe).join('\n')}`,
  );
}

/** Whoever says which roles add up to another one might add any. */
const everything: readonly PolicyRule[] = [
  { apiGroups: ['*'], resources: ['*'], verbs: ['*'] },
  { nonResourceURLs: ['*'], verbs: ['*'] },
];

/** True when each single permission of `rule` is held. A `*` is held only through a `*`. */
function covers(held: readonly PolicyRule[], rule: PolicyRule): boolean {
  return permissionsOf(rule).every((permission) => held.some((own) => ruleAllows(own, permission)));
}

function permissionsOf(rule: PolicyRule): readonly Attributes[] {
  const names = (rule.resourceNames?.length ?? 0) === 0 ? [''] : (rule.resourceNames ?? []);
  return rule.verbs.flatMap((verb) => [
    ...(rule.nonResourceURLs ?? []).map((path): Attributes => ({ kind: 'path', verb, path })),
    ...(rule.apiGroups ?? []).flatMap((group) =>
      (rule.resources ?? []).flatMap((resource) =>
        names.map((name): Attributes => {
          const [plural = '', subresource = ''] = resource.split('/');
          return { kind: 'resource', verb, group, plural, subresource, namespace: '', name };
        }),
      ),
    ),
  ]);
}

function describe(rule: PolicyRule): string {
  const parts = Object.entries(rule).map(([field, values]) => {
    return `${field.charAt(0).toUpperCase()}${field.slice(1)}:${JSON.stringify(values)}`;
  });
  return `{${parts.join(', ')}}`;
}
