import type { Deployment, ReplicaSet } from '../../api/gen/apps-v1.ts';
import type { PodTemplateSpec } from '../../api/gen/core-v1.ts';
import { deployments } from '../../api/resource.ts';
import { controllerReference } from '../ownership.ts';
import { canonicalJson } from '../status-patch.ts';

export const revisionAnnotation = 'deployment.kubernetes.io/revision';
export const revisionHistoryAnnotation = 'deployment.kubernetes.io/revision-history';
export const desiredReplicasAnnotation = 'deployment.kubernetes.io/desired-replicas';
export const maxReplicasAnnotation = 'deployment.kubernetes.io/max-replicas';
export const templateHashLabel = 'pod-template-hash';

/** Annotations of the Deployment that its ReplicaSets do not inherit. */
const notInherited: ReadonlySet<string> = new Set([
  'kubectl.kubernetes.io/last-applied-configuration',
  revisionAnnotation,
  revisionHistoryAnnotation,
  desiredReplicasAnnotation,
  maxReplicasAnnotation,
]);

/** The ReplicaSet of the Deployment's present template; the oldest one should there be several. */
export function findNewReplicaSet(
  deployment: Deployment,
  sets: readonly ReplicaSet[],
): ReplicaSet | undefined {
  const wanted = templateText(deployment.spec?.template);
  return sets.toSorted(byCreation).find((set) => templateText(set.spec?.template) === wanted);
}

/** Compares templates without the hash label, which is derived from the rest. */
function templateText(template: PodTemplateSpec | undefined): string {
  const { [templateHashLabel]: _hash, ...labels } = template?.metadata?.labels ?? {};
  const { creationTimestamp: _created, ...metadata } = template?.metadata ?? {};
  return canonicalJson({ ...template, metadata: { ...metadata, labels } });
}

/** Eight to ten letters and digits that are no words, from an FNV-1a hash of template and collision count. */
export function templateHash(deployment: Deployment): string {
  const text = `${templateText(deployment.spec?.template)}#${deployment.status?.collisionCount ?? 0}`;
  let hash = 0x811c9dc5;
  for (const byte of Buffer.from(text, 'utf8')) hash = Math.imul(hash ^ byte, 0x01000193) >>> 0;
  const alphabet = 'bcdfghjklmnpqrstvwxz2456789';
  return Array.from(String(hash), (digit) => alphabet[digit.charCodeAt(0) % alphabet.length]).join('');
}

/** A 64-bit number in Kubernetes: it may be set by hand to more than a `number` holds. 0 without one. */
export function revisionOf(object: { readonly metadata?: ReplicaSet['metadata'] }): bigint {
  return BigInt(/^\d{1,19}$/.exec(object.metadata?.annotations?.[revisionAnnotation] ?? '')?.[0] ?? 0);
}

/** The new ReplicaSet to create. */
export function newReplicaSet(
  deployment: Deployment,
  revision: bigint,
  replicas: number,
  maxReplicas: number,
): ReplicaSet {
  const hash = templateHash(deployment);
  const { name = '', namespace, annotations } = deployment.metadata ?? {};
  const template = deployment.spec?.template;
  const labels = { ...template?.metadata?.labels, [templateHashLabel]: hash };
  return {
    apiVersion: 'apps/v1',
    kind: 'ReplicaSet',
    metadata: {
      name: `${name}-${hash}`,
      namespace,
      labels,
      annotations: {
        ...inheritedAnnotations(annotations),
        [revisionAnnotation]: String(revision),
        [desiredReplicasAnnotation]: String(deployment.spec?.replicas ?? 1),
        [maxReplicasAnnotation]: String(maxReplicas),
      },
      ownerReferences: [controllerReference(deployments, deployment)],
    },
    spec: {
      replicas,
      minReadySeconds: deployment.spec?.minReadySeconds,
      selector: {
        ...deployment.spec?.selector,
        matchLabels: { ...deployment.spec?.selector.matchLabels, [templateHashLabel]: hash },
      },
      template: { ...template, metadata: { ...template?.metadata, labels } },
    },
  };
}

/** The annotations that an existing new ReplicaSet should have: a higher revision leaves the old one in the history. */
export function newReplicaSetAnnotations(
  deployment: Deployment,
  set: ReplicaSet,
  revision: bigint,
): Record<string, string> {
  const annotations: Record<string, string> = {
    ...set.metadata?.annotations,
    ...inheritedAnnotations(deployment.metadata?.annotations),
  };
  const old = revisionOf(set);
  if (old >= revision) return annotations;
  annotations[revisionAnnotation] = String(revision);
  if (old > 0n) {
    const history = (annotations[revisionHistoryAnnotation] ?? '').split(',').filter((entry) => entry !== '');
    annotations[revisionHistoryAnnotation] = [...history, String(old)].slice(-20).join(',');
  }
  return annotations;
}

function inheritedAnnotations(
  annotations: Readonly<Record<string, string>> | undefined,
): Record<string, string> {
  return Object.fromEntries(Object.entries(annotations ?? {}).filter(([key]) => !notInherited.has(key)));
}

export function byCreation(a: ReplicaSet, b: ReplicaSet): number {
  const [first = '', second = ''] = [a.metadata?.creationTimestamp, b.metadata?.creationTimestamp];
  if (first !== second) return first < second ? -1 : 1;
  return (a.metadata?.name ?? '') < (b.metadata?.name ?? '') ? -1 : 1;
}
