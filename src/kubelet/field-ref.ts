import type { Container, ObjectFieldSelector, Pod, ResourceFieldSelector } from '../api/gen/core-v1.ts';
import { ContainerConfigError } from './config-error.ts';
import { effectiveAmount, unitsOf } from './resources.ts';

/** What the node agent knows of a Pod beyond its spec, for the downward API. */
export type PodFacts = {
  readonly nodeName: string;
  readonly hostIps: readonly string[];
  /** Empty until the sandbox runs. */
  readonly podIps: readonly string[];
  /** The node's allocatable resources: the limit of a container without one. */
  readonly allocatable: Readonly<Record<string, string>>;
};

/** The text of a `fieldRef`. Throws ContainerConfigError on a path that the downward API does not have. */
export function fieldValue(selector: ObjectFieldSelector, pod: Pod, facts: PodFacts): string {
  const path = selector.fieldPath;
  const keyed = /^metadata\.(labels|annotations)\['(.*)'\]$/.exec(path);
  if (keyed !== null) return pod.metadata?.[keyed[1] as 'labels' | 'annotations']?.[keyed[2] ?? ''] ?? '';
  switch (path) {
    case 'metadata.name':
      return pod.metadata?.name ?? '';
    case 'metadata.namespace':
      return pod.metadata?.namespace ?? '';
    case 'metadata.uid':
      return pod.metadata?.uid ?? '';
    case 'metadata.labels':
      return renderMap(pod.metadata?.labels ?? {});
    case 'metadata.annotations':
      return renderMap(pod.metadata?.annotations ?? {});
    case 'spec.nodeName':
      return facts.nodeName;
    case 'spec.serviceAccountName':
      return pod.spec?.serviceAccountName ?? 'default';
    case 'status.hostIP':
      return facts.hostIps[0] ?? '';
    case 'status.hostIPs':
      return facts.hostIps.join(',');
    case 'status.podIP':
      return facts.podIps[0] ?? '';
    case 'status.podIPs':
      return facts.podIps.join(',');
    default:
      throw new ContainerConfigError(`fieldPath ${JSON.stringify(path)} is not one of the downward API`);
  }
}

/** `key="value"` lines, sorted, the value quoted as Go does. */
function renderMap(entries: Readonly<Record<string, string>>): string {
  return Object.entries(entries)
    .toSorted(([a], [b]) => (a < b ? -1 : 1))
    .map(([key, value]) => `${key}=${JSON.stringify(value)}`)
    .join('\n');
}

/**
 * The text of a `resourceFieldRef`: the amount divided by the divisor, rounded up.
 * `container` is the one the reference names, or the one it stands in.
 */
export function resourceFieldValue(
  selector: ResourceFieldSelector,
  container: Container,
  facts: PodFacts,
): string {
  const match = /^(limits|requests)\.(.+)$/.exec(selector.resource);
  if (match === null) {
    throw new ContainerConfigError(
      `resource ${JSON.stringify(selector.resource)} is not limits.* or requests.*`,
    );
  }
  const amount = effectiveAmount(
    container,
    match[1] as 'limits' | 'requests',
    match[2] ?? '',
    facts.allocatable,
  );
  const divisor = unitsOf(selector.divisor ?? '1');
  return String(Math.ceil(amount / (divisor === 0 ? 1 : divisor)));
}
