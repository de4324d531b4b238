import { child, duplicate, forbidden, index, invalid, notSupported, required } from '../field-errors.ts';
import { numberAt, objectAt, objectsAt, stringAt, stringMapAt, stringsAt } from '../fields.ts';
import type { FieldError } from '../kind.ts';
import { dnsLabelProblems, dnsSubdomainProblems, labelKeyProblems, labelValueProblems } from '../names.ts';
import { validateLabelSelector } from '../object-meta.ts';
import type { JsonObject } from '../object.ts';
import { oneOf, problemsAt } from './field-rules.ts';

/** Rules of what a Pod says of its node: tolerations, affinity, spreading. */

const taintEffects = ['NoSchedule', 'PreferNoSchedule', 'NoExecute'] as const;

export function validateTolerations(tolerations: readonly JsonObject[], path: string): readonly FieldError[] {
  return tolerations.flatMap((toleration, position) => validateToleration(toleration, index(path, position)));
}

function validateToleration(toleration: JsonObject, at: string): readonly FieldError[] {
  const key = stringAt(toleration, 'key');
  const value = stringAt(toleration, 'value');
  const operator = stringAt(toleration, 'operator');
  const effect = stringAt(toleration, 'effect');
  const errors: FieldError[] = [];
  if (key !== '') errors.push(...problemsAt(child(at, 'key'), key, labelKeyProblems));
  else if (operator !== 'Exists') {
    const detail = 'operator must be Exists when `key` is empty, which means "match all values and all keys"';
    errors.push(invalid(child(at, 'operator'), operator, detail));
  }
  if (toleration['tolerationSeconds'] !== undefined && effect !== 'NoExecute') {
    const detail = "effect must be 'NoExecute' when `tolerationSeconds` is set";
    errors.push(invalid(child(at, 'effect'), effect, detail));
  }
  if (operator === 'Exists') {
    const detail = "value must be empty when `operator` is 'Exists'";
    if (value !== '') errors.push(invalid(child(at, 'operator'), value, detail));
  } else if (operator === '' || operator === 'Equal') {
    const problems = labelValueProblems(value);
    if (problems.length > 0) errors.push(invalid(child(at, 'operator'), value, problems.join(';')));
  } else {
    errors.push(notSupported(child(at, 'operator'), operator, ['Equal', 'Exists']));
  }
  return [...errors, ...oneOf(toleration, at, 'effect', taintEffects)];
}

/** Names of the two lists of every kind of affinity. */
const needs = 'requiredDuringSchedulingIgnoredDuringExecution';
const wishes = 'preferredDuringSchedulingIgnoredDuringExecution';

export function validateAffinity(affinity: JsonObject | undefined, path: string): readonly FieldError[] {
  const errors: FieldError[] = [];
  const ofNode = objectAt(affinity, 'nodeAffinity');
  if (ofNode !== undefined) errors.push(...validateNodeAffinity(ofNode, child(path, 'nodeAffinity')));
  for (const kind of ['podAffinity', 'podAntiAffinity']) {
    const ofPods = objectAt(affinity, kind);
    if (ofPods !== undefined) errors.push(...validatePodAffinity(ofPods, child(path, kind)));
  }
  return errors;
}

function validateNodeAffinity(affinity: JsonObject, path: string): readonly FieldError[] {
  const errors: FieldError[] = [];
  const selector = objectAt(affinity, needs);
  if (selector !== undefined) errors.push(...validateNodeSelector(selector, child(path, needs)));
  objectsAt(affinity, wishes).forEach((term, position) => {
    const at = index(child(path, wishes), position);
    errors.push(...validateWeight(term, at));
    const preference = objectAt(term, 'preference') ?? {};
    // Wrong values are no error here, as in Kubernetes: such a preference matches no node, and none is needed.
    errors.push(...validateNodeSelectorTerm(preference, child(at, 'preference'), 'any values'));
  });
  return errors;
}

function validateWeight(term: JsonObject, path: string): readonly FieldError[] {
  const weight = numberAt(term, 'weight') ?? 0;
  return weight >= 1 && weight <= 100
    ? []
    : [invalid(child(path, 'weight'), weight, 'must be in the range 1-100')];
}

/** Rules of a NodeSelector: of Pods and of PersistentVolumes. */
export function validateNodeSelector(selector: JsonObject, path: string): readonly FieldError[] {
  const at = child(path, 'nodeSelectorTerms');
  const terms = objectsAt(selector, 'nodeSelectorTerms');
  if (terms.length === 0) return [required(at, 'must have at least one node selector term')];
  return terms.flatMap((term, position) =>
    validateNodeSelectorTerm(term, index(at, position), 'label values'),
  );
}

function validateNodeSelectorTerm(
  term: JsonObject,
  path: string,
  values: 'label values' | 'any values',
): readonly FieldError[] {
  const expressions = objectsAt(term, 'matchExpressions').flatMap((expression, position) =>
    validateNodeExpression(expression, index(child(path, 'matchExpressions'), position), values),
  );
  const fields = objectsAt(term, 'matchFields').flatMap((field, position) =>
    validateNodeField(field, index(child(path, 'matchFields'), position)),
  );
  return [...expressions, ...fields];
}

function validateNodeExpression(
  expression: JsonObject,
  path: string,
  values: 'label values' | 'any values',
): readonly FieldError[] {
  const errors: FieldError[] = [];
  const given = stringsAt(expression, 'values');
  const at = child(path, 'values');
  const operator = stringAt(expression, 'operator');
  switch (operator) {
    case 'In':
    case 'NotIn':
      if (given.length === 0)
        errors.push(required(at, "must be specified when `operator` is 'In' or 'NotIn'"));
      break;
    case 'Exists':
    case 'DoesNotExist':
      if (given.length > 0)
        errors.push(forbidden(at, "may not be specified when `operator` is 'Exists' or 'DoesNotExist'"));
      break;
    case 'Gt':
    case 'Lt':
      if (given.length !== 1)
        errors.push(required(at, "must be specified single value when `operator` is 'Lt' or 'Gt'"));
      break;
    default:
      errors.push(invalid(child(path, 'operator'), operator, 'not a valid selector operator'));
  }
  errors.push(...problemsAt(child(path, 'key'), stringAt(expression, 'key'), labelKeyProblems));
  if (values === 'any values') return errors;
  return [
    ...errors,
    ...given.flatMap((value, position) => problemsAt(index(at, position), value, labelValueProblems)),
  ];
}

/** The one field of a node that can be selected by is its name. */
function validateNodeField(requirement: JsonObject, path: string): readonly FieldError[] {
  const errors: FieldError[] = [];
  const operator = stringAt(requirement, 'operator');
  const values = stringsAt(requirement, 'values');
  if (operator !== 'In' && operator !== 'NotIn') {
    errors.push(invalid(child(path, 'operator'), operator, 'not a valid selector operator'));
  } else if (values.length !== 1) {
    const detail = "must be only one value when `operator` is 'In' or 'NotIn' for node field selector";
    errors.push(required(child(path, 'values'), detail));
  }
  const key = stringAt(requirement, 'key');
  if (key !== 'metadata.name') {
    return [...errors, invalid(child(path, 'key'), key, 'not a valid field selector key')];
  }
  const at = child(path, 'values');
  return [
    ...errors,
    ...values.flatMap((value, position) => problemsAt(index(at, position), value, dnsSubdomainProblems)),
  ];
}

function validatePodAffinity(affinity: JsonObject, path: string): readonly FieldError[] {
  const needed = objectsAt(affinity, needs).flatMap((term, position) =>
    validatePodTerm(term, index(child(path, needs), position)),
  );
  const wished = objectsAt(affinity, wishes).flatMap((weighted, position) => {
    const at = index(child(path, wishes), position);
    const term = objectAt(weighted, 'podAffinityTerm') ?? {};
    return [...validateWeight(weighted, at), ...validatePodTerm(term, child(at, 'podAffinityTerm'))];
  });
  return [...needed, ...wished];
}

function validatePodTerm(term: JsonObject, path: string): readonly FieldError[] {
  const errors: FieldError[] = [
    ...validateLabelSelector(objectAt(term, 'labelSelector'), child(path, 'labelSelector')),
    ...validateLabelSelector(objectAt(term, 'namespaceSelector'), child(path, 'namespaceSelector')),
  ];
  for (const name of stringsAt(term, 'namespaces'))
    errors.push(...problemsAt(child(path, 'namespace'), name, dnsLabelProblems));
  errors.push(...validateTermLabelKeys(term, path));
  const topologyKey = stringAt(term, 'topologyKey');
  const at = child(path, 'topologyKey');
  if (topologyKey === '') errors.push(required(at, 'can not be empty'));
  return [...errors, ...problemsAt(at, topologyKey, labelKeyProblems)];
}

function validateTermLabelKeys(term: JsonObject, path: string): readonly FieldError[] {
  const errors: FieldError[] = [];
  const selector = objectAt(term, 'labelSelector');
  const matching = stringsAt(term, 'matchLabelKeys');
  const differing = stringsAt(term, 'mismatchLabelKeys');
  for (const [field, keys] of [
    ['matchLabelKeys', matching],
    ['mismatchLabelKeys', differing],
  ] as const) {
    if (keys.length === 0) continue;
    const at = child(path, field);
    if (selector === undefined) {
      errors.push(forbidden(at, 'must not be specified when labelSelector is not set'));
    } else {
      errors.push(...keys.flatMap((key, position) => problemsAt(index(at, position), key, labelKeyProblems)));
    }
  }
  matching.forEach((key, position) => {
    if (timesSelected(selector, key) < 2) return;
    errors.push(invalid(index(path, position), key, 'exists in both matchLabelKeys and labelSelector'));
  });
  matching.forEach((key, position) => {
    if (!differing.includes(key)) return;
    const at = index(child(path, 'matchLabelKeys'), position);
    errors.push(invalid(at, key, 'exists in both matchLabelKeys and mismatchLabelKeys'));
  });
  return errors;
}

/** How often a selector speaks of a key. Once is what matchLabelKeys itself adds to it, see mergeLabelKeys. */
function timesSelected(selector: JsonObject | undefined, key: string): number {
  const expressions = objectsAt(selector, 'matchExpressions');
  const inLabels = stringMapAt(selector, 'matchLabels')[key] === undefined ? 0 : 1;
  return inLabels + expressions.filter((expression) => stringAt(expression, 'key') === key).length;
}

const policies = ['Honor', 'Ignore'] as const;
const actions = ['DoNotSchedule', 'ScheduleAnyway'] as const;

/** Topology spread constraints of a Pod, whose matchLabelKeys are merged already, or of a template. */
export function validateSpread(
  constraints: readonly JsonObject[],
  path: string,
  subject: 'pod' | 'template',
): readonly FieldError[] {
  return constraints.flatMap((constraint, position) => {
    const at = index(path, position);
    const errors: FieldError[] = [];
    const skew = numberAt(constraint, 'maxSkew') ?? 0;
    if (skew <= 0) errors.push(invalid(child(at, 'maxSkew'), skew, 'must be greater than zero'));
    const key = stringAt(constraint, 'topologyKey');
    if (key === '') errors.push(required(child(at, 'topologyKey'), 'can not be empty'));
    const action = stringAt(constraint, 'whenUnsatisfiable');
    if (!actions.includes(action as 'DoNotSchedule')) {
      errors.push(notSupported(child(at, 'whenUnsatisfiable'), action, actions));
    }
    const again = constraints
      .slice(position + 1)
      .some((other) => other['topologyKey'] === key && other['whenUnsatisfiable'] === action);
    if (again) {
      errors.push(duplicate(child(at, '{topologyKey, whenUnsatisfiable}'), `{${key}, ${action}}`));
    }
    errors.push(...validateMinDomains(constraint, at, action));
    for (const field of ['nodeAffinityPolicy', 'nodeTaintsPolicy'])
      errors.push(...oneOf(constraint, at, field, policies));
    errors.push(...validateSpreadLabelKeys(constraint, child(at, 'matchLabelKeys'), subject));
    const selector = objectAt(constraint, 'labelSelector');
    return [...errors, ...validateLabelSelector(selector, child(at, 'labelSelector'))];
  });
}

function validateMinDomains(constraint: JsonObject, path: string, action: string): readonly FieldError[] {
  const least = numberAt(constraint, 'minDomains');
  if (least === undefined) return [];
  const at = child(path, 'minDomains');
  const errors: FieldError[] = [];
  if (least <= 0) errors.push(invalid(at, least, 'must be greater than zero'));
  if (action !== 'DoNotSchedule') {
    const detail = `can only use minDomains if whenUnsatisfiable=DoNotSchedule, not ${action}`;
    errors.push(invalid(at, least, detail));
  }
  return errors;
}

function validateSpreadLabelKeys(
  constraint: JsonObject,
  path: string,
  subject: 'pod' | 'template',
): readonly FieldError[] {
  const keys = stringsAt(constraint, 'matchLabelKeys');
  if (keys.length === 0) return [];
  const selector = objectAt(constraint, 'labelSelector');
  const errors: FieldError[] = [];
  if (selector === undefined)
    errors.push(forbidden(path, 'must not be specified when labelSelector is not set'));
  const allowed = subject === 'pod' ? 1 : 0;
  keys.forEach((key, position) => {
    const at = index(path, position);
    errors.push(...problemsAt(at, key, labelKeyProblems));
    if (timesSelected(selector, key) > allowed)
      errors.push(invalid(at, key, 'exists in both matchLabelKeys and labelSelector'));
  });
  return errors;
}

/**
 * Writes matchLabelKeys and mismatchLabelKeys of a new Pod into the selectors beside them, so that everybody who reads
 * the selector knows what it means. A key that the Pod has no label for says nothing. May be repeated.
 */
export function mergeLabelKeys(pod: JsonObject): void {
  const labels = stringMapAt(pod, 'metadata', 'labels');
  const spec = objectAt(pod, 'spec');
  const affinity = objectAt(spec, 'affinity');
  for (const kind of ['podAffinity', 'podAntiAffinity']) {
    for (const term of objectsAt(affinity, kind, needs)) mergeInto(term, labels);
    for (const weighted of objectsAt(affinity, kind, wishes)) {
      const term = objectAt(weighted, 'podAffinityTerm');
      if (term !== undefined) mergeInto(term, labels);
    }
  }
  for (const constraint of objectsAt(spec, 'topologySpreadConstraints')) mergeInto(constraint, labels);
}

function mergeInto(term: JsonObject, labels: Readonly<Record<string, string>>): void {
  const selector = objectAt(term, 'labelSelector');
  if (selector === undefined) return;
  for (const [field, operator] of [
    ['matchLabelKeys', 'In'],
    ['mismatchLabelKeys', 'NotIn'],
  ] as const) {
    for (const key of stringsAt(term, field)) {
      const value = labels[key];
      if (value === undefined) continue;
      const expressions = objectsAt(selector, 'matchExpressions');
      const has = expressions.some(
        (expression) =>
          expression['key'] === key &&
          expression['operator'] === operator &&
          stringsAt(expression, 'values').join() === value,
      );
      if (!has) selector['matchExpressions'] = [...expressions, { key, operator, values: [value] }];
    }
  }
}
