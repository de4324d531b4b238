import { nodes } from '../../api/resource.ts';
import type { Task } from '../../base/lifetime.ts';
import { done } from '../../control/reconciler.ts';
import { WorkQueue } from '../../control/work-queue.ts';
import { type ControllerContext, reconcilerTask, withEvents } from '../context.ts';
import { nextPodCidr, parseClusterCidr } from './plan.ts';

/** Gives every node its part of the cluster's Pod network, once and for good. */
export function nodeIpamController(context: ControllerContext, clusterCidr: string): Task {
  const { client, informers, timing } = context;
  const cluster = parseClusterCidr(clusterCidr);
  const nodeInformer = informers.of(nodes);
  const recorder = context.recorder('node-ipam-controller');
  const queue = new WorkQueue(timing.clock);
  /** Given out, but not in the informer yet: node name to CIDR. */
  const promised = new Map<string, string>();
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
      const taken = new Set(promised.values());
      for (const { spec } of nodeInformer.list()) {
        for (const cidr of [spec?.podCIDR, ...(spec?.podCIDRs ?? [])])
          if (cidr !== undefined) taken.add(cidr);
      }
      const podCIDR = promised.get(name) ?? nextPodCidr(cluster, taken);
      if (podCIDR === undefined) {
        recorder.event(
          node,
          'Warning',
          'CIDRNotAvailable',
          `No part of ${clusterCidr} is left for this node`,
        );
        return done;
      }
      promised.set(name, podCIDR);
      const patch = { metadata: { uid: node.metadata?.uid }, spec: { podCIDR, podCIDRs: [podCIDR] } };
      await client.patch(nodes, undefined, name, 'merge', patch, { signal });
      return done;
    },
    1,
  );
  return withEvents(task, recorder);
}
