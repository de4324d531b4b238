import type { Container, Pod, ResourceRequirements } from '../api/gen/core-v1.ts';
import { parseQuantity, quantityToNumber } from '../api/quantity.ts';
import type { LinuxContainerResources } from './cri-messages.ts';

export type QosClass = 'Guaranteed' | 'Burstable' | 'BestEffort';

/** Units (cores, bytes) of a quantity's text; 0 for text that is none, which the API server does not let pass. */
export function unitsOf(text: string): number {
  const quantity = parseQuantity(text);
  return quantity === undefined ? 0 : quantityToNumber(quantity);
}

const measured = ['cpu', 'memory'] as const;

/** Spec: Kubernetes, "Pod Quality of Service Classes". Init containers count too. */
export function qosClassOf(pod: Pod): QosClass {
  const containers = [...(pod.spec?.containers ?? []), ...(pod.spec?.initContainers ?? [])];
  const all = containers.flatMap((container) => measured.map((name) => amounts(container.resources, name)));
  if (all.every(({ limit, request }) => limit === 0 && request === 0)) return 'BestEffort';
  const guaranteed = all.every(({ limit, request }) => limit > 0 && (request === 0 || request === limit));
  return guaranteed ? 'Guaranteed' : 'Burstable';
}

function amounts(resources: ResourceRequirements | undefined, name: string) {
  return {
    limit: unitsOf(resources?.limits?.[name] ?? '0'),
    request: unitsOf(resources?.requests?.[name] ?? '0'),
  };
}

/** What a resourceFieldRef or a cgroup asks for: the limit, or what the node has where there is none. */
export function effectiveAmount(
  container: Container,
  kind: 'limits' | 'requests',
  name: string,
  allocatable: Readonly<Record<string, string>>,
): number {
  const own = container.resources?.[kind]?.[name];
  if (own !== undefined) return unitsOf(own);
  return kind === 'limits' ? unitsOf(allocatable[name] ?? '0') : 0;
}

const sharesPerCpu = 1024;
/** The kernel's least value of cpu.shares: what a container without any CPU request gets. */
const sharesMin = 2;
const quotaPeriodUs = 100_000;
/** The kernel refuses quotas below 1 ms. */
const quotaMinUs = 1_000;

/** `memoryCapacityBytes`: the node's, against which the out-of-memory score of a Burstable Pod is measured. */
export function linuxResourcesOf(
  pod: Pod,
  container: Container,
  memoryCapacityBytes: number,
): Partial<LinuxContainerResources> {
  const cpu = amounts(container.resources, 'cpu');
  const memory = amounts(container.resources, 'memory');
  const requested = container.resources?.requests?.['cpu'] === undefined ? cpu.limit : cpu.request;
  const quota =
    cpu.limit === 0
      ? {}
      : { cpuPeriod: quotaPeriodUs, cpuQuota: Math.max(quotaMinUs, Math.round(cpu.limit * quotaPeriodUs)) };
  return {
    cpuShares: Math.max(sharesMin, Math.round(requested * sharesPerCpu)),
    ...quota,
    memoryLimitInBytes: Math.floor(memory.limit),
    oomScoreAdj: oomScoreAdjOf(qosClassOf(pod), memory.request, memoryCapacityBytes),
  };
}

/** Spec: Kubernetes, "Node out of memory behavior". */
function oomScoreAdjOf(qosClass: QosClass, requestBytes: number, capacityBytes: number): number {
  if (qosClass === 'Guaranteed') return -997;
  if (qosClass === 'BestEffort') return 1000;
  const share = capacityBytes === 0 ? 0 : (1000 * requestBytes) / capacityBytes;
  return Math.max(3, Math.min(999, Math.floor(1000 - share)));
}
