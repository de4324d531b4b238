import type { Pod } from '../../api/gen/core-v1.ts';
import type { PodDisruptionBudget, PodDisruptionBudgetStatus } from '../../api/gen/policy-v1.ts';
import { rfc3339 } from '../../base/clock.ts';
import { intOrPercent } from '../deployment/scale.ts';
import { controllerOf } from '../ownership.ts';
import { isPodFinished, isPodReady } from '../pod-status.ts';

/** An eviction that was allowed but has not happened within this is forgotten, ms. */
export const evictionTimeoutMs = 120_000;

export type BudgetPlan = {
  readonly status: PodDisruptionBudgetStatus;
  readonly recheckAfterMs: number | undefined;
};

/**
 * How many Pods of a budget may be evicted now.
 * @param pods those that the selector matches
 * @param scaleOf replicas that the Pod's controller wants; undefined: it has no controller that says so
 */
export function planBudget(
  budget: PodDisruptionBudget,
  pods: readonly Pod[],
  scaleOf: (pod: Pod) => number | undefined,
  nowMs: number,
): BudgetPlan {
  const alive = pods.filter((pod) => !isPodFinished(pod));
  const { expected, desired } = wantedOf(budget, alive, scaleOf);
  const disrupted = disruptedOf(budget, alive, nowMs);
  const healthy = alive.filter(
    (pod) =>
      isPodReady(pod) &&
      pod.metadata?.deletionTimestamp === undefined &&
      disrupted[pod.metadata?.name ?? ''] === undefined,
  ).length;
  const allowed = expected === 0 ? 0 : Math.max(0, healthy - desired);
  const waits = Object.values(disrupted).map((at) => Date.parse(at) + evictionTimeoutMs - nowMs);
  return {
    status: {
      ...(Object.keys(disrupted).length === 0 ? {} : { disruptedPods: disrupted }),
      currentHealthy: healthy,
      desiredHealthy: desired,
      disruptionsAllowed: allowed,
      expectedPods: expected,
      observedGeneration: budget.metadata?.generation,
      conditions: conditionsOf(budget, allowed, nowMs),
    },
    recheckAfterMs: waits.length === 0 ? undefined : Math.max(1, Math.min(...waits)),
  };
}

function wantedOf(
  { spec }: PodDisruptionBudget,
  alive: readonly Pod[],
  scaleOf: (pod: Pod) => number | undefined,
): { readonly expected: number; readonly desired: number } {
  const { minAvailable, maxUnavailable } = spec ?? {};
  if (maxUnavailable !== undefined) {
    const expected = expectedOf(alive, scaleOf);
    return { expected, desired: Math.max(0, expected - intOrPercent(maxUnavailable, expected, Math.ceil)) };
  }
  if (typeof minAvailable === 'string') {
    const expected = expectedOf(alive, scaleOf);
    return { expected, desired: intOrPercent(minAvailable, expected, Math.ceil) };
  }
  return { expected: alive.length, desired: minAvailable ?? 1 };
}

/** Pods that there should be: what the controllers of those at hand want together. */
function expectedOf(alive: readonly Pod[], scaleOf: (pod: Pod) => number | undefined): number {
  const scales = new Map<string, number>();
  let single = 0;
  for (const pod of alive) {
    const scale = scaleOf(pod);
    const uid = controllerOf(pod)?.uid;
    if (scale === undefined || uid === undefined) single++;
    else scales.set(uid, scale);
  }
  return single + [...scales.values()].reduce((sum, scale) => sum + scale, 0);
}

/** Pods whose eviction the API server has allowed and which are not gone yet. */
function disruptedOf(
  budget: PodDisruptionBudget,
  alive: readonly Pod[],
  nowMs: number,
): Readonly<Record<string, string>> {
  const waiting = new Set(
    alive
      .filter((pod) => pod.metadata?.deletionTimestamp === undefined)
      .map((pod) => pod.metadata?.name ?? ''),
  );
  const entries = Object.entries(budget.status?.disruptedPods ?? {}).filter(
    ([name, at]) => waiting.has(name) && Date.parse(at) + evictionTimeoutMs > nowMs,
  );
  return Object.fromEntries(entries);
}

function conditionsOf(
  budget: PodDisruptionBudget,
  allowed: number,
  nowMs: number,
): PodDisruptionBudgetStatus['conditions'] {
  const status = allowed > 0 ? 'True' : 'False';
  const old = budget.status?.conditions?.find(({ type }) => type === 'DisruptionAllowed');
  return [
    {
      type: 'DisruptionAllowed',
      status,
      reason: allowed > 0 ? 'SufficientPods' : 'InsufficientPods',
      message: '',
      observedGeneration: budget.metadata?.generation,
      lastTransitionTime: old?.status === status ? old.lastTransitionTime : rfc3339(nowMs),
    },
  ];
}
