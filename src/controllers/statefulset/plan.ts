import type { StatefulSet, StatefulSetStatus } from '../../api/gen/apps-v1.ts';
import type { PersistentVolumeClaim, Pod } from '../../api/gen/core-v1.ts';
import { statefulSets } from '../../api/resource.ts';
import { intOrPercent } from '../deployment/scale.ts';
import { controllerReference } from '../ownership.ts';
import { isPodFinished, isPodReady, msUntilAvailable } from '../pod-status.ts';
import { revisionHashLabel } from '../revisions.ts';
import { nonZero } from '../status-patch.ts';

export const podNameLabel = 'statefulset.kubernetes.io/pod-name';
const podIndexLabel = 'apps.kubernetes.io/pod-index';

export type StatefulSetPlan = {
  /** Ordinals to create, each from a revision. */
  readonly create: readonly { readonly ordinal: number; readonly revision: string }[];
  readonly remove: readonly Pod[];
  /** Of the removed ones those that scaling down condemns: their claims may go with them. */
  readonly condemned: readonly Pod[];
  readonly status: StatefulSetStatus;
  readonly recheckAfterMs: number | undefined;
};

export type Revisions = {
  /** Name of the revision that all Pods had when the last rollout was complete. */
  readonly current: string;
  readonly update: string;
};

/**
 * What is to be done for one StatefulSet. Pods are made in the order of their ordinals, each after the one before is
 * available, and go in the opposite order; with podManagementPolicy Parallel all at once. One rollout step at a time.
 */
export function planStatefulSet(
  set: StatefulSet,
  owned: readonly Pod[],
  revisions: Revisions,
  nowMs: number,
): StatefulSetPlan {
  const facts = factsOf(set, owned, revisions, nowMs);
  const { status, recheckAfterMs } = facts;
  if (set.metadata?.deletionTimestamp !== undefined) {
    return { create: [], remove: [], condemned: [], status, recheckAfterMs };
  }
  const steps = nextSteps(facts);
  return { ...steps, status, recheckAfterMs };
}

type Facts = {
  readonly set: StatefulSet;
  readonly revisions: Revisions;
  readonly start: number;
  readonly end: number;
  readonly ordered: boolean;
  readonly byOrdinal: ReadonlyMap<number, Pod>;
  readonly condemned: readonly Pod[];
  readonly isHealthy: (pod: Pod) => boolean;
  readonly status: StatefulSetStatus;
  readonly recheckAfterMs: number | undefined;
};

function factsOf(set: StatefulSet, owned: readonly Pod[], revisions: Revisions, nowMs: number): Facts {
  const name = set.metadata?.name ?? '';
  const start = set.spec?.ordinals?.start ?? 0;
  const end = start + (set.spec?.replicas ?? 1);
  const byOrdinal = new Map<number, Pod>();
  const condemned: { readonly pod: Pod; readonly ordinal: number }[] = [];
  for (const pod of owned) {
    const ordinal = ordinalOf(name, pod);
    if (ordinal === undefined) continue;
    if (ordinal >= start && ordinal < end) byOrdinal.set(ordinal, pod);
    else condemned.push({ pod, ordinal });
  }
  const minReady = set.spec?.minReadySeconds ?? 0;
  const waits = owned
    .map((pod) => msUntilAvailable(pod, minReady, nowMs))
    .filter((ms): ms is number => ms !== undefined && ms > 0);
  const isHealthy = (pod: Pod): boolean =>
    pod.metadata?.deletionTimestamp === undefined && msUntilAvailable(pod, minReady, nowMs) === 0;
  return {
    set,
    revisions,
    start,
    end,
    ordered: set.spec?.podManagementPolicy !== 'Parallel',
    byOrdinal,
    condemned: condemned.toSorted((a, b) => b.ordinal - a.ordinal).map(({ pod }) => pod),
    isHealthy,
    status: statusOf(set, owned, revisions, isHealthy),
    recheckAfterMs: waits.length === 0 ? undefined : Math.min(...waits),
  };
}

function statusOf(
  set: StatefulSet,
  owned: readonly Pod[],
  revisions: Revisions,
  isHealthy: (pod: Pod) => boolean,
): StatefulSetStatus {
  const alive = owned.filter((pod) => pod.metadata?.deletionTimestamp === undefined);
  const at = (revision: string): number => alive.filter((pod) => revisionOf(pod) === revision).length;
  const ready = owned.filter(isPodReady).length;
  const wanted = set.spec?.replicas ?? 1;
  const updated = at(revisions.update);
  const complete =
    set.spec?.updateStrategy?.type !== 'OnDelete' &&
    updated === wanted &&
    owned.length === wanted &&
    ready === wanted;
  const current = complete ? revisions.update : revisions.current;
  return {
    replicas: owned.length,
    readyReplicas: nonZero(ready),
    availableReplicas: owned.filter(isHealthy).length,
    currentReplicas: nonZero(at(current)),
    updatedReplicas: nonZero(updated),
    currentRevision: current,
    updateRevision: revisions.update,
    observedGeneration: set.metadata?.generation,
    collisionCount: 0,
    conditions: set.status?.conditions,
  };
}

type Steps = Pick<StatefulSetPlan, 'create' | 'remove' | 'condemned'>;

function nextSteps(facts: Facts): Steps {
  const { start, end, ordered, byOrdinal, isHealthy } = facts;
  const create: { ordinal: number; revision: string }[] = [];
  const remove: Pod[] = [];
  for (let ordinal = start; ordinal < end; ordinal++) {
    const pod = byOrdinal.get(ordinal);
    if (pod === undefined) create.push({ ordinal, revision: revisionFor(facts, ordinal) });
    else if (isPodFinished(pod)) remove.push(pod);
    else if (isHealthy(pod)) continue;
    // The next one waits until this one is available.
    if (ordered) return { create, remove, condemned: [] };
  }
  const condemned = condemnedNow(facts);
  if (create.length > 0 || remove.length > 0 || facts.condemned.length > 0) {
    return { create, remove: [...remove, ...condemned], condemned };
  }
  return { create: [], remove: outdatedNow(facts), condemned: [] };
}

function condemnedNow({ condemned, ordered }: Facts): readonly Pod[] {
  if (!ordered) return condemned;
  const [first] = condemned;
  return first === undefined || first.metadata?.deletionTimestamp !== undefined ? [] : [first];
}

/** Ordinals below the partition keep the old template. */
function partitionOf({ set, start }: Facts): number {
  return start + (set.spec?.updateStrategy?.rollingUpdate?.partition ?? 0);
}

function revisionFor(facts: Facts, ordinal: number): string {
  const { set, revisions } = facts;
  if (set.spec?.updateStrategy?.type === 'OnDelete') return revisions.update;
  return ordinal < partitionOf(facts) ? revisions.current : revisions.update;
}

/** Pods of an old template to replace now: the highest ordinals first, as many at once as may be unavailable. */
function outdatedNow(facts: Facts): readonly Pod[] {
  const { set, byOrdinal, end, isHealthy, revisions } = facts;
  if (set.spec?.updateStrategy?.type === 'OnDelete') return [];
  const bound = set.spec?.updateStrategy?.rollingUpdate?.maxUnavailable ?? 1;
  let room = Math.max(1, intOrPercent(bound, set.spec?.replicas ?? 1, Math.ceil));
  const outdated: Pod[] = [];
  for (let ordinal = end - 1; ordinal >= partitionOf(facts) && room > 0; ordinal--) {
    const pod = byOrdinal.get(ordinal);
    if (pod === undefined) continue;
    const old = revisionOf(pod) !== revisions.update;
    if (old && pod.metadata?.deletionTimestamp === undefined) outdated.push(pod);
    if (old || !isHealthy(pod)) room--;
  }
  return outdated;
}

export function revisionOf(pod: Pod): string | undefined {
  return pod.metadata?.labels?.[revisionHashLabel];
}

/** "web-3" of "web" → 3. */
function ordinalOf(name: string, pod: Pod): number | undefined {
  const podName = pod.metadata?.name ?? '';
  const found = /^(.*)-(\d+)$/.exec(podName);
  return found?.[1] === name ? Number(found[2]) : undefined;
}

/** The Pod of an ordinal: a name that stays, a host name in the set's Service, and claims of its own. */
export function podOfOrdinal(set: StatefulSet, ordinal: number, revision: string): Pod {
  const { name: setName = '', namespace } = set.metadata ?? {};
  const name = `${setName}-${ordinal}`;
  const { metadata, spec } = set.spec?.template ?? {};
  const claims = set.spec?.volumeClaimTemplates ?? [];
  const claimed = new Set(claims.map((claim) => claim.metadata?.name));
  const volumes = [
    ...claims.map((claim) => ({
      name: claim.metadata?.name ?? '',
      persistentVolumeClaim: { claimName: claimName(claim, name) },
    })),
    ...(spec?.volumes ?? []).filter((volume) => !claimed.has(volume.name)),
  ];
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: {
      name,
      namespace,
      labels: {
        ...metadata?.labels,
        [podNameLabel]: name,
        [podIndexLabel]: String(ordinal),
        [revisionHashLabel]: revision,
      },
      annotations: metadata?.annotations,
      finalizers: metadata?.finalizers,
      ownerReferences: [controllerReference(statefulSets, set)],
    },
    spec: {
      containers: [],
      ...spec,
      hostname: name,
      subdomain: set.spec?.serviceName,
      ...(volumes.length === 0 ? {} : { volumes }),
    },
  };
}

function claimName(claim: PersistentVolumeClaim, podName: string): string {
  return `${claim.metadata?.name ?? ''}-${podName}`;
}

/** The claims of an ordinal; they outlive its Pod unless the set's policy says otherwise. */
export function claimsOfOrdinal(set: StatefulSet, ordinal: number): readonly PersistentVolumeClaim[] {
  const podName = `${set.metadata?.name ?? ''}-${ordinal}`;
  const dies = set.spec?.persistentVolumeClaimRetentionPolicy?.whenDeleted === 'Delete';
  return (set.spec?.volumeClaimTemplates ?? []).map((claim) => ({
    apiVersion: 'v1',
    kind: 'PersistentVolumeClaim',
    metadata: {
      name: claimName(claim, podName),
      namespace: set.metadata?.namespace,
      labels: { ...claim.metadata?.labels, ...set.spec?.selector.matchLabels },
      annotations: claim.metadata?.annotations,
      ...(dies ? { ownerReferences: [controllerReference(statefulSets, set)] } : {}),
    },
    spec: claim.spec,
  }));
}
