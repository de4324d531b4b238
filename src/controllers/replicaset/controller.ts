import type { ReplicaSet } from '../../api/gen/apps-v1.ts';
import { pods, replicaSets } from '../../api/resource.ts';
import type { Task } from '../../base/lifetime.ts';
import { type ControllerContext, controllerIndex, controllerUidsOf } from '../context.ts';
import { controllerOf } from '../ownership.ts';
import { replicaKeeper } from './keeper.ts';

/** Keeps the asked number of Pods of every ReplicaSet. */
export function replicaSetController(context: ControllerContext): Task {
  const sets = context.informers.of(replicaSets);
  const podInformer = context.informers.of(pods);
  sets.addIndex(controllerIndex, controllerUidsOf);

  function siblingsOf(set: ReplicaSet): Iterable<ReplicaSet> {
    const owner = controllerOf(set);
    if (owner === undefined) return [set];
    return sets.byIndex(controllerIndex, `${set.metadata?.namespace ?? ''}/${owner.uid}`);
  }
  return replicaKeeper(context, {
    resource: replicaSets,
    name: 'replicaset',
    component: 'replicaset-controller',
    asReplicaSet: (set) => set,
    // Of a Deployment's ReplicaSets all count: Pods go first where a node has several of them.
    relatedTo: (set) =>
      [...siblingsOf(set)].flatMap(({ metadata }) => [
        ...podInformer.byIndex(controllerIndex, `${metadata?.namespace ?? ''}/${metadata?.uid ?? ''}`),
      ]),
  });
}
