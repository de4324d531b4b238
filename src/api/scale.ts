import { ensureObject, numberAt, objectAt, stringAt } from './fields.ts';
import type { LabelSelector } from './gen/meta-v1.ts';
import { formatSelector, selectorOf } from './labels.ts';
import type { JsonObject } from './object.ts';

/** The `scale` subresource of Deployments, ReplicaSets and their like: autoscaling/v1 Scale. */
export function scaleOf(object: JsonObject): JsonObject {
  const meta = objectAt(object, 'metadata') ?? {};
  const kept = ['name', 'namespace', 'uid', 'resourceVersion', 'creationTimestamp'];
  const selector = objectAt(object, 'spec', 'selector') as LabelSelector | undefined;
  return {
    kind: 'Scale',
    apiVersion: 'autoscaling/v1',
    metadata: Object.fromEntries(Object.entries(meta).filter(([key]) => kept.includes(key))),
    spec: { replicas: numberAt(object, 'spec', 'replicas') ?? 0 },
    status: {
      replicas: numberAt(object, 'status', 'replicas') ?? 0,
      selector: formatSelector(selectorOf(selector) ?? []),
    },
  };
}

/** The object with the Scale's replicas and, where the Scale carries one, its resourceVersion for the precondition. */
export function withScale(object: JsonObject, scale: JsonObject): JsonObject {
  const changed = structuredClone(object);
  ensureObject(changed, 'spec')['replicas'] = numberAt(scale, 'spec', 'replicas') ?? 0;
  const resourceVersion = stringAt(scale, 'metadata', 'resourceVersion');
  if (resourceVersion !== '') ensureObject(changed, 'metadata')['resourceVersion'] = resourceVersion;
  return changed;
}
