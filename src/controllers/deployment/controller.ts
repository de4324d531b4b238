import type { Deployment, ReplicaSet } from '../../api/gen/apps-v1.ts';
import type { Pod } from '../../api/gen/core-v1.ts';
import { keyOf, type ObjectKey, objectKey } from '../../api/object.ts';
import { deployments, pods, replicaSets } from '../../api/resource.ts';
import type { Clock } from '../../base/clock.ts';
import type { Task } from '../../base/lifetime.ts';
import type { ApiClient } from '../../client/client.ts';
import { ApiError, isApiError } from '../../client/client.ts';
import { Expectations } from '../../control/expectations.ts';
import type { Informer } from '../../control/informer.ts';
import { done, type Outcome, requeueAfter } from '../../control/reconciler.ts';
import type { Recorder } from '../../control/recorder.ts';
import { matchesSelector } from '../../control/selector.ts';
import { WorkQueue } from '../../control/work-queue.ts';
import {
  type ControllerContext,
  type ControllerLoop,
  controllerIndex,
  controllerUidsOf,
  loopTask,
} from '../context.ts';
import { adoptionPatch, controllerOf, controllerReference, planClaims, releasePatch } from '../ownership.ts';
import { statusPatch } from '../status-patch.ts';
import { type DeploymentAction, planDeployment } from './plan.ts';
import { findNewReplicaSet, revisionAnnotation } from './revision.ts';
import { replicasOf } from './scale.ts';
import { type Progress, planDeploymentStatus } from './status.ts';

/** Rolls every Deployment's ReplicaSets from template to template. */
export function deploymentController(context: ControllerContext): Task {
  return loopTask(context, 'deployment', new DeploymentLoop(context));
}

class DeploymentLoop implements ControllerLoop {
  readonly queue: WorkQueue;
  readonly recorder: Recorder;
  readonly #client: ApiClient;
  readonly #clock: Clock;
  readonly #deploymentInformer: Informer<Deployment>;
  readonly #setInformer: Informer<ReplicaSet>;
  readonly #podInformer: Informer<Pod>;
  readonly #deploymentsExpected: Expectations<Deployment>;
  readonly #setsExpected: Expectations<ReplicaSet>;

  constructor(context: ControllerContext) {
    this.queue = new WorkQueue(context.timing.clock);
    this.recorder = context.recorder('deployment-controller');
    this.#client = context.client;
    this.#clock = context.timing.clock;
    this.#deploymentInformer = context.informers.of(deployments);
    this.#setInformer = context.informers.of(replicaSets);
    this.#podInformer = context.informers.of(pods);
    this.#deploymentsExpected = new Expectations(this.#deploymentInformer, this.#clock);
    this.#setsExpected = new Expectations(this.#setInformer, this.#clock);
  }

  listen(): void {
    this.#setInformer.addIndex(controllerIndex, controllerUidsOf);
    this.#podInformer.addIndex(controllerIndex, controllerUidsOf);
    this.#deploymentInformer.onChange((key) => this.queue.add(key));
    this.#setInformer.onChange((_key, now, old) => {
      for (const set of [now, old]) {
        if (set === undefined) continue;
        const controller = controllerOf(set);
        const { namespace, labels } = set.metadata ?? {};
        if (controller?.kind === 'Deployment') this.queue.add(objectKey(namespace, controller.name));
        if (controller !== undefined) continue;
        for (const { metadata, spec } of this.#deploymentInformer.list()) {
          if (metadata?.namespace === namespace && matchesSelector(spec?.selector, labels)) {
            this.queue.add(objectKey(namespace, metadata?.name ?? ''));
          }
        }
      }
    });
    // Recreate waits for the last old Pod to go, which no ReplicaSet's status tells.
    this.#podInformer.onChange((_key, now, old) => {
      if (now !== undefined) return;
      const controller = old === undefined ? undefined : controllerOf(old);
      if (controller?.kind !== 'ReplicaSet') return;
      const set = this.#setInformer.get(objectKey(old?.metadata?.namespace, controller.name));
      const owner = set === undefined ? undefined : controllerOf(set);
      if (owner?.kind === 'Deployment') this.queue.add(objectKey(old?.metadata?.namespace, owner.name));
    });
  }

  reconcile(key: ObjectKey, signal: AbortSignal): Promise<Outcome> {
    const deployment = this.#deploymentInformer.get(key);
    if (deployment === undefined) return Promise.resolve(done);
    const waitMs = Math.max(this.#setsExpected.waitMs(key), this.#deploymentsExpected.waitMs(key));
    return waitMs > 0 ? Promise.resolve(requeueAfter(waitMs)) : this.#step(deployment, key, signal);
  }

  async #claimSets(deployment: Deployment, signal: AbortSignal): Promise<ReplicaSet[] | undefined> {
    const { namespace = '', uid = '' } = deployment.metadata ?? {};
    const candidates = [
      ...this.#setInformer.byIndex(controllerIndex, `${namespace}/${uid}`),
      ...this.#setInformer.byIndex(controllerIndex, `${namespace}/`),
    ];
    const claims = planClaims(deployment, deployment.spec?.selector, candidates);
    const reference = controllerReference(deployments, deployment);
    const writes = [
      ...claims.adopt.map((set) => ({ set, patch: adoptionPatch(set, reference) })),
      ...claims.release.map((set) => ({ set, patch: releasePatch(set, uid) })),
    ];
    for (const { set, patch } of writes) {
      const name = set.metadata?.name ?? '';
      const written = await this.#client.patch(replicaSets, namespace, name, 'merge', patch, { signal });
      this.#setsExpected.written(keyOf(deployment), written);
    }
    return writes.length > 0 ? undefined : [...claims.owned];
  }

  async #act(deployment: Deployment, action: DeploymentAction, signal: AbortSignal): Promise<Progress> {
    const key = keyOf(deployment);
    const { namespace, name = '', uid, resourceVersion } = action.set.metadata ?? {};
    switch (action.kind) {
      case 'create':
        this.#setsExpected.written(key, await this.#client.create(replicaSets, action.set, { signal }));
        this.#announceScale(deployment, name, 0, replicasOf(action.set));
        return { kind: 'created', replicaSet: name };
      case 'annotate':
      case 'scale': {
        const patch = {
          // The version guards against sizing by an old copy: two writers would pass each other.
          metadata: { uid, resourceVersion, annotations: action.annotations },
          ...(action.kind === 'scale' ? { spec: { replicas: action.replicas } } : {}),
        };
        this.#setsExpected.written(
          key,
          await this.#client.patch(replicaSets, namespace, name, 'merge', patch, { signal }),
        );
        if (action.kind === 'scale')
          this.#announceScale(deployment, name, replicasOf(action.set), action.replicas);
        return { kind: 'none' };
      }
      case 'remove':
        try {
          await this.#client.delete(replicaSets, namespace, name, { uid, signal });
          this.#setsExpected.deleted(key, action.set);
        } catch (error) {
          if (!isApiError(error, 'NotFound')) throw error;
        }
        return { kind: 'none' };
    }
  }

  #announceScale(deployment: Deployment, set: string, from: number, to: number): void {
    if (from === to) return;
    const direction = to > from ? 'up' : 'down';
    const message = `Scaled ${direction} replica set ${set} from ${from} to ${to}`;
    this.recorder.event(deployment, 'Normal', 'ScalingReplicaSet', message);
  }

  async #setRevision(deployment: Deployment, revision: string, signal: AbortSignal): Promise<void> {
    const { namespace, name = '', annotations } = deployment.metadata ?? {};
    if (annotations?.[revisionAnnotation] === revision) return;
    const patch = { metadata: { annotations: { [revisionAnnotation]: revision } } };
    const written = await this.#client.patch(deployments, namespace, name, 'merge', patch, { signal });
    this.#deploymentsExpected.written(keyOf(deployment), written);
  }

  async #step(deployment: Deployment, key: string, signal: AbortSignal) {
    const sets = await this.#claimSets(deployment, signal);
    if (sets === undefined) return done; // comes back when the adopted ones are seen
    const namespace = deployment.metadata?.namespace ?? '';
    const plan = planDeployment(deployment, sets, ({ metadata }) =>
      this.#podInformer.byIndex(controllerIndex, `${namespace}/${metadata?.uid ?? ''}`),
    );
    let progress: Progress =
      plan.newSet === undefined
        ? { kind: 'none' }
        : { kind: 'found', replicaSet: plan.newSet.metadata?.name ?? '' };
    let { collisionCount } = deployment.status ?? {};
    let failure: ApiError | undefined;
    for (const action of plan.actions) {
      try {
        const made = await this.#act(deployment, action, signal);
        if (made.kind !== 'none') progress = made;
      } catch (error) {
        if (!(error instanceof ApiError) || action.kind !== 'create') throw error;
        failure = error;
        if (error.code === 'AlreadyExists') {
          if (await this.#isOurs(deployment, action.set, signal)) break; // the cache is behind: it will come
          collisionCount = (collisionCount ?? 0) + 1; // another template has this name: take another hash
        } else {
          const replicaSet = action.set.metadata?.name ?? '';
          progress = { kind: 'createFailed', replicaSet, message: error.message };
        }
        break;
      }
    }
    const created = plan.actions.find((action) => action.kind === 'create');
    const revision =
      plan.revision ??
      (failure === undefined ? created?.set.metadata?.annotations?.[revisionAnnotation] : undefined);
    if (revision !== undefined) await this.#setRevision(deployment, revision, signal);

    const nowMs = this.#clock.nowMs();
    const { newSet, oldSets } = plan;
    const next = planDeploymentStatus({ deployment, newSet, oldSets, progress, collisionCount, nowMs });
    const patch = statusPatch(deployment.status, next.status);
    if (patch !== undefined) {
      const name = deployment.metadata?.name ?? '';
      const options = { subresource: 'status', signal };
      this.#deploymentsExpected.written(
        key,
        await this.#client.patch(deployments, namespace, name, 'merge', patch, options),
      );
    }
    if (failure !== undefined && failure.code !== 'AlreadyExists') throw failure;
    if (failure !== undefined) this.queue.addAfter(key, 10);
    return next.recheckAfterMs === undefined ? done : requeueAfter(next.recheckAfterMs);
  }

  async #isOurs(deployment: Deployment, set: ReplicaSet, signal: AbortSignal): Promise<boolean> {
    const { namespace, name = '' } = set.metadata ?? {};
    const existing = await this.#client.get(replicaSets, namespace, name, signal);
    const ours = controllerOf(existing)?.uid === deployment.metadata?.uid;
    return ours && findNewReplicaSet(deployment, [existing]) !== undefined;
  }
}
