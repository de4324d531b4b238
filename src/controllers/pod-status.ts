import type { Pod, PodCondition } from '../api/gen/core-v1.ts';
import { rfc3339 } from '../base/clock.ts';

export function podCondition(pod: Pod, type: string): PodCondition | undefined {
  return pod.status?.conditions?.find((condition) => condition.type === type);
}

export function isPodReady(pod: Pod): boolean {
  return podCondition(pod, 'Ready')?.status === 'True';
}

/** Ran to its end: it never serves again. */
export function isPodFinished(pod: Pod): boolean {
  return pod.status?.phase === 'Succeeded' || pod.status?.phase === 'Failed';
}

/** Counts towards a ReplicaSet's replicas. */
export function isPodActive(pod: Pod): boolean {
  return !isPodFinished(pod) && pod.metadata?.deletionTimestamp === undefined;
}

/** How long until the Pod counts as available, ms: 0 now, undefined if it is not even ready. */
export function msUntilAvailable(pod: Pod, minReadySeconds: number, nowMs: number): number | undefined {
  if (!isPodReady(pod)) return undefined;
  if (minReadySeconds === 0) return 0;
  const since = podCondition(pod, 'Ready')?.lastTransitionTime;
  if (since === undefined) return undefined;
  return Math.max(0, Date.parse(since) + minReadySeconds * 1000 - nowMs);
}

/** The status patch that tells why a Pod is about to be taken away; Jobs may be told to make nothing of such failures. */
export function disruptionPatch(
  reason: 'DeletionByTaintManager' | 'DeletionByPodGC' | 'PreemptionByScheduler',
  message: string,
  nowMs: number,
): { readonly status: object } {
  const lastTransitionTime = rfc3339(nowMs);
  return {
    status: {
      conditions: [{ type: 'DisruptionTarget', status: 'True', reason, message, lastTransitionTime }],
    },
  };
}
