import type { ReplicaSet } from '../../api/gen/apps-v1.ts';
import type { Pod } from '../../api/gen/core-v1.ts';
import type { KubeObject, ObjectKey } from '../../api/object.ts';
import type { Resource } from '../../api/resource.ts';
import type { Task } from '../../base/lifetime.ts';
import { done, type Outcome, requeueAfter } from '../../control/reconciler.ts';
import { WorkQueue } from '../../control/work-queue.ts';
import { type ControllerContext, reconcilerTask, withEvents } from '../context.ts';
import { controllerReference } from '../ownership.ts';
import { PodControl } from '../pod-control.ts';
import { statusPatch } from '../status-patch.ts';
import { planReplicaSet, planReplicaSetStatus, podFromTemplate } from './plan.ts';

/** A kind whose objects have a number of equal Pods. */
export type ReplicaOwner<T extends KubeObject> = {
  readonly resource: Resource<T>;
  /** Of the task. */
  readonly name: string;
  /** Under which Events are written. */
  readonly component: string;
  readonly asReplicaSet: (owner: T) => ReplicaSet;
  /** Pods that are looked at when it is decided which ones go: those of `candidates`, or of siblings, too. */
  readonly relatedTo: (owner: T, candidates: readonly Pod[]) => readonly Pod[];
};

/** Keeps the asked number of Pods of every owner. */
export function replicaKeeper<T extends KubeObject & { readonly status?: object | undefined }>(
  context: ControllerContext,
  { resource, name, component, asReplicaSet, relatedTo }: ReplicaOwner<T>,
): Task {
  const { client, informers, timing } = context;
  const recorder = context.recorder(component);
  const queue = new WorkQueue(timing.clock);
  const owners = informers.of(resource);
  const control = new PodControl(context, resource, recorder);
  control.listen(owners, queue, (owner) => asReplicaSet(owner).spec?.selector);

  async function reconcile(key: ObjectKey, signal: AbortSignal): Promise<Outcome> {
    const owner = owners.get(key);
    if (owner === undefined) return done;
    const waitMs = control.waitMs(key);
    if (waitMs > 0) return requeueAfter(waitMs);
    const set = asReplicaSet(owner);
    const candidates = control.candidatesOf(owner);
    const plan = planReplicaSet(set, candidates, relatedTo(owner, candidates));
    const owned = await control.claim(owner, plan.claims, signal);
    const template = podFromTemplate(set, controllerReference(resource, owner));
    const wanted = Array.from({ length: plan.create }, () => template);
    const failure = await control.create(owner, wanted, signal);
    await control.remove(owner, plan.remove, signal);
    const nowMs = timing.clock.nowMs();
    const { status, recheckAfterMs } = planReplicaSetStatus(set, owned, nowMs, failure?.message);
    const patch = statusPatch(owner.status, status);
    if (patch !== undefined) {
      const { namespace, name: ownName = '' } = owner.metadata ?? {};
      await client.patch(resource, namespace, ownName, 'merge', patch, { subresource: 'status', signal });
    }
    if (failure !== undefined) throw failure;
    return recheckAfterMs === undefined ? done : requeueAfter(recheckAfterMs);
  }

  return withEvents(reconcilerTask(context, name, queue, reconcile), recorder);
}
