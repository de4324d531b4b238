import type { PolicyRule, RoleRef, Subject } from '../api/gen/rbac-v1.ts';
import type { User } from './exchange.ts';
import type { RequestInfo } from './request-info.ts';

/** What is asked: the facts of a request that rules speak about. */
export type Attributes =
  | {
      readonly kind: 'resource';
      readonly verb: string;
      readonly group: string;
      readonly plural: string;
      readonly subresource: string;
      readonly namespace: string;
      readonly name: string;
    }
  | { readonly kind: 'path'; readonly verb: string; readonly path: string };

/** A binding with the place where it counts: '' is everywhere. */
export type Binding = {
  readonly namespace: string;
  readonly roleRef: RoleRef;
  readonly subjects: readonly Subject[];
};

/** Finds the rules of a role; none when it does not exist. `namespace` is the binding's. */
export type RulesOf = (roleRef: RoleRef, namespace: string) => readonly PolicyRule[];

/** @param selected of a request for a collection, see selectedName */
export function attributesOf(info: RequestInfo, selected: string): Attributes {
  if (info.kind === 'path') return info;
  const { verb, group, plural, subresource, namespace, name } = info;
  return {
    kind: 'resource',
    verb,
    group,
    plural,
    subresource,
    namespace,
    name: name === '' ? selected : name,
  };
}

/** True when some binding gives the user a role with a rule for this. Members of system:masters may do everything. */
export function allows(
  user: User,
  asked: Attributes,
  bindings: Iterable<Binding>,
  rulesOf: RulesOf,
): boolean {
  if (user.groups.includes('system:masters')) return true;
  for (const rule of rulesFor(user, asked.kind === 'resource' ? asked.namespace : '', bindings, rulesOf)) {
    if (ruleAllows(rule, asked)) return true;
  }
  return false;
}

/** Every rule that the user has in a namespace, those that count everywhere among them. */
export function* rulesFor(
  user: User,
  namespace: string,
  bindings: Iterable<Binding>,
  rulesOf: RulesOf,
): Generator<PolicyRule> {
  for (const binding of bindings) {
    if (binding.namespace !== '' && binding.namespace !== namespace) continue;
    if (!binding.subjects.some((subject) => isSubject(user, subject, binding.namespace))) continue;
    for (const rule of rulesOf(binding.roleRef, binding.namespace)) {
      // A RoleBinding never gives paths, whatever the role that it names says.
      if (binding.namespace !== '' && (rule.nonResourceURLs?.length ?? 0) > 0) continue;
      yield rule;
    }
  }
}

function isSubject(user: User, subject: Subject, bindingNamespace: string): boolean {
  switch (subject.kind) {
    case 'User':
      return subject.name === user.name;
    case 'Group':
      return user.groups.includes(subject.name);
    case 'ServiceAccount': {
      const namespace = subject.namespace ?? bindingNamespace;
      return user.name === `system:serviceaccount:${namespace}:${subject.name}`;
    }
    default:
      return false;
  }
}

export function ruleAllows(rule: PolicyRule, asked: Attributes): boolean {
  if (!has(rule.verbs, asked.verb)) return false;
  if (asked.kind === 'path') return (rule.nonResourceURLs ?? []).some((url) => pathMatches(url, asked.path));
  return (
    has(rule.apiGroups, asked.group) &&
    resourceMatches(rule.resources ?? [], asked.plural, asked.subresource) &&
    ((rule.resourceNames?.length ?? 0) === 0 || (rule.resourceNames ?? []).includes(asked.name))
  );
}

function has(values: readonly string[] | undefined, value: string): boolean {
  return values !== undefined && (values.includes('*') || values.includes(value));
}

function resourceMatches(resources: readonly string[], plural: string, subresource: string): boolean {
  const combined = subresource === '' ? plural : `${plural}/${subresource}`;
  return resources.some(
    (resource) =>
      resource === '*' || resource === combined || (subresource !== '' && resource === `*/${subresource}`),
  );
}

function pathMatches(pattern: string, path: string): boolean {
  if (pattern === '*' || pattern === path) return true;
  return pattern.endsWith('*') && path.startsWith(pattern.slice(0, -1));
}

/** Kubernetes' words for a refusal, without the "pods is forbidden: " in front. */
export function refusalText(user: User, asked: Attributes): string {
  const who = `User ${JSON.stringify(user.name)} cannot ${asked.verb}`;
  if (asked.kind === 'path') return `${who} path ${JSON.stringify(asked.path)}`;
  const resource = asked.subresource === '' ? asked.plural : `${asked.plural}/${asked.subresource}`;
  const where =
    asked.namespace === '' ? 'at the cluster scope' : `in the namespace ${JSON.stringify(asked.namespace)}`;
  return `${who} resource ${JSON.stringify(resource)} in API group ${JSON.stringify(asked.group)} ${where}`;
}
