import type { Kind } from '../kind.ts';
import { controllerRevisionKind } from './controllerrevision.ts';
import { daemonSetKind } from './daemonset.ts';
import { deploymentKind } from './deployment.ts';
import { replicaSetKind } from './replicaset.ts';
import { statefulSetKind } from './statefulset.ts';

export const appsKinds: readonly Kind[] = [
  controllerRevisionKind,
  daemonSetKind,
  deploymentKind,
  replicaSetKind,
  statefulSetKind,
];
