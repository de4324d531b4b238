import { objectKey } from '../../api/object.ts';
import { configMaps, namespaces } from '../../api/resource.ts';
import type { Task } from '../../base/lifetime.ts';
import { runTogether } from '../../base/lifetime.ts';
import { isApiError } from '../../client/client.ts';
import { createInformer } from '../../control/create-informer.ts';
import { done } from '../../control/reconciler.ts';
import { WorkQueue } from '../../control/work-queue.ts';
import { type ControllerContext, reconcilerTask } from '../context.ts';

export const rootCaName = 'kube-root-ca.crt';
const description =
  'Contains a CA bundle that can be used to verify the kube-apiserver when using internal endpoints such as the ' +
  'internal service IP or kubernetes.default.svc. No other usage is guaranteed across distributions of Kubernetes clusters.';

/** Keeps a ConfigMap with the cluster's CA in every namespace: Pods verify the API server with it. */
export function rootCaController(context: ControllerContext, certificateAuthority: string): Task {
  const { client, informers, timing } = context;
  const namespaceInformer = informers.of(namespaces);
  // Only the ConfigMaps of that name: all others would be memory for nothing.
  const configMapInformer = createInformer(client, configMaps, {
    fieldSelector: `metadata.name=${rootCaName}`,
    log: context.log,
    timing,
  });
  const queue = new WorkQueue(timing.clock);
  namespaceInformer.onChange((key) => queue.add(key));
  configMapInformer.onChange((_key, now, old) => queue.add((now ?? old)?.metadata?.namespace ?? ''));
  const data = { 'ca.crt': certificateAuthority };

  const task = reconcilerTask(context, 'root-ca', queue, async (namespace, signal) => {
    const object = namespaceInformer.get(namespace);
    if (object === undefined || object.metadata?.deletionTimestamp !== undefined) return done;
    const existing = configMapInformer.get(objectKey(namespace, rootCaName));
    if (existing?.data?.['ca.crt'] === certificateAuthority) return done;
    const metadata = {
      name: rootCaName,
      namespace,
      annotations: { 'kubernetes.io/description': description },
    };
    const wanted = { apiVersion: 'v1', kind: 'ConfigMap', metadata, data };
    if (existing === undefined) {
      try {
        await client.create(configMaps, wanted, { signal });
      } catch (error) {
        if (!isApiError(error, 'AlreadyExists') && !isApiError(error, 'NotFound')) throw error;
      }
    } else {
      await client.patch(configMaps, namespace, rootCaName, 'merge', { data }, { signal });
    }
    return done;
  });
  const watch = {
    name: 'root-ca informer',
    async run(signal: AbortSignal) {
      await configMapInformer.run(signal);
    },
  };
  const work = {
    name: 'root-ca reconciler',
    async run(signal: AbortSignal) {
      await configMapInformer.whenSynced(signal);
      await task.run(signal);
    },
  };
  return { name: 'root-ca', run: (signal) => runTogether([watch, work], signal) };
}
