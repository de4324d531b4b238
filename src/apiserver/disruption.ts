import { numberAt, objectAt, objectsAt, stringAt, stringMapAt } from '../api/fields.ts';
import type { LabelSelector } from '../api/gen/meta-v1.ts';
import { matchesLabels, selectorOf } from '../api/labels.ts';
import type { JsonObject } from '../api/object.ts';
import { kindNamed } from '../api/registry.ts';
import { failure, internalError, type StatusError, timeout } from '../api/status.ts';
import { assert } from '../base/assert.ts';
import { rfc3339 } from '../base/clock.ts';
import { isStoreError } from '../store/store.ts';
import type { ApiContext, Target } from './context.ts';
import { parseEntry, prefixOf, templateOf } from './objects.ts';
import { nextCommit } from './write.ts';

/** Disruptions under way that one budget remembers at most; past it evictions wait. */
export const disruptedPodsMax = 2000;
/** Tries to take a disruption while others write the budget. Beyond it: 504. */
export const conflictRetriesMax = 8;

/**
 * Takes one disruption from the budget that covers the Pod, before it is evicted. Does nothing where no budget covers it.
 * Throws StatusError 429 when the budget allows none now, 500 when several budgets cover the Pod.
 */
export async function takeDisruption(context: ApiContext, target: Target, pod: JsonObject): Promise<void> {
  if (isOver(pod)) return;
  const kind = kindNamed('policy', 'v1', 'PodDisruptionBudget');
  assert(kind !== undefined, 'PodDisruptionBudget is in the registry');
  for (let attempt = 1; ; attempt++) {
    const { entries } = context.store.list(prefixOf(kind, target.namespace));
    const covering = entries.filter((entry) => covers(parseEntry(entry), pod));
    const [entry, second] = covering;
    if (entry === undefined) return;
    if (second !== undefined) {
      throw internalError(
        'This pod has more than one PodDisruptionBudget, which the eviction subresource does not support.',
      );
    }
    const budget = parseEntry(entry);
    if (isFreeToGo(budget, pod)) return;
    const next = withDisruption(budget, target.name, context.clock.nowMs());
    try {
      await context.store.put(entry.key, templateOf(kind, next), entry.revision);
      return;
    } catch (error) {
      if (isStoreError(error, 'Missing')) return;
      if (!isStoreError(error, 'Conflict')) throw error;
      if (attempt === conflictRetriesMax) {
        const name = JSON.stringify(stringAt(budget, 'metadata', 'name'));
        throw timeout(`couldn't update PodDisruptionBudget ${name} due to conflicts`, 10);
      }
      await nextCommit();
    }
  }
}

/** A Pod that says of itself why it goes: Jobs may be told to make nothing of such failures. */
export function markDisrupted(pod: JsonObject, nowMs: number): JsonObject {
  const phase = stringAt(pod, 'status', 'phase');
  const isSettled = phase === 'Succeeded' || phase === 'Failed';
  if (isSettled || stringAt(pod, 'metadata', 'deletionTimestamp') !== '') return pod;
  const type = 'DisruptionTarget';
  const others = objectsAt(pod, 'status', 'conditions').filter((condition) => condition['type'] !== type);
  const condition: JsonObject = {
    type,
    status: 'True',
    reason: 'EvictionByEvictionAPI',
    message: 'Eviction API: evicting',
    lastTransitionTime: rfc3339(nowMs),
  };
  return { ...pod, status: { ...objectAt(pod, 'status'), conditions: [...others, condition] } };
}

function isOver(pod: JsonObject): boolean {
  const phase = stringAt(pod, 'status', 'phase');
  if (phase === 'Succeeded' || phase === 'Failed' || phase === 'Pending') return true;
  return stringAt(pod, 'metadata', 'deletionTimestamp') !== '';
}

function covers(budget: JsonObject, pod: JsonObject): boolean {
  const selector = objectAt(budget, 'spec', 'selector');
  if (selector === undefined) return false;
  return matchesLabels(selectorOf(selector as LabelSelector) ?? [], stringMapAt(pod, 'metadata', 'labels'));
}

/** A Pod that serves nobody may go where the rest is healthy, or where the budget says that such ones always may. */
function isFreeToGo(budget: JsonObject, pod: JsonObject): boolean {
  const ready = objectsAt(pod, 'status', 'conditions').some(
    (condition) => condition['type'] === 'Ready' && condition['status'] === 'True',
  );
  if (ready) return false;
  if (stringAt(budget, 'spec', 'unhealthyPodEvictionPolicy') === 'AlwaysAllow') return true;
  const healthy = numberAt(budget, 'status', 'currentHealthy') ?? 0;
  const desired = numberAt(budget, 'status', 'desiredHealthy') ?? 0;
  return healthy >= desired && desired > 0;
}

function withDisruption(budget: JsonObject, podName: string, nowMs: number): JsonObject {
  const name = stringAt(budget, 'metadata', 'name');
  const status = objectAt(budget, 'status') ?? {};
  const allowed = numberAt(status, 'disruptionsAllowed') ?? 0;
  const disrupted = stringMapAt(status, 'disruptedPods');
  const unseen =
    (numberAt(status, 'observedGeneration') ?? 0) < (numberAt(budget, 'metadata', 'generation') ?? 0);
  if (unseen)
    throw refused(name, `The disruption budget ${name} is still being processed by the server.`, 10);
  if (allowed <= 0) {
    const healthy = numberAt(status, 'currentHealthy') ?? 0;
    const desired = numberAt(status, 'desiredHealthy') ?? 0;
    throw refused(
      name,
      `The disruption budget ${name} needs ${desired} healthy pods and has ${healthy} currently`,
      undefined,
    );
  }
  if (Object.keys(disrupted).length >= disruptedPodsMax) {
    throw refused(name, 'too many evictions not confirmed by the PodDisruptionBudget controller', 10);
  }
  return {
    ...budget,
    status: {
      ...status,
      disruptionsAllowed: allowed - 1,
      disruptedPods: { ...disrupted, [podName]: rfc3339(nowMs) },
    },
  };
}

function refused(budget: string, detail: string, retryAfterSeconds: number | undefined): StatusError {
  return failure(
    429,
    'TooManyRequests',
    "Cannot evict pod as it would violate the pod's disruption budget.",
    {
      causes: [{ reason: 'DisruptionBudget', message: detail }],
      ...(retryAfterSeconds === undefined ? {} : { retryAfterSeconds }),
      name: budget,
    },
  );
}
