import type { ReplicaSet, ReplicaSetCondition, ReplicaSetStatus } from '../../api/gen/apps-v1.ts';
import type { Pod } from '../../api/gen/core-v1.ts';
import type { OwnerReference } from '../../api/gen/meta-v1.ts';
import { rfc3339 } from '../../base/clock.ts';
import { matchesLabels } from '../../control/selector.ts';
import { type Claims, planClaims } from '../ownership.ts';
import { isPodActive, isPodReady, msUntilAvailable, podCondition } from '../pod-status.ts';
import { nonZero } from '../status-patch.ts';

/** Pods created or deleted in one pass at most; the rest follows in the next. kube-controller-manager's burst. */
export const burstMax = 500;
const deletionCostAnnotation = 'controller.kubernetes.io/pod-deletion-cost';

export type ReplicaSetPlan = {
  readonly claims: Claims<Pod>;
  readonly create: number;
  readonly remove: readonly Pod[];
};

/**
 * What is to be done for one ReplicaSet.
 * @param candidates Pods of its namespace that it owns or that nobody owns
 * @param related active Pods of all ReplicaSets of the same Deployment: two on one node make one dispensable
 */
export function planReplicaSet(
  replicaSet: ReplicaSet,
  candidates: Iterable<Pod>,
  related: Iterable<Pod>,
): ReplicaSetPlan {
  const claims = planClaims(replicaSet, replicaSet.spec?.selector, candidates);
  if (replicaSet.metadata?.deletionTimestamp !== undefined) return { claims, create: 0, remove: [] };
  const active = [...claims.owned, ...claims.adopt].filter(isPodActive);
  const missing = (replicaSet.spec?.replicas ?? 1) - active.length;
  if (missing >= 0) return { claims, create: Math.min(missing, burstMax), remove: [] };
  const remove = rankForDeletion(active, related).slice(0, Math.min(-missing, burstMax));
  return { claims, create: 0, remove };
}

/** Most dispensable first, by the rules of kube-controller-manager. */
export function rankForDeletion(pods: readonly Pod[], related: Iterable<Pod>): Pod[] {
  const perNode = new Map<string, number>();
  for (const pod of related) {
    if (!isPodActive(pod)) continue;
    const node = pod.spec?.nodeName ?? '';
    perNode.set(node, (perNode.get(node) ?? 0) + 1);
  }
  const phaseRank: Readonly<Record<string, number>> = { Pending: 0, Unknown: 1, Running: 2 };
  const rankOf = (pod: Pod): readonly number[] => [
    pod.spec?.nodeName === undefined ? 0 : 1,
    phaseRank[pod.status?.phase ?? 'Pending'] ?? 0,
    isPodReady(pod) ? 1 : 0,
    Number(pod.metadata?.annotations?.[deletionCostAnnotation] ?? 0) || 0,
    -(perNode.get(pod.spec?.nodeName ?? '') ?? 0),
    -readySinceMs(pod), // ready since longer ago is worth more
    -restartsOf(pod),
    -timeOf(pod.metadata?.creationTimestamp),
  ];
  return pods
    .map((pod) => ({ pod, rank: rankOf(pod) }))
    .toSorted((a, b) => compareRanks(a.rank, b.rank) || compareText(uidOf(a.pod), uidOf(b.pod)))
    .map(({ pod }) => pod);
}

/** The Pod to create, without a name: the server makes one up. */
export function podFromTemplate(replicaSet: ReplicaSet, controller: OwnerReference): Pod {
  const { metadata, spec } = replicaSet.spec?.template ?? {};
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: {
      generateName: `${replicaSet.metadata?.name ?? ''}-`,
      namespace: replicaSet.metadata?.namespace,
      labels: metadata?.labels,
      annotations: metadata?.annotations,
      finalizers: metadata?.finalizers,
      ownerReferences: [controller],
    },
    spec,
  };
}

export type ReplicaSetStatusPlan = {
  readonly status: ReplicaSetStatus;
  /** When a ready Pod will become available; undefined: nothing to wait for. */
  readonly recheckAfterMs: number | undefined;
};

/** @param createError what the server said to the last create of this pass, if it refused */
export function planReplicaSetStatus(
  replicaSet: ReplicaSet,
  owned: Iterable<Pod>,
  nowMs: number,
  createError?: string,
): ReplicaSetStatusPlan {
  const active = [...owned].filter(isPodActive);
  const templateLabels = replicaSet.spec?.template?.metadata?.labels ?? {};
  const untilAvailable = active.map((pod) =>
    msUntilAvailable(pod, replicaSet.spec?.minReadySeconds ?? 0, nowMs),
  );
  const waits = untilAvailable.filter((ms) => ms !== undefined && ms > 0);
  const conditions = replicaFailure(replicaSet, nowMs, createError);
  return {
    status: {
      replicas: active.length,
      fullyLabeledReplicas: nonZero(
        active.filter((pod) => matchesLabels(templateLabels, pod.metadata?.labels)).length,
      ),
      readyReplicas: nonZero(active.filter(isPodReady).length),
      availableReplicas: nonZero(untilAvailable.filter((ms) => ms === 0).length),
      observedGeneration: replicaSet.metadata?.generation,
      conditions: conditions.length === 0 ? undefined : conditions,
    },
    recheckAfterMs: waits.length === 0 ? undefined : Math.min(...waits.map((ms) => ms ?? 0)),
  };
}

function replicaFailure(
  replicaSet: ReplicaSet,
  nowMs: number,
  createError: string | undefined,
): readonly ReplicaSetCondition[] {
  const conditions = replicaSet.status?.conditions ?? [];
  const others = conditions.filter(({ type }) => type !== 'ReplicaFailure');
  if (createError === undefined) return others;
  const old = conditions.find(({ type }) => type === 'ReplicaFailure');
  const lastTransitionTime = old?.lastTransitionTime ?? rfc3339(nowMs);
  const message = createError;
  return [
    ...others,
    { type: 'ReplicaFailure', status: 'True', reason: 'FailedCreate', message, lastTransitionTime },
  ];
}

function readySinceMs(pod: Pod): number {
  return isPodReady(pod) ? timeOf(podCondition(pod, 'Ready')?.lastTransitionTime) : 0;
}

function restartsOf(pod: Pod): number {
  return Math.max(0, ...(pod.status?.containerStatuses ?? []).map(({ restartCount }) => restartCount));
}

function timeOf(time: string | undefined): number {
  return time === undefined ? 0 : Date.parse(time);
}

function uidOf(pod: Pod): string {
  return pod.metadata?.uid ?? '';
}

function compareText(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

function compareRanks(a: readonly number[], b: readonly number[]): number {
  for (let at = 0; at < a.length; at++) {
    const difference = (a[at] ?? 0) - (b[at] ?? 0);
    if (difference !== 0) return difference;
  }
  return 0;
}
