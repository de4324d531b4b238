import {
  ensureObject,
  jsonEqual,
  numberAt,
  objectAt,
  objectsAt,
  stringAt,
  stringMapAt,
} from '../api/fields.ts';
import { systemPriorities } from '../api/kinds/scheduling.ts';
import type { JsonObject } from '../api/object.ts';

/**
 * What a new Pod gets from the classes that it names. Pure; each changes the Pod and returns why it is refused, in
 * Kubernetes' words, or undefined.
 */

export function admitPriorityClass(pod: JsonObject, classes: readonly JsonObject[]): string | undefined {
  const spec = ensureObject(pod, 'spec');
  const name = stringAt(spec, 'priorityClassName');
  const found = name === '' ? defaultPriority(classes) : classes.find((item) => nameOf(item) === name);
  const value = numberAt(found, 'value') ?? systemPriorities[name];
  if (name !== '' && value === undefined) return `no PriorityClass with name ${name} was found`;
  if (found !== undefined) spec['priorityClassName'] = nameOf(found);
  const priority = value ?? 0;
  const policy = stringAt(found, 'preemptionPolicy') || 'PreemptLowerPriority';
  const given = numberAt(spec, 'priority');
  const notYours = 'must not be provided in pod spec; priority admission controller computed';
  const source = 'from the given PriorityClass name';
  if (given !== undefined && given !== priority)
    return `the integer value of priority (${given}) ${notYours} ${priority} ${source}`;
  const givenPolicy = stringAt(spec, 'preemptionPolicy');
  if (givenPolicy !== '' && givenPolicy !== policy)
    return `the string value of PreemptionPolicy (${givenPolicy}) ${notYours} ${policy} ${source}`;
  spec['priority'] = priority;
  spec['preemptionPolicy'] = policy;
  return undefined;
}

/** Of several default classes the least important one counts, as in Kubernetes. */
function defaultPriority(classes: readonly JsonObject[]): JsonObject | undefined {
  return classes
    .filter((item) => item['globalDefault'] === true)
    .toSorted((a, b) => (numberAt(a, 'value') ?? 0) - (numberAt(b, 'value') ?? 0))[0];
}

/** Overhead and nodes of the Pod's RuntimeClass. */
export function admitRuntimeClass(pod: JsonObject, classes: readonly JsonObject[]): string | undefined {
  const spec = ensureObject(pod, 'spec');
  const name = stringAt(spec, 'runtimeClassName');
  const found = classes.find((item) => nameOf(item) === name);
  if (name !== '' && found === undefined)
    return `pod rejected: RuntimeClass ${JSON.stringify(name)} not found`;
  const own = objectAt(spec, 'overhead');
  const overhead = objectAt(found, 'overhead', 'podFixed');
  if (own !== undefined && overhead === undefined)
    return 'pod rejected: Pod Overhead set without corresponding RuntimeClass defined Overhead';
  if (own !== undefined && !jsonEqual(own, overhead))
    return "pod rejected: Pod's Overhead doesn't match RuntimeClass's defined Overhead";
  if (overhead !== undefined) spec['overhead'] = structuredClone(overhead);
  const scheduling = objectAt(found, 'scheduling');
  if (scheduling === undefined) return undefined;
  const selector = { ...stringMapAt(spec, 'nodeSelector') };
  for (const [key, value] of Object.entries(stringMapAt(scheduling, 'nodeSelector'))) {
    if ((selector[key] ?? value) !== value)
      return `conflict: runtimeClass.scheduling.nodeSelector[${key}] = ${value}; pod.spec.nodeSelector[${key}] = ${selector[key]}`;
    selector[key] = value;
  }
  if (Object.keys(selector).length > 0) spec['nodeSelector'] = selector;
  const tolerations = [...objectsAt(spec, 'tolerations')];
  for (const toleration of objectsAt(scheduling, 'tolerations'))
    if (!tolerations.some((other) => jsonEqual(other, toleration))) tolerations.push(toleration);
  if (tolerations.length > 0) spec['tolerations'] = tolerations;
  return undefined;
}

function nameOf(object: JsonObject): string {
  return stringAt(object, 'metadata', 'name');
}
