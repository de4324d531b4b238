import { clusterRoles } from '../../api/resource.ts';
import { aggregatedRules, isAggregated, sameRules } from '../../api/role-aggregation.ts';
import type { Task } from '../../base/lifetime.ts';
import { done } from '../../control/reconciler.ts';
import { WorkQueue } from '../../control/work-queue.ts';
import { type ControllerContext, reconcilerTask } from '../context.ts';

/** Gives ClusterRoles with an `aggregationRule` the rules of the roles that it selects. */
export function clusterRoleAggregationController(context: ControllerContext): Task {
  const { client, informers, timing } = context;
  const roles = informers.of(clusterRoles);
  const queue = new WorkQueue(timing.clock);
  // Any role may be a part of any aggregated one; there are few of either.
  roles.onChange(() => {
    for (const role of roles.list()) if (isAggregated(role)) queue.add(role.metadata?.name ?? '');
  });
  return reconcilerTask(context, 'clusterrole-aggregation', queue, async (name, signal) => {
    const role = roles.get(name);
    if (role === undefined || !isAggregated(role)) return done;
    const rules = aggregatedRules(role, roles.list());
    if (sameRules(rules, role.rules ?? [])) return done;
    await client.patch(clusterRoles, undefined, name, 'merge', { rules }, { signal });
    return done;
  });
}
