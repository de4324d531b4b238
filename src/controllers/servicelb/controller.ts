import type { Node, Pod } from '../../api/gen/core-v1.ts';
import { keyOf } from '../../api/object.ts';
import { nodes, pods, services } from '../../api/resource.ts';
import { rfc3339 } from '../../base/clock.ts';
import type { Task } from '../../base/lifetime.ts';
import { done } from '../../control/reconciler.ts';
import { WorkQueue } from '../../control/work-queue.ts';
import { type ControllerContext, reconcilerTask, withEvents } from '../context.ts';
import { conditionsPatch, planCondition } from '../service-conditions.ts';
import { slicesByService, slicesOfService } from '../service-slices.ts';
import { canonicalJson } from '../status-patch.ts';
import { heldByPods } from './held-ports.ts';
import { isBalanced, ownClass, planBalancer, portsError, portsErrorCondition } from './plan.ts';

/** Index of the Pods that have ports of their node. */
const holdersIndex = 'ports of the node';

/** Writes the addresses of the ready nodes into the status of LoadBalancer Services. */
export function serviceLbController(context: ControllerContext): Task {
  const { client, informers, timing } = context;
  const serviceInformer = informers.of(services);
  const nodeInformer = informers.of(nodes);
  const podInformer = informers.of(pods);
  const recorder = context.recorder('service-lb-controller');
  const queue = new WorkQueue(timing.clock);

  function addAll(): void {
    for (const service of serviceInformer.list()) if (isBalanced(service)) queue.add(keyOf(service));
  }
  podInformer.addIndex(holdersIndex, (pod) => (heldByPods([pod]).size === 0 ? [] : ['']));
  podInformer.onChange((_key, now, old) => {
    if (heldPorts(now) !== heldPorts(old)) addAll();
  });
  slicesByService(informers, (key) => {
    const service = serviceInformer.get(key);
    if (service?.spec?.externalTrafficPolicy === 'Local' && isBalanced(service)) queue.add(key);
  });
  serviceInformer.onChange((key, now, old) => {
    queue.add(key);
    if (!serviceInformer.synced) return; // the first list brings them all
    const changed = canonicalJson(now?.spec) !== canonicalJson(old?.spec);
    const mayHoldPorts = [now, old].some(
      (service) => service?.spec?.type === 'LoadBalancer' || service?.spec?.type === 'NodePort',
    );
    // Ports that this one gives up may be what another waits for; those that it takes as the older one another has to leave.
    if (changed && mayHoldPorts) addAll();
  });
  nodeInformer.onChange((_key, now, old) => {
    if (nodeFacts(now) !== nodeFacts(old)) addAll();
  });

  const task = reconcilerTask(context, 'servicelb', queue, async (key, signal) => {
    const service = serviceInformer.get(key);
    if (service === undefined) return done;
    const { type, loadBalancerClass = ownClass } = service.spec ?? {};
    if (type === 'LoadBalancer' && loadBalancerClass !== ownClass) return done; // its own controller writes its status
    const { ingress, clashes, wantedAddressMissing } = planBalancer(service, {
      services: serviceInformer.list(),
      nodes: nodeInformer.list(),
      pods: podInformer.byIndex(holdersIndex, ''),
      slices: slicesOfService(informers, key),
    });
    const error = portsError(clashes);
    const nowText = rfc3339(timing.clock.nowMs());
    const conditions = planCondition(service, portsErrorCondition, error, nowText);
    if (wantedAddressMissing && ingress.length > 0) {
      const message = `${service.spec?.loadBalancerIP ?? ''} is no address of a node that takes its traffic: all nodes' addresses are given`;
      recorder.event(service, 'Warning', 'LoadBalancerIPUnavailable', message);
    }
    // Servers since 1.29 add the mode of an address.
    const current = (service.status?.loadBalancer?.ingress ?? []).map(({ ipMode: _mode, ...point }) => point);
    if (conditions === undefined && canonicalJson(current) === canonicalJson(ingress)) return done;
    const { namespace, name = '' } = service.metadata ?? {};
    const told = conditions === undefined ? undefined : conditionsPatch(service, conditions);
    const status = { ...told?.status, loadBalancer: { ingress: ingress.length === 0 ? null : ingress } };
    const body = { ...told, status };
    await client.patch(services, namespace, name, 'merge', body, { subresource: 'status', signal });
    if (error !== undefined && conditions !== undefined) {
      recorder.event(service, 'Warning', error.reason, error.message);
    }
    return done;
  });
  return withEvents(task, recorder);
}

/** What a Pod has of its node's ports. */
function heldPorts(pod: Pod | undefined): string {
  return pod === undefined ? '[]' : canonicalJson([...heldByPods([pod])]);
}

/** What decides about addresses; heartbeats are not among it. */
function nodeFacts(node: Node | undefined): string {
  const ready = node?.status?.conditions?.find(({ type }) => type === 'Ready')?.status;
  const { labels, deletionTimestamp } = node?.metadata ?? {};
  return canonicalJson([ready, node?.status?.addresses, labels, deletionTimestamp]);
}
