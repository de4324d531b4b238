import type { Deployment, DeploymentCondition, DeploymentStatus, ReplicaSet } from '../../api/gen/apps-v1.ts';
import { rfc3339 } from '../../base/clock.ts';
import { nonZero } from '../status-patch.ts';
import { availableReplicas, rollingBounds, totalReplicas, wantedReplicas } from './scale.ts';

/** progressDeadlineSeconds of this value means "none". */
const noDeadline = 2 ** 31 - 1;

export type DeploymentStatusPlan = {
  readonly status: DeploymentStatus;
  /** When the progress deadline passes; undefined: nothing is awaited. */
  readonly recheckAfterMs: number | undefined;
};

/** What this pass did that its Progressing condition should tell. */
export type Progress =
  | { readonly kind: 'none' }
  | { readonly kind: 'created'; readonly replicaSet: string }
  | { readonly kind: 'found'; readonly replicaSet: string }
  | { readonly kind: 'createFailed'; readonly replicaSet: string; readonly message: string };

type StatusInput = {
  readonly deployment: Deployment;
  readonly newSet: ReplicaSet | undefined;
  readonly oldSets: readonly ReplicaSet[];
  readonly progress: Progress;
  readonly collisionCount: number | undefined;
  readonly nowMs: number;
};

/** The Deployment's status with the conditions, reasons and messages that kubectl rollout and people know. */
export function planDeploymentStatus(input: StatusInput): DeploymentStatusPlan {
  const { deployment, newSet, oldSets, nowMs } = input;
  const all = newSet === undefined ? oldSets : [...oldSets, newSet];
  const available = availableReplicas(all);
  const replicas = all.reduce((sum, set) => sum + (set.status?.replicas ?? 0), 0);
  const counts = {
    replicas,
    updatedReplicas: newSet?.status?.replicas ?? 0,
    readyReplicas: all.reduce((sum, set) => sum + (set.status?.readyReplicas ?? 0), 0),
    availableReplicas: available,
    unavailableReplicas: Math.max(0, totalReplicas(all) - available),
  };
  const conditions = new Conditions(deployment.status?.conditions ?? [], rfc3339(nowMs));
  setAvailable(conditions, deployment, available);
  setProgress(conditions, input);
  const recheckAfterMs = setDeadline(conditions, input, counts);
  setReplicaFailure(conditions, all);
  return {
    status: {
      observedGeneration: deployment.metadata?.generation,
      replicas: nonZero(counts.replicas),
      updatedReplicas: nonZero(counts.updatedReplicas),
      readyReplicas: nonZero(counts.readyReplicas),
      availableReplicas: nonZero(counts.availableReplicas),
      unavailableReplicas: nonZero(counts.unavailableReplicas),
      collisionCount: input.collisionCount,
      conditions: conditions.list(),
    },
    recheckAfterMs,
  };
}

/** All Pods are of the new template, as many as asked for and available. */
export function isComplete(
  deployment: Deployment,
  counts: { readonly replicas: number; readonly updatedReplicas: number; readonly availableReplicas: number },
): boolean {
  const wanted = wantedReplicas(deployment);
  return (
    counts.updatedReplicas === wanted && counts.replicas === wanted && counts.availableReplicas === wanted
  );
}

function setAvailable(conditions: Conditions, deployment: Deployment, available: number): void {
  const enough = available >= wantedReplicas(deployment) - rollingBounds(deployment).maxUnavailable;
  conditions.set(
    'Available',
    enough ? 'True' : 'False',
    enough ? 'MinimumReplicasAvailable' : 'MinimumReplicasUnavailable',
    `Deployment ${enough ? 'has' : 'does not have'} minimum availability.`,
  );
}

function setProgress(conditions: Conditions, { deployment, progress }: StatusInput): void {
  if (!hasDeadline(deployment)) return;
  const current = conditions.get('Progressing');
  const paused = deployment.spec?.paused === true;
  const timedOut = current?.reason === 'ProgressDeadlineExceeded';
  if (paused && current?.reason !== 'DeploymentPaused' && !timedOut) {
    conditions.set('Progressing', 'Unknown', 'DeploymentPaused', 'Deployment is paused');
  } else if (!paused && current?.reason === 'DeploymentPaused') {
    conditions.set('Progressing', 'Unknown', 'DeploymentResumed', 'Deployment is resumed');
  }
  switch (progress.kind) {
    case 'none':
      return;
    case 'created':
      conditions.set(
        'Progressing',
        'True',
        'NewReplicaSetCreated',
        `Created new replica set "${progress.replicaSet}"`,
      );
      return;
    case 'found':
      if (current !== undefined) return;
      conditions.set(
        'Progressing',
        'True',
        'FoundNewReplicaSet',
        `Found new replica set "${progress.replicaSet}"`,
      );
      return;
    case 'createFailed': {
      const message = `Failed to create new replica set "${progress.replicaSet}": ${progress.message}`;
      conditions.set('Progressing', 'False', 'ReplicaSetCreateError', message);
    }
  }
}

type Counts = {
  readonly [K in 'replicas' | 'updatedReplicas' | 'readyReplicas' | 'availableReplicas']: number;
};

/** Returns how long until the deadline, ms. */
function setDeadline(conditions: Conditions, input: StatusInput, counts: Counts): number | undefined {
  const { deployment, newSet, nowMs } = input;
  if (!hasDeadline(deployment)) {
    conditions.remove('Progressing');
    return undefined;
  }
  if (deployment.spec?.paused === true) return undefined;
  const subject = newSet === undefined ? 'Deployment' : 'ReplicaSet';
  const name = newSet?.metadata?.name ?? deployment.metadata?.name ?? '';
  const before = deployment.status;
  const current = conditions.get('Progressing');
  const settled = counts.replicas === counts.updatedReplicas && current?.reason === 'NewReplicaSetAvailable';
  if (settled) return undefined;
  if (isComplete(deployment, counts)) {
    const message = `${subject} "${name}" has successfully progressed.`;
    conditions.set('Progressing', 'True', 'NewReplicaSetAvailable', message);
    return undefined;
  }
  const moved =
    counts.updatedReplicas > (before?.updatedReplicas ?? 0) ||
    counts.replicas - counts.updatedReplicas < (before?.replicas ?? 0) - (before?.updatedReplicas ?? 0) ||
    counts.readyReplicas > (before?.readyReplicas ?? 0) ||
    counts.availableReplicas > (before?.availableReplicas ?? 0);
  if (moved && input.progress.kind !== 'created') {
    conditions.touch('Progressing', 'True', 'ReplicaSetUpdated', `${subject} "${name}" is progressing.`);
  }
  const progressing = conditions.get('Progressing');
  if (progressing === undefined || progressing.reason === 'NewReplicaSetAvailable') return undefined;
  if (progressing.reason === 'ProgressDeadlineExceeded') return undefined;
  const deadlineMs = (deployment.spec?.progressDeadlineSeconds ?? 600) * 1000;
  const leftMs = Date.parse(progressing.lastUpdateTime ?? '') + deadlineMs - nowMs;
  if (leftMs > 0) return leftMs;
  const message = `${subject} "${name}" has timed out progressing.`;
  conditions.set('Progressing', 'False', 'ProgressDeadlineExceeded', message);
  return undefined;
}

function setReplicaFailure(conditions: Conditions, sets: readonly ReplicaSet[]): void {
  const failure = sets
    .flatMap((set) => set.status?.conditions ?? [])
    .find(({ type }) => type === 'ReplicaFailure');
  if (failure === undefined) conditions.remove('ReplicaFailure');
  else conditions.set('ReplicaFailure', failure.status, failure.reason ?? '', failure.message ?? '');
}

function hasDeadline(deployment: Deployment): boolean {
  return (deployment.spec?.progressDeadlineSeconds ?? 600) !== noDeadline;
}

/** A condition list under change. lastTransitionTime moves only with the status, lastUpdateTime with every change. */
class Conditions {
  readonly #byType: Map<string, DeploymentCondition>;
  readonly #now: string;

  constructor(conditions: readonly DeploymentCondition[], now: string) {
    this.#byType = new Map(conditions.map((condition) => [condition.type, condition]));
    this.#now = now;
  }

  get(type: string): DeploymentCondition | undefined {
    return this.#byType.get(type);
  }

  /** Nothing changes while status and reason stay the same. */
  set(type: string, status: string, reason: string, message: string): void {
    const old = this.#byType.get(type);
    if (old?.status !== status || old.reason !== reason) this.touch(type, status, reason, message);
  }

  touch(type: string, status: string, reason: string, message: string): void {
    const old = this.#byType.get(type);
    const lastTransitionTime = old?.status === status ? old.lastTransitionTime : this.#now;
    this.#byType.set(type, { type, status, reason, message, lastUpdateTime: this.#now, lastTransitionTime });
  }

  remove(type: string): void {
    this.#byType.delete(type);
  }

  list(): readonly DeploymentCondition[] {
    return [...this.#byType.values()];
  }
}
