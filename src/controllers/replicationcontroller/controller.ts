import type { ReplicaSet } from '../../api/gen/apps-v1.ts';
import type { ReplicationController } from '../../api/gen/core-v1.ts';
import type { ObjectKey } from '../../api/object.ts';
import { replicationControllers } from '../../api/resource.ts';
import type { Task } from '../../base/lifetime.ts';
import { done, type Outcome, requeueAfter } from '../../control/reconciler.ts';
import { WorkQueue } from '../../control/work-queue.ts';
import { type ControllerContext, reconcilerTask, withEvents } from '../context.ts';
import { controllerReference } from '../ownership.ts';
import { PodControl } from '../pod-control.ts';
import { planReplicaSet, planReplicaSetStatus, podFromTemplate } from '../replicaset/plan.ts';
import { statusPatch } from '../status-patch.ts';

/** Keeps the asked number of Pods of every ReplicationController, by the ReplicaSet's plan: only the selector differs. */
export function replicationControllerController(context: ControllerContext): Task {
  const { client, informers, timing } = context;
  const recorder = context.recorder('replication-controller');
  const queue = new WorkQueue(timing.clock);
  const owners = informers.of(replicationControllers);
  const control = new PodControl(context, replicationControllers, recorder);
  control.listen(owners, queue, (owner) => asReplicaSet(owner).spec?.selector);

  async function reconcile(key: ObjectKey, signal: AbortSignal): Promise<Outcome> {
    const owner = owners.get(key);
    if (owner === undefined) return done;
    const waitMs = control.waitMs(key);
    if (waitMs > 0) return requeueAfter(waitMs);
    const set = asReplicaSet(owner);
    const candidates = control.candidatesOf(owner);
    const plan = planReplicaSet(set, candidates, candidates);
    const owned = await control.claim(owner, plan.claims, signal);
    const template = podFromTemplate(set);
    const pod = {
      ...template,
      metadata: {
        ...template.metadata,
        ownerReferences: [controllerReference(replicationControllers, owner)],
      },
    };
    const failure = await control.create(
      owner,
      Array.from({ length: plan.create }, () => pod),
      signal,
    );
    await control.remove(owner, plan.remove, signal);
    const { status, recheckAfterMs } = planReplicaSetStatus(
      set,
      owned,
      timing.clock.nowMs(),
      failure?.message,
    );
    const patch = statusPatch(owner.status, status);
    const { namespace, name = '' } = owner.metadata ?? {};
    if (patch !== undefined) {
      const options = { subresource: 'status', signal };
      await client.patch(replicationControllers, namespace, name, 'merge', patch, options);
    }
    if (failure !== undefined) throw failure;
    return recheckAfterMs === undefined ? done : requeueAfter(recheckAfterMs);
  }

  return withEvents(reconcilerTask(context, 'replicationcontroller', queue, reconcile), recorder);
}

function asReplicaSet(owner: ReplicationController): ReplicaSet {
  const { spec, status, metadata } = owner;
  return {
    metadata,
    spec: {
      replicas: spec?.replicas,
      minReadySeconds: spec?.minReadySeconds,
      selector: { matchLabels: spec?.selector },
      template: spec?.template,
    },
    status,
  };
}
