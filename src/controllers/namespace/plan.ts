import type { NamespaceCondition } from '../../api/gen/core-v1.ts';
import type { Resource } from '../../api/resource.ts';

/** Objects of one kind that are still in a namespace which is being deleted. */
export type Leftover = {
  readonly resource: Resource;
  readonly count: number;
  readonly finalizers: readonly string[];
};

/** The conditions that tell why a namespace is still there, in the words of kube-controller-manager. */
export function namespaceConditions(
  leftovers: readonly Leftover[],
  failedGroups: readonly string[],
  old: readonly NamespaceCondition[],
  now: string,
): readonly NamespaceCondition[] {
  const content = leftovers.map(
    ({ resource, count }) => `${nameOf(resource)} has ${count} resource instances`,
  );
  const finalizers = Map.groupBy(
    leftovers.flatMap((leftover) => leftover.finalizers),
    (name) => name,
  );
  const held = [...finalizers].map(([name, all]) => `${name} in ${all.length} resource instances`);
  const entries: readonly (readonly [string, boolean, string, string, string])[] = [
    [
      'NamespaceDeletionDiscoveryFailure',
      failedGroups.length > 0,
      failedGroups.length > 0 ? 'DiscoveryFailed' : 'ResourcesDiscovered',
      `Discovery failed for some groups: ${failedGroups.join(', ')}`,
      'All resources successfully discovered',
    ],
    [
      'NamespaceDeletionContentFailure',
      false,
      'ContentDeleted',
      '',
      'All content successfully deleted, may be waiting on finalization',
    ],
    [
      'NamespaceContentRemaining',
      content.length > 0,
      content.length > 0 ? 'SomeResourcesRemain' : 'ContentRemoved',
      `Some resources are remaining: ${content.join(', ')}`,
      'All content successfully removed',
    ],
    [
      'NamespaceFinalizersRemaining',
      held.length > 0,
      held.length > 0 ? 'SomeFinalizersRemain' : 'ContentHasNoFinalizers',
      `Some content in the namespace has finalizers remaining: ${held.join(', ')}`,
      'All content-preserving finalizers finished',
    ],
  ];
  return entries.map(([type, wrong, reason, trouble, fine]) => {
    const status = wrong ? 'True' : 'False';
    const before = old.find((condition) => condition.type === type);
    const lastTransitionTime = before?.status === status ? before.lastTransitionTime : now;
    return { type, status, reason, message: wrong ? trouble : fine, lastTransitionTime };
  });
}

function nameOf({ plural, group }: Resource): string {
  return group === '' ? `${plural}.` : `${plural}.${group}`;
}
