import type { Pod } from '../../api/gen/core-v1.ts';
import type { PodDisruptionBudget } from '../../api/gen/policy-v1.ts';
import { keyOf, type ObjectKey, objectKey } from '../../api/object.ts';
import {
  podDisruptionBudgets,
  pods,
  replicaSets,
  replicationControllers,
  statefulSets,
} from '../../api/resource.ts';
import type { Task } from '../../base/lifetime.ts';
import { done, type Outcome, requeueAfter } from '../../control/reconciler.ts';
import { matchesSelector } from '../../control/selector.ts';
import { WorkQueue } from '../../control/work-queue.ts';
import { type ControllerContext, reconcilerTask } from '../context.ts';
import { controllerOf } from '../ownership.ts';
import { statusPatch } from '../status-patch.ts';
import { planBudget } from './plan.ts';

/** Keeps the status of every PodDisruptionBudget, by which the API server judges evictions. */
export function disruptionController(context: ControllerContext): Task {
  const { client, informers, timing } = context;
  const queue = new WorkQueue(timing.clock);
  const budgets = informers.of(podDisruptionBudgets);
  const podInformer = informers.of(pods);
  const sets = informers.of(replicaSets);
  const controllers = informers.of(replicationControllers);
  const stateful = informers.of(statefulSets);

  budgets.onChange((key) => queue.add(key));
  podInformer.onChange((_key, now, old) => {
    for (const pod of [now, old]) {
      if (pod === undefined || budgets.size === 0) continue;
      for (const budget of budgets.list()) if (covers(budget, pod)) queue.add(keyOf(budget));
    }
  });
  for (const informer of [sets, controllers, stateful]) {
    informer.onChange((_key, now, old) => {
      if (budgets.size === 0 || now?.spec?.replicas === old?.spec?.replicas) return;
      for (const budget of budgets.list()) {
        if (budget.metadata?.namespace === (now ?? old)?.metadata?.namespace) queue.add(keyOf(budget));
      }
    });
  }

  function scaleOf(pod: Pod): number | undefined {
    const owner = controllerOf(pod);
    const key = objectKey(pod.metadata?.namespace, owner?.name ?? '');
    switch (owner?.kind) {
      case 'ReplicaSet':
        return sets.get(key)?.spec?.replicas;
      case 'ReplicationController':
        return controllers.get(key)?.spec?.replicas;
      case 'StatefulSet':
        return stateful.get(key)?.spec?.replicas;
      default:
        return undefined;
    }
  }

  async function reconcile(key: ObjectKey, signal: AbortSignal): Promise<Outcome> {
    const budget = budgets.get(key);
    if (budget === undefined) return done;
    const { namespace = '', name = '' } = budget.metadata ?? {};
    const covered = [...podInformer.list()].filter((pod) => covers(budget, pod));
    const plan = planBudget(budget, covered, scaleOf, timing.clock.nowMs());
    const patch = statusPatch(budget.status, plan.status);
    if (patch !== undefined) {
      // With the version that was planned from: an eviction counted meanwhile must not be forgotten.
      const body = { ...patch, metadata: { resourceVersion: budget.metadata?.resourceVersion } };
      const options = { subresource: 'status', signal };
      await client.patch(podDisruptionBudgets, namespace, name, 'merge', body, options);
    }
    return plan.recheckAfterMs === undefined ? done : requeueAfter(plan.recheckAfterMs);
  }

  return reconcilerTask(context, 'disruption', queue, reconcile, 2);
}

function covers({ metadata, spec }: PodDisruptionBudget, pod: Pod): boolean {
  if (metadata?.namespace !== pod.metadata?.namespace) return false;
  return matchesSelector(spec?.selector, pod.metadata?.labels);
}
