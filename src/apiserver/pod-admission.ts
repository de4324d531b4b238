import { ensureObject, objectAt, objectsAt, stringAt } from '../api/fields.ts';
import type { JsonObject } from '../api/object.ts';

/** What admission adds to a new Pod beyond the defaults of its schema. Pure: lookups and chance come in. */

export const tokenMountPath = '/var/run/secrets/kubernetes.io/serviceaccount';
export const mirrorAnnotation = 'kubernetes.io/config.mirror';

/** As in Kubernetes: an hour and some seconds, which marks the token as one that the server chose to mount. */
const tokenLifetimeSeconds = 3607;

export type ServiceAccountFacts = {
  /** `automountServiceAccountToken` of the ServiceAccount; undefined is true. */
  readonly automount: boolean | undefined;
  readonly imagePullSecrets: readonly JsonObject[];
};

export function isMirrorPod(pod: JsonObject): boolean {
  return objectAt(pod, 'metadata', 'annotations')?.[mirrorAnnotation] !== undefined;
}

/** The account that the Pod runs as; '' for mirror Pods, which have none. */
export function serviceAccountNameOf(pod: JsonObject): string {
  if (isMirrorPod(pod)) return '';
  return stringAt(pod, 'spec', 'serviceAccountName') || stringAt(pod, 'spec', 'serviceAccount') || 'default';
}

export function admitServiceAccount(
  pod: JsonObject,
  name: string,
  account: ServiceAccountFacts,
  suffix: string,
): void {
  const spec = ensureObject(pod, 'spec');
  spec['serviceAccountName'] = name;
  spec['serviceAccount'] = name; // the deprecated twin, which clients still read
  if (account.imagePullSecrets.length > 0 && objectsAt(spec, 'imagePullSecrets').length === 0) {
    spec['imagePullSecrets'] = [...account.imagePullSecrets];
  }
  const wanted = spec['automountServiceAccountToken'] ?? account.automount ?? true;
  if (wanted === true) mountToken(spec, suffix);
}

function mountToken(spec: JsonObject, suffix: string): void {
  const containers = [...objectsAt(spec, 'initContainers'), ...objectsAt(spec, 'containers')];
  const bare = containers.filter(
    (container) =>
      !objectsAt(container, 'volumeMounts').some((mount) => mount['mountPath'] === tokenMountPath),
  );
  if (bare.length === 0) return;
  const existing = objectsAt(spec, 'volumes').find((volume) =>
    stringAt(volume, 'name').startsWith('kube-api-access-'),
  );
  const name = existing === undefined ? `kube-api-access-${suffix}` : stringAt(existing, 'name');
  if (existing === undefined) spec['volumes'] = [...objectsAt(spec, 'volumes'), tokenVolume(name)];
  for (const container of bare) {
    container['volumeMounts'] = [
      ...objectsAt(container, 'volumeMounts'),
      { name, readOnly: true, mountPath: tokenMountPath },
    ];
  }
}

function tokenVolume(name: string): JsonObject {
  return {
    name,
    projected: {
      defaultMode: 0o644,
      sources: [
        { serviceAccountToken: { expirationSeconds: tokenLifetimeSeconds, path: 'token' } },
        { configMap: { name: 'kube-root-ca.crt', items: [{ key: 'ca.crt', path: 'ca.crt' }] } },
        {
          downwardAPI: {
            items: [{ path: 'namespace', fieldRef: { apiVersion: 'v1', fieldPath: 'metadata.namespace' } }],
          },
        },
      ],
    },
  };
}

/** The grace that a delete of this Pod gets, s: what was asked for or the Pod's own; none where no kubelet must act. */
export function graceOf(pod: JsonObject, askedSeconds: number | undefined): number {
  const phase = stringAt(pod, 'status', 'phase');
  if (stringAt(pod, 'spec', 'nodeName') === '' || phase === 'Succeeded' || phase === 'Failed') return 0;
  const own = objectAt(pod, 'spec')?.['terminationGracePeriodSeconds'];
  const asked = askedSeconds ?? (typeof own === 'number' ? own : 30);
  // A negative grace is read as one second, as in Kubernetes.
  return asked < 0 ? 1 : asked;
}
