import type {
  HorizontalPodAutoscaler,
  HorizontalPodAutoscalerCondition,
  HorizontalPodAutoscalerStatus,
  MetricStatus,
} from '../../api/gen/autoscaling-v2.ts';
import { rfc3339 } from '../../base/clock.ts';
import { boundReplicas, type History } from './behavior.ts';
import type { MetricOutcome } from './recommend.ts';

/** What follows for a HorizontalPodAutoscaler from what its metrics ask for. */

export type Note = {
  readonly type: string;
  readonly isTrue: boolean;
  readonly reason: string;
  readonly message: string;
};

export type Warning = { readonly reason: string; readonly message: string };

export type ScalePlan = {
  /** Replicas that there should be; those that are there: leave them. */
  readonly replicas: number;
  /** Why, for the Event. */
  readonly why: string;
  readonly notes: readonly Note[];
  readonly warnings: readonly Warning[];
  readonly currentMetrics: readonly MetricStatus[];
  readonly history: History;
};

/** What needs no metric: an autoscaler that is switched off, and bounds that are crossed already. Undefined: ask the metrics. */
export function planWithoutMetrics(
  { spec }: HorizontalPodAutoscaler,
  current: number,
  history: History,
): ScalePlan | undefined {
  const { minReplicas = 1, maxReplicas } = spec;
  const plan = { replicas: current, why: '', notes: [], warnings: [], currentMetrics: [], history };
  if (current === 0 && minReplicas !== 0) {
    const message = 'scaling is disabled since the replica count of the target is zero';
    return { ...plan, notes: [{ type: 'ScalingActive', isTrue: false, reason: 'ScalingDisabled', message }] };
  }
  if (current > maxReplicas)
    return { ...plan, replicas: maxReplicas, why: 'Current number of replicas above Spec.MaxReplicas' };
  if (current < minReplicas)
    return { ...plan, replicas: minReplicas, why: 'Current number of replicas below Spec.MinReplicas' };
  return undefined;
}

/** The largest recommendation counts. While one metric fails the others may only add replicas. */
export function planByMetrics(
  { spec }: HorizontalPodAutoscaler,
  outcomes: readonly MetricOutcome[],
  current: number,
  history: History,
  nowMs: number,
): ScalePlan {
  const found = outcomes.filter((outcome) => outcome.kind === 'found');
  const failures = outcomes.filter((outcome) => outcome.kind === 'failed');
  const [highest] = found.toSorted((a, b) => b.replicas - a.replicas);
  const [first] = failures;
  const warnings: Warning[] = failures.map(({ reason, message }) => ({ reason, message }));
  const currentMetrics = found.map(({ status }) => status);
  const plan = { replicas: current, why: '', warnings, currentMetrics, history };
  if (first !== undefined && (highest === undefined || highest.replicas < current)) {
    const message = `the HPA was unable to compute the replica count: ${first.message}`;
    const summary = `invalid metrics (${failures.length} invalid out of ${outcomes.length}), first error is: failed to get ${first.what} metric value: ${first.message}`;
    return {
      ...plan,
      notes: [{ type: 'ScalingActive', isTrue: false, reason: first.reason, message }],
      warnings: [...warnings, { reason: 'FailedComputeMetricsReplicas', message: summary }],
    };
  }
  if (highest === undefined) return { ...plan, notes: [] };
  const {
    replicas,
    able,
    limited,
    history: next,
  } = boundReplicas(
    highest.replicas,
    current,
    spec,
    // The size that is found first counts as recommended: a restart of the controller takes nothing away at once.
    history.recommended.length === 0
      ? { ...history, recommended: [{ atMs: nowMs, replicas: current }] }
      : history,
    nowMs,
  );
  const message = `the HPA was able to successfully calculate a replica count from ${highest.name}`;
  return {
    ...plan,
    replicas,
    why: highest.replicas > current ? `${highest.name} above target` : 'All metrics below target',
    notes: [
      { type: 'ScalingActive', isTrue: true, reason: 'ValidMetricFound', message },
      { type: 'AbleToScale', isTrue: true, ...able },
      { type: 'ScalingLimited', isTrue: limited.isLimited, reason: limited.reason, message: limited.message },
    ],
    history: next,
  };
}

/** The status with new conditions; one that stays as it was keeps its time. */
export function statusOf(
  { metadata, status }: HorizontalPodAutoscaler,
  next: Partial<HorizontalPodAutoscalerStatus>,
  notes: readonly Note[],
  nowMs: number,
): HorizontalPodAutoscalerStatus {
  const conditions = new Map((status?.conditions ?? []).map((condition) => [condition.type, condition]));
  for (const { type, isTrue, reason, message } of notes) {
    const old = conditions.get(type);
    const is = isTrue ? 'True' : 'False';
    const lastTransitionTime = old?.status === is ? old.lastTransitionTime : rfc3339(nowMs);
    const condition: HorizontalPodAutoscalerCondition = {
      type,
      status: is,
      reason,
      message,
      lastTransitionTime,
    };
    conditions.set(type, condition);
  }
  return {
    desiredReplicas: 0,
    ...status,
    ...next,
    observedGeneration: metadata?.generation,
    conditions: [...conditions.values()],
  };
}
