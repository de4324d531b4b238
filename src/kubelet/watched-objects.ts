import type { ConfigMap, Pod, Secret } from '../api/gen/core-v1.ts';
import { type KubeObject, objectKey } from '../api/object.ts';
import { configMaps, type Resource, secrets } from '../api/resource.ts';
import type { ApiClient } from '../client/client.ts';
import { createInformer } from '../control/create-informer.ts';
import type { Informer } from '../control/informer.ts';
import { referencedObjects } from './volume-files.ts';

/** The ConfigMaps and Secrets that the Pods of this node read; nothing else of either is held in memory. */
export type WatchedObjects = {
  /** Begins to watch what the Pod refers to, and resolves when all of it is known (or known to be missing). */
  acquire(pod: Pod, signal: AbortSignal): Promise<void>;
  /** The Pod needs nothing any more. */
  release(podUid: string): void;
  configMap(namespace: string, name: string): ConfigMap | undefined;
  secret(namespace: string, name: string): Secret | undefined;
};

type Watched = {
  readonly informer: Informer<KubeObject>;
  readonly stop: AbortController;
  readonly users: Set<string>; // Pod uids
};

/** `onChange` is called with the uids of the Pods that read what has changed. Bound: two watches a distinct reference. */
export function createWatchedObjects(
  client: ApiClient,
  onChange: (podUids: Iterable<string>) => void,
  parent: AbortSignal,
): WatchedObjects {
  const watched = new Map<string, Watched>(); // "configmaps/NAMESPACE/NAME"

  function watch(resource: Resource, namespace: string, name: string, uid: string): Informer<KubeObject> {
    const key = `${resource.plural}/${namespace}/${name}`;
    const present = watched.get(key);
    if (present !== undefined) {
      present.users.add(uid);
      return present.informer;
    }
    const informer = createInformer(client, resource, { namespace, fieldSelector: `metadata.name=${name}` });
    const stop = new AbortController();
    const users = new Set([uid]);
    informer.onChange(() => onChange(users));
    watched.set(key, { informer, stop, users });
    void informer.run(AbortSignal.any([parent, stop.signal]));
    return informer;
  }

  function get(resource: Resource, namespace: string, name: string): KubeObject | undefined {
    return watched.get(`${resource.plural}/${namespace}/${name}`)?.informer.get(objectKey(namespace, name));
  }

  return {
    async acquire(pod, signal) {
      const { namespace = 'default', uid = '' } = pod.metadata ?? {};
      const wanted = referencedObjects(pod);
      const informers = [
        ...[...wanted.configMaps].map((name) => watch(configMaps, namespace, name, uid)),
        ...[...wanted.secrets].map((name) => watch(secrets, namespace, name, uid)),
      ];
      await Promise.all(informers.map((informer) => informer.whenSynced(signal)));
    },
    release(podUid) {
      for (const [key, entry] of watched) {
        if (!entry.users.delete(podUid) || entry.users.size > 0) continue;
        entry.stop.abort();
        watched.delete(key);
      }
    },
    configMap: (namespace, name) => get(configMaps, namespace, name) as ConfigMap | undefined,
    secret: (namespace, name) => get(secrets, namespace, name) as Secret | undefined,
  };
}
