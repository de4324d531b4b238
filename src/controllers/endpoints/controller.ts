import type { Service } from '../../api/gen/core-v1.ts';
import { keyOf, splitKey } from '../../api/object.ts';
import { endpoints, pods, services } from '../../api/resource.ts';
import type { Task } from '../../base/lifetime.ts';
import { isApiError } from '../../client/client.ts';
import { Expectations } from '../../control/expectations.ts';
import { done, requeueAfter } from '../../control/reconciler.ts';
import { matchesLabels } from '../../control/selector.ts';
import { WorkQueue } from '../../control/work-queue.ts';
import { type ControllerContext, reconcilerTask } from '../context.ts';
import { podsAndServicesByNamespace, podsOfService } from '../service-pods.ts';
import { canonicalJson } from '../status-patch.ts';
import { planEndpoints } from './plan.ts';

/** Keeps the legacy Endpoints object of every Service with a selector. */
export function endpointsController(context: ControllerContext): Task {
  const { client, informers, timing } = context;
  const serviceInformer = informers.of(services);
  const endpointsInformer = informers.of(endpoints);
  const queue = new WorkQueue(timing.clock);
  podsAndServicesByNamespace(informers);
  const expectations = new Expectations(endpointsInformer, timing.clock);
  serviceInformer.onChange((key) => queue.add(key));
  endpointsInformer.onChange((key) => queue.add(key));
  informers.of(pods).onChange((_key, now, old) => {
    for (const pod of [now, old]) {
      if (pod === undefined) continue;
      for (const service of serviceInformer.byIndex('namespace', pod.metadata?.namespace ?? '')) {
        if (matchesLabels(service.spec?.selector, pod.metadata?.labels)) queue.add(keyOf(service));
      }
    }
  });

  async function removeOrphan(key: string, signal: AbortSignal): Promise<void> {
    const { namespace, name } = splitKey(key);
    const old = endpointsInformer.get(key);
    // Endpoints without our label are somebody's own, such as those of the Service kubernetes.
    if (old?.metadata?.labels?.['endpoints.kubernetes.io/managed-by'] !== 'endpoint-controller') return;
    try {
      await client.delete(endpoints, namespace, name, { uid: old.metadata.uid, signal });
    } catch (error) {
      if (!isApiError(error, 'NotFound')) throw error;
    }
  }

  async function write(key: string, service: Service, signal: AbortSignal): Promise<void> {
    const old = endpointsInformer.get(key);
    const wanted = planEndpoints(service, podsOfService(informers, service), old);
    if (old === undefined) {
      expectations.written(key, await client.create(endpoints, wanted, { signal }));
    } else if (
      canonicalJson(old.subsets ?? []) !== canonicalJson(wanted.subsets) ||
      canonicalJson(old.metadata?.labels) !== canonicalJson(wanted.metadata?.labels)
    ) {
      expectations.written(key, await client.replace(endpoints, wanted, { signal }));
    }
  }

  return reconcilerTask(context, 'endpoints', queue, async (key, signal) => {
    const waitMs = expectations.waitMs(key);
    if (waitMs > 0) return requeueAfter(waitMs);
    const service = serviceInformer.get(key);
    if (service === undefined) await removeOrphan(key, signal);
    else if (service.spec?.selector !== undefined && service.spec.type !== 'ExternalName') {
      await write(key, service, signal);
    }
    return done;
  });
}
