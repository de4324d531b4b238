import type { Kind } from '../kind.ts';
import { deploymentKind } from './deployment.ts';
import { replicaSetKind } from './replicaset.ts';

/** StatefulSet, DaemonSet and ControllerRevision are not served until a controller acts on them. */
export const appsKinds: readonly Kind[] = [deploymentKind, replicaSetKind];
