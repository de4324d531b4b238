import type { Deployment, ReplicaSet } from '../../api/gen/apps-v1.ts';
import type { Pod } from '../../api/gen/core-v1.ts';
import { isPodFinished } from '../pod-status.ts';
import { canonicalJson } from '../status-patch.ts';
import {
  byCreation,
  desiredReplicasAnnotation,
  findNewReplicaSet,
  maxReplicasAnnotation,
  newReplicaSet,
  newReplicaSetAnnotations,
  revisionOf,
} from './revision.ts';
import {
  availableReplicas,
  nextNewReplicas,
  replicasOf,
  rollingBounds,
  type Scale,
  scaleDownOld,
  scaleProportionally,
  totalReplicas,
  wantedReplicas,
} from './scale.ts';

export type DeploymentAction =
  | { readonly kind: 'create'; readonly set: ReplicaSet }
  /** The annotations of an action are merged into those that the ReplicaSet has. */
  | {
      readonly kind: 'scale';
      readonly set: ReplicaSet;
      readonly replicas: number;
      readonly annotations: Annotations;
    }
  | { readonly kind: 'annotate'; readonly set: ReplicaSet; readonly annotations: Annotations }
  | { readonly kind: 'remove'; readonly set: ReplicaSet };

type Annotations = Readonly<Record<string, string>>;

export type DeploymentPlan = {
  readonly actions: readonly DeploymentAction[];
  readonly newSet: ReplicaSet | undefined;
  readonly oldSets: readonly ReplicaSet[];
  /** What deployment.kubernetes.io/revision of the Deployment should be; undefined: leave it. */
  readonly revision: string | undefined;
};

/**
 * The next step for one Deployment. Steps are small: each ends with a state that is right in itself, and the changes it
 * makes bring the Deployment back for the next one.
 * @param sets its ReplicaSets
 * @param podsOf Pods of a ReplicaSet, finished and terminating ones too; asked only by Recreate
 */
export function planDeployment(
  deployment: Deployment,
  sets: readonly ReplicaSet[],
  podsOf: (set: ReplicaSet) => Iterable<Pod>,
): DeploymentPlan {
  const newSet = findNewReplicaSet(deployment, sets);
  const oldSets = sets.filter((set) => set !== newSet).toSorted(byCreation);
  const revision = highest(oldSets.map(revisionOf)) + 1n;
  const kept = newSet === undefined ? undefined : highest([revisionOf(newSet), revision]);
  const base = { newSet, oldSets, revision: kept === undefined ? undefined : String(kept) };
  if (deployment.metadata?.deletionTimestamp !== undefined)
    return { ...base, actions: [], revision: undefined };

  if (deployment.spec?.paused === true || isScaling(deployment, sets)) {
    const scales = scaleProportionally(deployment, newSet, oldSets);
    const actions = [...annotate(deployment, newSet, revision), ...scalesOf(deployment, scales)];
    // What keeps its size is marked for the new total all the same, or this would be "scaling" for ever.
    const scaled = new Set(scales.map(({ set }) => set));
    const marks = sets
      .filter((set) => replicasOf(set) > 0 && !scaled.has(set) && isMarkedOtherwise(deployment, set))
      .map((set) => scaleAction(deployment, set, replicasOf(set)));
    return { ...base, actions: mergeBySet([...actions, ...marks, ...cleanUp(deployment, newSet, oldSets)]) };
  }
  const actions =
    deployment.spec?.strategy?.type === 'Recreate'
      ? planRecreate(deployment, newSet, oldSets, revision, podsOf)
      : planRolling(deployment, newSet, oldSets, revision);
  return { ...base, actions: mergeBySet([...actions, ...cleanUp(deployment, newSet, oldSets)]) };
}

function planRolling(
  deployment: Deployment,
  newSet: ReplicaSet | undefined,
  oldSets: readonly ReplicaSet[],
  revision: bigint,
): readonly DeploymentAction[] {
  const maxReplicas = wantedReplicas(deployment) + rollingBounds(deployment).maxSurge;
  if (newSet === undefined) {
    const replicas = nextNewReplicas(deployment, oldSets, 0);
    return [{ kind: 'create', set: newReplicaSet(deployment, revision, replicas, maxReplicas) }];
  }
  const actions: DeploymentAction[] = [...annotate(deployment, newSet, revision)];
  const current = replicasOf(newSet);
  const wanted = wantedReplicas(deployment);
  const next = current > wanted ? wanted : nextNewReplicas(deployment, [...oldSets, newSet], current);
  if (next !== current) return [...actions, scaleAction(deployment, newSet, next)];
  return [...actions, ...scalesOf(deployment, scaleDownOld(deployment, newSet, oldSets))];
}

function planRecreate(
  deployment: Deployment,
  newSet: ReplicaSet | undefined,
  oldSets: readonly ReplicaSet[],
  revision: bigint,
  podsOf: (set: ReplicaSet) => Iterable<Pod>,
): readonly DeploymentAction[] {
  const active = oldSets.filter((set) => replicasOf(set) > 0);
  if (active.length > 0)
    return scalesOf(
      deployment,
      active.map((set) => ({ set, replicas: 0 })),
    );
  if (oldSets.some((set) => [...podsOf(set)].some((pod) => !isPodFinished(pod)))) return [];
  const wanted = wantedReplicas(deployment);
  if (newSet === undefined)
    return [{ kind: 'create', set: newReplicaSet(deployment, revision, wanted, wanted) }];
  const actions = annotate(deployment, newSet, revision);
  return replicasOf(newSet) === wanted ? actions : [...actions, scaleAction(deployment, newSet, wanted)];
}

/** True if spec.replicas changed since the ReplicaSets were scaled: that has to be shared out before rolling goes on. */
function isScaling(deployment: Deployment, sets: readonly ReplicaSet[]): boolean {
  const wanted = String(wantedReplicas(deployment));
  return sets.some((set) => {
    const marked = set.metadata?.annotations?.[desiredReplicasAnnotation];
    return replicasOf(set) > 0 && marked !== undefined && marked !== wanted;
  });
}

function isMarkedOtherwise(deployment: Deployment, set: ReplicaSet): boolean {
  const marks = sizeMarks(deployment);
  return Object.entries(marks).some(([key, value]) => set.metadata?.annotations?.[key] !== value);
}

function sizeMarks(deployment: Deployment): Record<string, string> {
  const wanted = wantedReplicas(deployment);
  return {
    [desiredReplicasAnnotation]: String(wanted),
    [maxReplicasAnnotation]: String(wanted + rollingBounds(deployment).maxSurge),
  };
}

function annotate(
  deployment: Deployment,
  newSet: ReplicaSet | undefined,
  revision: bigint,
): readonly DeploymentAction[] {
  if (newSet === undefined) return [];
  const annotations = newReplicaSetAnnotations(deployment, newSet, revision);
  if (canonicalJson(annotations) === canonicalJson(newSet.metadata?.annotations ?? {})) return [];
  return [{ kind: 'annotate', set: newSet, annotations }];
}

function scalesOf(deployment: Deployment, scales: readonly Scale[]): readonly DeploymentAction[] {
  return scales.map(({ set, replicas }) => scaleAction(deployment, set, replicas));
}

function scaleAction(deployment: Deployment, set: ReplicaSet, replicas: number): DeploymentAction {
  return { kind: 'scale', set, replicas, annotations: sizeMarks(deployment) };
}

/** One write a ReplicaSet: a second one in the same pass would conflict with the first. */
function mergeBySet(actions: readonly DeploymentAction[]): readonly DeploymentAction[] {
  const merged = new Map<ReplicaSet, DeploymentAction>();
  for (const action of actions) {
    const earlier = merged.get(action.set);
    if (earlier?.kind === 'annotate' && action.kind === 'scale') {
      merged.set(action.set, { ...action, annotations: { ...earlier.annotations, ...action.annotations } });
    } else {
      merged.set(action.set, action);
    }
  }
  return [...merged.values()];
}

/** Old, empty ReplicaSets beyond the history limit, the oldest revisions first. Only once the rollout is through. */
function cleanUp(
  deployment: Deployment,
  newSet: ReplicaSet | undefined,
  oldSets: readonly ReplicaSet[],
): readonly DeploymentAction[] {
  const wanted = wantedReplicas(deployment);
  if (newSet === undefined || replicasOf(newSet) !== wanted || availableReplicas([newSet]) !== wanted)
    return [];
  if (totalReplicas(oldSets) > 0) return [];
  const removable = oldSets.filter(
    (set) =>
      set.metadata?.deletionTimestamp === undefined &&
      (set.status?.replicas ?? 0) === 0 &&
      set.metadata?.generation === set.status?.observedGeneration,
  );
  const excess = oldSets.length - (deployment.spec?.revisionHistoryLimit ?? 10);
  return removable
    .toSorted((a, b) => (revisionOf(a) < revisionOf(b) ? -1 : 1))
    .slice(0, Math.max(0, excess))
    .map((set) => ({ kind: 'remove', set }));
}

const highest = (revisions: readonly bigint[]): bigint =>
  revisions.reduce((most, revision) => (revision > most ? revision : most), 0n);
