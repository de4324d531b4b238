import type { ReplicaSet } from '../../api/gen/apps-v1.ts';
import type { ReplicationController } from '../../api/gen/core-v1.ts';
import { replicationControllers } from '../../api/resource.ts';
import type { Task } from '../../base/lifetime.ts';
import type { ControllerContext } from '../context.ts';
import { replicaKeeper } from '../replicaset/keeper.ts';

/** Keeps the asked number of Pods of every ReplicationController, by the ReplicaSet's plan: only the selector differs. */
export function replicationControllerController(context: ControllerContext): Task {
  return replicaKeeper(context, {
    resource: replicationControllers,
    name: 'replicationcontroller',
    component: 'replication-controller',
    asReplicaSet,
    relatedTo: (_owner, candidates) => candidates,
  });
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
