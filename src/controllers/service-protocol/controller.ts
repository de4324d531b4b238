import { keyOf } from '../../api/object.ts';
import { nodes, services } from '../../api/resource.ts';
import { rfc3339 } from '../../base/clock.ts';
import type { Task } from '../../base/lifetime.ts';
import { done } from '../../control/reconciler.ts';
import { WorkQueue } from '../../control/work-queue.ts';
import { sctpLackOf } from '../../model/node-protocols.ts';
import { type ControllerContext, reconcilerTask } from '../context.ts';
import { conditionsPatch, planCondition } from '../service-conditions.ts';
import { planSctpCondition, sctpCondition, sctpPortsOf } from './plan.ts';

/** Tells in the status of Services of any type that nodes cannot serve their SCTP ports, by what the nodes' proxies say. */
export function serviceProtocolController(context: ControllerContext): Task {
  const { client, informers, timing } = context;
  const serviceInformer = informers.of(services);
  const nodeInformer = informers.of(nodes);
  const queue = new WorkQueue(timing.clock);

  serviceInformer.onChange((key, now) => {
    const told = now?.status?.conditions?.some(({ type }) => type === sctpCondition) === true;
    if (now !== undefined && (told || sctpPortsOf(now).length > 0)) queue.add(key);
  });
  nodeInformer.onChange((_name, now, old) => {
    const isSame = now !== undefined && old !== undefined && sctpLackOf(now) === sctpLackOf(old);
    if (isSame) return;
    // A node that comes or goes may change whether it is all of them.
    for (const service of serviceInformer.list())
      if (sctpPortsOf(service).length > 0) queue.add(keyOf(service));
  });

  return reconcilerTask(context, 'service-protocol', queue, async (key, signal) => {
    const service = serviceInformer.get(key);
    if (service === undefined) return done;
    const wanted = planSctpCondition(service, nodeInformer.list());
    const conditions = planCondition(service, sctpCondition, wanted, rfc3339(timing.clock.nowMs()));
    if (conditions === undefined) return done;
    const { namespace, name = '' } = service.metadata ?? {};
    const body = conditionsPatch(service, conditions);
    await client.patch(services, namespace, name, 'merge', body, { subresource: 'status', signal });
    return done;
  });
}
