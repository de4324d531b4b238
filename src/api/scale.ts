import { ensureObject, numberAt, objectAt, stringAt, stringMapAt } from './fields.ts';
import type { LabelSelector } from './gen/meta-v1.ts';
import type { ScalePaths } from './kind.ts';
import { formatSelector, selectorOf, selectorOfMap } from './labels.ts';
import type { JsonObject } from './object.ts';

/** The `scale` subresource of Deployments, ReplicaSets and their like: autoscaling/v1 Scale. */
export function scaleOf(object: JsonObject, paths?: ScalePaths): JsonObject {
  const meta = objectAt(object, 'metadata') ?? {};
  const kept = ['name', 'namespace', 'uid', 'resourceVersion', 'creationTimestamp'];
  return {
    kind: 'Scale',
    apiVersion: 'autoscaling/v1',
    metadata: Object.fromEntries(Object.entries(meta).filter(([key]) => kept.includes(key))),
    spec: { replicas: numberAt(object, ...(paths?.specReplicas ?? ['spec', 'replicas'])) ?? 0 },
    status: {
      replicas: numberAt(object, ...(paths?.statusReplicas ?? ['status', 'replicas'])) ?? 0,
      ...selectorField(object, paths),
    },
  };
}

function selectorField(object: JsonObject, paths: ScalePaths | undefined): JsonObject {
  if (paths !== undefined) {
    const text = paths.labelSelector === undefined ? '' : stringAt(object, ...paths.labelSelector);
    return text === '' ? {} : { selector: text };
  }
  const selector = objectAt(object, 'spec', 'selector');
  // A ReplicationController's selector is a plain map of labels.
  const parsed =
    object['kind'] === 'ReplicationController'
      ? selectorOfMap(stringMapAt(object, 'spec', 'selector'))
      : selectorOf(selector as LabelSelector | undefined);
  return { selector: formatSelector(parsed ?? []) };
}

/** The object with the Scale's replicas and, where the Scale carries one, its resourceVersion for the precondition. */
export function withScale(object: JsonObject, scale: JsonObject, paths?: ScalePaths): JsonObject {
  const changed = structuredClone(object);
  const path = paths?.specReplicas ?? ['spec', 'replicas'];
  let holder = changed;
  for (const key of path.slice(0, -1)) holder = ensureObject(holder, key);
  holder[path.at(-1) ?? 'replicas'] = numberAt(scale, 'spec', 'replicas') ?? 0;
  const resourceVersion = stringAt(scale, 'metadata', 'resourceVersion');
  if (resourceVersion !== '') ensureObject(changed, 'metadata')['resourceVersion'] = resourceVersion;
  return changed;
}
