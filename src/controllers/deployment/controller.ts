import type { Deployment, ReplicaSet } from '../../api/gen/apps-v1.ts';
import { keyOf, objectKey } from '../../api/object.ts';
import { deployments, pods, replicaSets } from '../../api/resource.ts';
import type { Task } from '../../base/lifetime.ts';
import { ApiError, isApiError } from '../../client/client.ts';
import { Expectations } from '../../control/expectations.ts';
import { done, requeueAfter } from '../../control/reconciler.ts';
import { matchesSelector } from '../../control/selector.ts';
import { WorkQueue } from '../../control/work-queue.ts';
import {
  type ControllerContext,
  controllerIndex,
  controllerUidsOf,
  reconcilerTask,
  withEvents,
} from '../context.ts';
import { adoptionPatch, controllerOf, controllerReference, planClaims, releasePatch } from '../ownership.ts';
import { statusPatch } from '../status-patch.ts';
import { type DeploymentAction, planDeployment } from './plan.ts';
import { findNewReplicaSet, revisionAnnotation } from './revision.ts';
import { replicasOf } from './scale.ts';
import { planDeploymentStatus, type Progress } from './status.ts';

/** Rolls every Deployment's ReplicaSets from template to template. */
export function deploymentController(context: ControllerContext): Task {
  const { client, informers, timing } = context;
  const deploymentInformer = informers.of(deployments);
  const setInformer = informers.of(replicaSets);
  const podInformer = informers.of(pods);
  const recorder = context.recorder('deployment-controller');
  const queue = new WorkQueue(timing.clock);
  setInformer.addIndex(controllerIndex, controllerUidsOf);
  podInformer.addIndex(controllerIndex, controllerUidsOf);
  const deploymentsExpected = new Expectations(deploymentInformer, timing.clock);
  const setsExpected = new Expectations(setInformer, timing.clock);

  deploymentInformer.onChange((key) => queue.add(key));
  setInformer.onChange((_key, now, old) => {
    for (const set of [now, old]) {
      if (set === undefined) continue;
      const controller = controllerOf(set);
      const { namespace, labels } = set.metadata ?? {};
      if (controller?.kind === 'Deployment') queue.add(objectKey(namespace, controller.name));
      if (controller !== undefined) continue;
      for (const { metadata, spec } of deploymentInformer.list()) {
        if (metadata?.namespace === namespace && matchesSelector(spec?.selector, labels)) {
          queue.add(objectKey(namespace, metadata?.name ?? ''));
        }
      }
    }
  });
  // Recreate waits for the last old Pod to go, which no ReplicaSet's status tells.
  podInformer.onChange((_key, now, old) => {
    if (now !== undefined) return;
    const controller = old === undefined ? undefined : controllerOf(old);
    if (controller?.kind !== 'ReplicaSet') return;
    const set = setInformer.get(objectKey(old?.metadata?.namespace, controller.name));
    const owner = set === undefined ? undefined : controllerOf(set);
    if (owner?.kind === 'Deployment') queue.add(objectKey(old?.metadata?.namespace, owner.name));
  });

  async function claimSets(deployment: Deployment, signal: AbortSignal): Promise<ReplicaSet[] | undefined> {
    const { namespace = '', uid = '' } = deployment.metadata ?? {};
    const candidates = [
      ...setInformer.byIndex(controllerIndex, `${namespace}/${uid}`),
      ...setInformer.byIndex(controllerIndex, `${namespace}/`),
    ];
    const claims = planClaims(deployment, deployment.spec?.selector, candidates);
    const reference = controllerReference(deployments, deployment);
    const writes = [
      ...claims.adopt.map((set) => ({ set, patch: adoptionPatch(set, reference) })),
      ...claims.release.map((set) => ({ set, patch: releasePatch(set, uid) })),
    ];
    for (const { set, patch } of writes) {
      const name = set.metadata?.name ?? '';
      const written = await client.patch(replicaSets, namespace, name, 'merge', patch, { signal });
      setsExpected.written(keyOf(deployment), written);
    }
    return writes.length > 0 ? undefined : [...claims.owned];
  }

  async function act(
    deployment: Deployment,
    action: DeploymentAction,
    signal: AbortSignal,
  ): Promise<Progress> {
    const key = keyOf(deployment);
    const { namespace, name = '', uid, resourceVersion } = action.set.metadata ?? {};
    switch (action.kind) {
      case 'create':
        setsExpected.written(key, await client.create(replicaSets, action.set, { signal }));
        announceScale(deployment, name, 0, replicasOf(action.set));
        return { kind: 'created', replicaSet: name };
      case 'annotate':
      case 'scale': {
        const patch = {
          // The version guards against sizing by an old copy: two writers would pass each other.
          metadata: { uid, resourceVersion, annotations: action.annotations },
          ...(action.kind === 'scale' ? { spec: { replicas: action.replicas } } : {}),
        };
        setsExpected.written(
          key,
          await client.patch(replicaSets, namespace, name, 'merge', patch, { signal }),
        );
        if (action.kind === 'scale') announceScale(deployment, name, replicasOf(action.set), action.replicas);
        return { kind: 'none' };
      }
      case 'remove':
        try {
          await client.delete(replicaSets, namespace, name, { uid, signal });
          setsExpected.deleted(key, action.set);
        } catch (error) {
          if (!isApiError(error, 'NotFound')) throw error;
        }
        return { kind: 'none' };
    }
  }

  function announceScale(deployment: Deployment, set: string, from: number, to: number): void {
    if (from === to) return;
    const direction = to > from ? 'up' : 'down';
    const message = `Scaled ${direction} replica set ${set} from ${from} to ${to}`;
    recorder.event(deployment, 'Normal', 'ScalingReplicaSet', message);
  }

  async function setRevision(deployment: Deployment, revision: string, signal: AbortSignal): Promise<void> {
    const { namespace, name = '', annotations } = deployment.metadata ?? {};
    if (annotations?.[revisionAnnotation] === revision) return;
    const patch = { metadata: { annotations: { [revisionAnnotation]: revision } } };
    const written = await client.patch(deployments, namespace, name, 'merge', patch, { signal });
    deploymentsExpected.written(keyOf(deployment), written);
  }

  async function reconcile(deployment: Deployment, key: string, signal: AbortSignal) {
    const sets = await claimSets(deployment, signal);
    if (sets === undefined) return done; // comes back when the adopted ones are seen
    const namespace = deployment.metadata?.namespace ?? '';
    const plan = planDeployment(deployment, sets, ({ metadata }) =>
      podInformer.byIndex(controllerIndex, `${namespace}/${metadata?.uid ?? ''}`),
    );
    let progress: Progress =
      plan.newSet === undefined
        ? { kind: 'none' }
        : { kind: 'found', replicaSet: plan.newSet.metadata?.name ?? '' };
    let { collisionCount } = deployment.status ?? {};
    let failure: ApiError | undefined;
    for (const action of plan.actions) {
      try {
        const made = await act(deployment, action, signal);
        if (made.kind !== 'none') progress = made;
      } catch (error) {
        if (!(error instanceof ApiError) || action.kind !== 'create') throw error;
        failure = error;
        if (error.code === 'AlreadyExists') {
          if (await isOurs(deployment, action.set, signal)) break; // the cache is behind: it will come
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
    if (revision !== undefined) await setRevision(deployment, revision, signal);

    const nowMs = timing.clock.nowMs();
    const { newSet, oldSets } = plan;
    const next = planDeploymentStatus({ deployment, newSet, oldSets, progress, collisionCount, nowMs });
    const patch = statusPatch(deployment.status, next.status);
    if (patch !== undefined) {
      const name = deployment.metadata?.name ?? '';
      const options = { subresource: 'status', signal };
      deploymentsExpected.written(
        key,
        await client.patch(deployments, namespace, name, 'merge', patch, options),
      );
    }
    if (failure !== undefined && failure.code !== 'AlreadyExists') throw failure;
    if (failure !== undefined) queue.addAfter(key, 10);
    return next.recheckAfterMs === undefined ? done : requeueAfter(next.recheckAfterMs);
  }

  async function isOurs(deployment: Deployment, set: ReplicaSet, signal: AbortSignal): Promise<boolean> {
    const { namespace, name = '' } = set.metadata ?? {};
    const existing = await client.get(replicaSets, namespace, name, signal);
    const ours = controllerOf(existing)?.uid === deployment.metadata?.uid;
    return ours && findNewReplicaSet(deployment, [existing]) !== undefined;
  }

  const reconciler = reconcilerTask(context, 'deployment', queue, (key, signal) => {
    const deployment = deploymentInformer.get(key);
    if (deployment === undefined) return Promise.resolve(done);
    const waitMs = Math.max(setsExpected.waitMs(key), deploymentsExpected.waitMs(key));
    return waitMs > 0 ? Promise.resolve(requeueAfter(waitMs)) : reconcile(deployment, key, signal);
  });
  return withEvents(reconciler, recorder);
}
