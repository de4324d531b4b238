import { objectKey } from '../../api/object.ts';
import { namespaces, serviceAccounts } from '../../api/resource.ts';
import type { Task } from '../../base/lifetime.ts';
import { isApiError } from '../../client/client.ts';
import { done } from '../../control/reconciler.ts';
import { WorkQueue } from '../../control/work-queue.ts';
import { type ControllerContext, reconcilerTask } from '../context.ts';

/** Keeps the ServiceAccount `default` in every namespace: Pods cannot be created without one. */
export function serviceAccountController(context: ControllerContext): Task {
  const { client, informers, timing } = context;
  const namespaceInformer = informers.of(namespaces);
  const accountInformer = informers.of(serviceAccounts);
  const queue = new WorkQueue(timing.clock);
  namespaceInformer.onChange((key) => queue.add(key));
  accountInformer.onChange((_key, now, old) => {
    if (now === undefined && old?.metadata?.name === 'default') queue.add(old.metadata.namespace ?? '');
  });
  return reconcilerTask(context, 'serviceaccount', queue, async (namespace, signal) => {
    const object = namespaceInformer.get(namespace);
    if (object === undefined || object.metadata?.deletionTimestamp !== undefined) return done;
    if (accountInformer.get(objectKey(namespace, 'default')) !== undefined) return done;
    try {
      const account = { apiVersion: 'v1', kind: 'ServiceAccount', metadata: { name: 'default', namespace } };
      await client.create(serviceAccounts, account, { signal });
    } catch (error) {
      if (!isApiError(error, 'AlreadyExists') && !isApiError(error, 'NotFound')) throw error;
    }
    return done;
  });
}
