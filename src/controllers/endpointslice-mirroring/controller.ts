import type { ObjectKey } from '../../api/object.ts';
import { endpointSlices, endpoints, services } from '../../api/resource.ts';
import type { Task } from '../../base/lifetime.ts';
import { Expectations } from '../../control/expectations.ts';
import { done, requeueAfter } from '../../control/reconciler.ts';
import { WorkQueue } from '../../control/work-queue.ts';
import { type ControllerContext, reconcilerTask, withEvents } from '../context.ts';
import { managedByLabel } from '../endpointslice/plan.ts';
import { writeSlice } from '../endpointslice/write.ts';
import { slicesByService, slicesOfService } from '../service-slices.ts';
import { isMirrored, leftOutText, mirroredBy, planMirror } from './plan.ts';

/** Makes EndpointSlices of the Endpoints objects that people write for Services without selector. */
export function endpointSliceMirroringController(context: ControllerContext): Task {
  const { client, informers, timing } = context;
  const serviceInformer = informers.of(services);
  const endpointsInformer = informers.of(endpoints);
  const queue = new WorkQueue(timing.clock);
  const expectations = new Expectations(informers.of(endpointSlices), timing.clock);

  /** Most Endpoints objects are made from Pods by the endpoints controller: they need no pass. */
  function concerns(key: ObjectKey): boolean {
    return serviceInformer.get(key)?.spec?.selector === undefined || mirrored(key).length > 0;
  }
  function mirrored(key: ObjectKey) {
    return [...slicesOfService(informers, key)].filter(
      ({ metadata }) => metadata?.labels?.[managedByLabel] === mirroredBy,
    );
  }
  slicesByService(informers, (key) => {
    if (concerns(key)) queue.add(key);
  });
  serviceInformer.onChange((key) => queue.add(key));
  endpointsInformer.onChange((key) => {
    if (concerns(key)) queue.add(key);
  });

  const recorder = context.recorder('endpoint-slice-mirroring-controller');
  const task = reconcilerTask(context, 'endpointslice-mirroring', queue, async (key, signal) => {
    const waitMs = expectations.waitMs(key);
    if (waitMs > 0) return requeueAfter(waitMs);
    const object = endpointsInformer.get(key);
    const existing = mirrored(key);
    const source = isMirrored(object, serviceInformer.get(key)) ? object : undefined;
    const plan =
      source === undefined
        ? existing.map((slice) => ({ kind: 'delete' as const, slice }))
        : planMirror(source, existing);
    if (source !== undefined && plan.length > 0) {
      const leftOut = leftOutText(source);
      if (leftOut !== undefined) recorder.event(source, 'Warning', 'TooManyAddressesToMirror', leftOut);
    }
    for (const write of plan) {
      const written = await writeSlice(client, write, signal);
      if (written === undefined) expectations.deleted(key, write.slice);
      else expectations.written(key, written);
    }
    return done;
  });
  return withEvents(task, recorder);
}
