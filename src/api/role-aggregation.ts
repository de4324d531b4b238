import { jsonEqual } from './fields.ts';
import type { ClusterRole, PolicyRule } from './gen/rbac-v1.ts';
import { matchesLabels, selectorOf } from './labels.ts';
import type { Json } from './object.ts';

/** What `aggregationRule` of a ClusterRole means: the rules of all roles with such labels, together. */

export function isAggregated(role: ClusterRole): boolean {
  return (role.aggregationRule?.clusterRoleSelectors?.length ?? 0) > 0;
}

/** The rules that an aggregated role has; in the order of the roles' names, each rule once. Itself gives it nothing. */
export function aggregatedRules(role: ClusterRole, roles: Iterable<ClusterRole>): readonly PolicyRule[] {
  const selectors = (role.aggregationRule?.clusterRoleSelectors ?? []).flatMap((selector) => {
    const compiled = selectorOf(selector);
    return compiled === undefined ? [] : [compiled];
  });
  const name = (other: ClusterRole): string => other.metadata?.name ?? '';
  const chosen = [...roles]
    .filter((other) => name(other) !== name(role))
    .filter((other) => selectors.some((selector) => matchesLabels(selector, other.metadata?.labels)))
    .toSorted((a, b) => (name(a) < name(b) ? -1 : 1));
  const rules: PolicyRule[] = [];
  for (const rule of chosen.flatMap((other) => other.rules ?? [])) {
    if (!rules.some((known) => sameRules(known, rule))) rules.push(rule);
  }
  return rules;
}

export function sameRules(
  a: PolicyRule | readonly PolicyRule[],
  b: PolicyRule | readonly PolicyRule[],
): boolean {
  return jsonEqual(a as unknown as Json, b as unknown as Json);
}
