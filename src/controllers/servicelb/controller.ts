import type { Node } from '../../api/gen/core-v1.ts';
import { nodes, services } from '../../api/resource.ts';
import type { Task } from '../../base/lifetime.ts';
import { done } from '../../control/reconciler.ts';
import { WorkQueue } from '../../control/work-queue.ts';
import { type ControllerContext, reconcilerTask, withEvents } from '../context.ts';
import { canonicalJson } from '../status-patch.ts';
import { isBalanced, planBalancer } from './plan.ts';

/** Writes the addresses of the ready nodes into the status of LoadBalancer Services. */
export function serviceLbController(context: ControllerContext): Task {
  const { client, informers, timing } = context;
  const serviceInformer = informers.of(services);
  const nodeInformer = informers.of(nodes);
  const recorder = context.recorder('service-lb-controller');
  const queue = new WorkQueue(timing.clock);

  function addAll(): void {
    for (const service of serviceInformer.list()) {
      if (isBalanced(service)) queue.add(`${service.metadata?.namespace}/${service.metadata?.name}`);
    }
  }
  serviceInformer.onChange((key, now, old) => {
    queue.add(key);
    const changed = canonicalJson(now?.spec) !== canonicalJson(old?.spec);
    // Ports that this one gives up may be what another waits for.
    if (changed && old?.spec?.type === 'LoadBalancer') addAll();
  });
  nodeInformer.onChange((_key, now, old) => {
    if (nodeFacts(now) !== nodeFacts(old)) addAll();
  });

  const task = reconcilerTask(context, 'servicelb', queue, async (key, signal) => {
    const service = serviceInformer.get(key);
    if (service === undefined) return done;
    const foreign = service.spec?.type === 'LoadBalancer' && service.spec.loadBalancerClass !== undefined;
    const { ingress, clash } = planBalancer(service, serviceInformer.list(), nodeInformer.list());
    if (clash !== undefined) {
      const message = `Port ${clash.port} of the nodes belongs to Service ${clash.service}: delete it or choose another port`;
      recorder.event(service, 'Warning', 'PortUnavailable', message);
    }
    const current = service.status?.loadBalancer?.ingress ?? [];
    if (foreign || canonicalJson(current) === canonicalJson(ingress)) return done;
    const { namespace, name = '' } = service.metadata ?? {};
    const patch = { status: { loadBalancer: { ingress: ingress.length === 0 ? null : ingress } } };
    await client.patch(services, namespace, name, 'merge', patch, { subresource: 'status', signal });
    return done;
  });
  return withEvents(task, recorder);
}

/** What decides about addresses; heartbeats are not among it. */
function nodeFacts(node: Node | undefined): string {
  const ready = node?.status?.conditions?.find(({ type }) => type === 'Ready')?.status;
  const { labels, deletionTimestamp } = node?.metadata ?? {};
  return canonicalJson([ready, node?.status?.addresses, labels, deletionTimestamp]);
}
