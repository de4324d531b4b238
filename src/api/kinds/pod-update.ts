import { child, forbidden, index, invalid } from '../field-errors.ts';
import { jsonEqual, listAt, numberAt, objectAt, objectsAt, stringAt, stringMapAt } from '../fields.ts';
import type { FieldError } from '../kind.ts';
import type { JsonObject } from '../object.ts';

/** What an update of a Pod may change: little, for most of it is settled once its containers run. */

const podUpdateHint =
  'pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)';

export function validatePodUpdate(pod: JsonObject, old: JsonObject): readonly FieldError[] {
  const spec = objectAt(pod, 'spec') ?? {};
  const oldSpec = objectAt(old, 'spec') ?? {};
  const errors: FieldError[] = [];
  for (const list of ['containers', 'initContainers']) {
    if (listAt(spec, list).length !== listAt(oldSpec, list).length)
      errors.push(forbidden(child('spec', list), 'pod updates may not add or remove containers'));
  }
  if (errors.length > 0) return errors;
  errors.push(...validateDeadline(spec, oldSpec));
  errors.push(...validateAddedTolerations(spec, oldSpec));
  errors.push(...validateRemovedGates(spec, oldSpec));
  const isGated = listAt(oldSpec, 'schedulingGates').length > 0;
  if (isGated) errors.push(...validateNarrowed(spec, oldSpec));
  const fixed = (one: JsonObject) => (isGated ? withoutNodeChoice(withoutMutable(one)) : withoutMutable(one));
  const graceless = onlyRepairsGrace(spec, oldSpec) ? { ...spec, ...graceOf(oldSpec) } : spec;
  if (!jsonEqual(fixed(graceless), fixed(oldSpec))) errors.push(forbidden('spec', podUpdateHint));
  return errors;
}

function validateDeadline(spec: JsonObject, oldSpec: JsonObject): readonly FieldError[] {
  const now = numberAt(spec, 'activeDeadlineSeconds');
  const before = numberAt(oldSpec, 'activeDeadlineSeconds');
  if (before === undefined || (now !== undefined && now <= before)) return [];
  const detail =
    now === undefined
      ? 'must not update from a positive integer to nil value'
      : 'must be less than or equal to previous value';
  return [invalid('spec.activeDeadlineSeconds', now ?? null, detail)];
}

function validateAddedTolerations(spec: JsonObject, oldSpec: JsonObject): readonly FieldError[] {
  const now = objectsAt(spec, 'tolerations');
  const isKept = objectsAt(oldSpec, 'tolerations').every((before) =>
    now.some((toleration) => sameToleration(before, toleration)),
  );
  if (isKept) return [];
  const detail = 'existing toleration can not be modified except its tolerationSeconds';
  return [forbidden('spec.tolerations', detail)];
}

function sameToleration(a: JsonObject, b: JsonObject): boolean {
  const { tolerationSeconds: _a, ...restA } = a;
  const { tolerationSeconds: _b, ...restB } = b;
  return jsonEqual(restA, restB);
}

/** Gates open one after another; none is ever closed. */
function validateRemovedGates(spec: JsonObject, oldSpec: JsonObject): readonly FieldError[] {
  const before = new Set(objectsAt(oldSpec, 'schedulingGates').map((gate) => stringAt(gate, 'name')));
  return objectsAt(spec, 'schedulingGates').flatMap((gate, position) => {
    const name = stringAt(gate, 'name');
    if (before.has(name)) return [];
    const at = child(index('spec.schedulingGates', position), 'name');
    return [forbidden(at, `only deletion is allowed, but found new scheduling gate '${name}'`)];
  });
}

const needs = 'requiredDuringSchedulingIgnoredDuringExecution';

/** While a gate is closed, whoever holds it may narrow down where the Pod can go: fewer nodes, never others. */
function validateNarrowed(spec: JsonObject, oldSpec: JsonObject): readonly FieldError[] {
  const errors: FieldError[] = [];
  const selector = stringMapAt(spec, 'nodeSelector');
  const before = stringMapAt(oldSpec, 'nodeSelector');
  if (Object.entries(before).some(([key, value]) => selector[key] !== value)) {
    const detail = 'only additions to spec.nodeSelector are allowed (no mutations or deletions)';
    errors.push(invalid('spec.nodeSelector', selector, detail));
  }
  const oldTerms = objectsAt(oldSpec, 'affinity', 'nodeAffinity', needs, 'nodeSelectorTerms');
  if (oldTerms.length === 0) return errors;
  const terms = objectsAt(spec, 'affinity', 'nodeAffinity', needs, 'nodeSelectorTerms');
  const at = `spec.affinity.nodeAffinity.${needs}.nodeSelectorTerms`;
  if (terms.length !== oldTerms.length) {
    const detail = 'no additions/deletions to non-empty NodeSelectorTerms list are allowed';
    return [...errors, invalid(at, [...terms], detail)];
  }
  terms.forEach((term, position) => {
    if (onlyAddsTo(oldTerms[position] ?? {}, term)) return;
    const detail = 'only additions are allowed (no mutations or deletions)';
    errors.push(invalid(index(at, position), term, detail));
  });
  return errors;
}

/** Terms are alternatives, so more requirements in one of them mean fewer nodes; an empty one means none already. */
function onlyAddsTo(old: JsonObject, term: JsonObject): boolean {
  const lists = ['matchExpressions', 'matchFields'];
  const size = (one: JsonObject) => lists.reduce((sum, list) => sum + listAt(one, list).length, 0);
  if (size(old) === 0) return size(term) === 0;
  return lists.every((list) => {
    const before = listAt(old, list);
    return jsonEqual(listAt(term, list).slice(0, before.length), [...before]);
  });
}

/** A negative grace, which was never meant to be, may become one second. */
function onlyRepairsGrace(spec: JsonObject, oldSpec: JsonObject): boolean {
  const before = numberAt(oldSpec, 'terminationGracePeriodSeconds') ?? 0;
  return before < 0 && spec['terminationGracePeriodSeconds'] === 1;
}

function graceOf(spec: JsonObject): JsonObject {
  return { terminationGracePeriodSeconds: spec['terminationGracePeriodSeconds'] ?? null };
}

/** The spec with the changeable fields taken out. */
function withoutMutable(spec: JsonObject): JsonObject {
  const {
    activeDeadlineSeconds: _deadline,
    tolerations: _tolerations,
    schedulingGates: _gates,
    ...result
  } = spec;
  for (const list of ['containers', 'initContainers']) {
    if (result[list] === undefined) continue;
    result[list] = objectsAt(result, list).map(({ image: _image, ...container }) => container);
  }
  return result;
}

function withoutNodeChoice(spec: JsonObject): JsonObject {
  const { nodeSelector: _selector, affinity, ...result } = spec;
  const { nodeAffinity: _nodes, ...ofPods } = objectAt({ affinity: affinity ?? null }, 'affinity') ?? {};
  return Object.keys(ofPods).length === 0 ? result : { ...result, affinity: ofPods };
}
