import type { Node } from '../../api/gen/core-v1.ts';
import { nodes } from '../../api/resource.ts';
import { formatCidr, parseCidr } from '../../base/ip.ts';
import type { Task } from '../../base/lifetime.ts';
import { done } from '../../control/reconciler.ts';
import { WorkQueue } from '../../control/work-queue.ts';
import { type ControllerContext, reconcilerTask, withEvents } from '../context.ts';
import { nextPodCidrs, parseClusterCidrs } from './plan.ts';

/** Gives every node its part of the cluster's Pod network, of each family one, once and for good. */
export function nodeIpamController(context: ControllerContext, clusterCidr: string): Task {
  const { client, informers, timing } = context;
  const cluster = parseClusterCidrs(clusterCidr);
  const nodeInformer = informers.of(nodes);
  const recorder = context.recorder('node-ipam-controller');
  const queue = new WorkQueue(timing.clock);
  /** Given out, but not in the informer yet: node name to CIDRs. */
  const promised = new Map<string, readonly string[]>();
  nodeInformer.onChange((key, now) => {
    if (now === undefined || now.spec?.podCIDR !== undefined) promised.delete(key);
    if (now !== undefined && (now.spec?.podCIDR ?? '') === '') queue.add(key);
  });
  // One worker: two would give the same part to two nodes.
  const task = reconcilerTask(
    context,
    'node-ipam',
    queue,
    async (name, signal) => {
      const node = nodeInformer.get(name);
      if (node === undefined || (node.spec?.podCIDR ?? '') !== '') return done;
      const taken = new Set([...promised.values()].flat());
      for (const { spec } of nodeInformer.list()) for (const cidr of cidrsOf(spec)) taken.add(cidr);
      const podCIDRs = promised.get(name) ?? nextPodCidrs(cluster, taken);
      if (podCIDRs === undefined) {
        recorder.event(
          node,
          'Warning',
          'CIDRNotAvailable',
          `No part of ${clusterCidr} is left for this node`,
        );
        return done;
      }
      promised.set(name, podCIDRs);
      const patch = { metadata: { uid: node.metadata?.uid }, spec: { podCIDR: podCIDRs[0], podCIDRs } };
      await client.patch(nodes, undefined, name, 'merge', patch, { signal });
      return done;
    },
    1,
  );
  return withEvents(task, recorder);
}

/** Canonical texts, as the plan compares them. */
function cidrsOf(spec: Node['spec']): readonly string[] {
  return [spec?.podCIDR, ...(spec?.podCIDRs ?? [])].flatMap((text) => {
    const cidr = parseCidr(text ?? '');
    return cidr === undefined ? [] : [formatCidr(cidr)];
  });
}
