import type { Container, Pod, ResourceRequirements } from '../api/gen/core-v1.ts';
import type { RuntimePod } from './runtime-pod.ts';
import { unitsOf } from './resources.ts';

/**
 * In-place resize: what of a Pod's new CPU and memory this node gives it, and what its containers have not got yet. Pure.
 * https://kubernetes.io/docs/tasks/configure-pod-container/resize-container-resources/
 */

const measured = ['cpu', 'memory'] as const;
type Measured = (typeof measured)[number];

/** Cores and bytes. */
export type Amounts = Readonly<Record<Measured, number>>;

/** What this node has promised each container, by name. */
export type Allocation = ReadonlyMap<string, ResourceRequirements>;

/** Why the newest wish of a Pod is not granted: not now, or never on this node. */
export type ResizePending = { readonly reason: 'Deferred' | 'Infeasible'; readonly message: string };

export type ResizeDecision = { readonly allocation: Allocation; readonly pending: ResizePending | undefined };

/** CPU and memory of a container's spec as a text that is equal where they are: what a runtime container was made with. */
export function resourcesKeyOf(container: Pick<Container, 'resources'>): string {
  const key: Record<string, Record<string, string>> = {};
  for (const list of ['limits', 'requests'] as const) {
    for (const name of measured) {
      const amount = container.resources?.[list]?.[name];
      if (amount !== undefined) (key[list] ??= {})[name] = amount;
    }
  }
  return JSON.stringify(key);
}

/** The way back; undefined for what is no such text. */
export function parseResourcesKey(key: string): ResourceRequirements | undefined {
  return key === '' ? undefined : (JSON.parse(key) as ResourceRequirements);
}

/** True where the container's resizePolicy asks for a restart for what differs from the resources that it has. */
export function restartsForResize(container: Container, key: string): boolean {
  const has = parseResourcesKey(key);
  return measured.some((name) => {
    const policy = container.resizePolicy?.find(({ resourceName }) => resourceName === name);
    const differs = (['limits', 'requests'] as const).some(
      (list) => unitsOf(has?.[list]?.[name] ?? '0') !== unitsOf(container.resources?.[list]?.[name] ?? '0'),
    );
    return differs && policy?.restartPolicy === 'RestartContainer';
  });
}

function containersOf(pod: Pod): readonly Container[] {
  return [...(pod.spec?.containers ?? []), ...(pod.spec?.initContainers ?? [])];
}

/** What a node agent that has just started knows: what the status says was given, else what the spec says. */
export function adoptedAllocation(pod: Pod): Allocation {
  const statuses = [...(pod.status?.containerStatuses ?? []), ...(pod.status?.initContainerStatuses ?? [])];
  return new Map(
    containersOf(pod).map((container) => {
      const status = statuses.find(({ name }) => name === container.name);
      const given = status?.resources;
      return [container.name, { ...container.resources, ...given }];
    }),
  );
}

/** What the status says that containers have, as keys by container id. */
export function reportedResources(pod: Pod): ReadonlyMap<string, string> {
  const { containerStatuses = [], initContainerStatuses = [] } = pod.status ?? {};
  return new Map(
    [...containerStatuses, ...initContainerStatuses].flatMap(({ containerID = '', resources }) =>
      resources === undefined
        ? []
        : [[containerID.slice(containerID.indexOf('//') + 2), resourcesKeyOf({ resources })] as const],
    ),
  );
}

/**
 * Grants what the spec wishes as one, or keeps all as it is. `capacity` is what Pods may have of this node, `others` what its
 * other Pods have. A Pod that shrinks is always granted.
 */
export function decideResize(
  pod: Pod,
  allocation: Allocation,
  node: { readonly capacity: Amounts; readonly others: Amounts },
): ResizeDecision {
  const wish = new Map(containersOf(pod).map(({ name, resources }) => [name, resources ?? {}] as const));
  const wanted = requestsOf(pod);
  const has = requestsOf(withAllocation(pod, allocation));
  const grows = measured.filter((name) => wanted[name] > has[name]);
  const infeasible = grows.find((name) => wanted[name] > node.capacity[name]);
  if (infeasible !== undefined) {
    const message = `Node didn't have enough capacity: ${infeasible}, requested: ${shown(infeasible, wanted)}, capacity: ${shown(infeasible, node.capacity)}`;
    return { allocation, pending: { reason: 'Infeasible', message } };
  }
  const deferred = grows.find((name) => node.others[name] + wanted[name] > node.capacity[name]);
  if (deferred !== undefined) {
    const message = `Node didn't have enough resource: ${deferred}, requested: ${shown(deferred, wanted)}, used: ${shown(deferred, node.others)}, capacity: ${shown(deferred, node.capacity)}`;
    return { allocation, pending: { reason: 'Deferred', message } };
  }
  return { allocation: wish, pending: undefined };
}

/** Millicores and bytes, as Kubernetes tells them. */
function shown(name: Measured, amounts: Amounts): number {
  return name === 'cpu' ? Math.round(amounts.cpu * 1000) : amounts.memory;
}

/** The Pod with the resources that it was given in place of those that it wishes for. */
export function withAllocation(pod: Pod, allocation: Allocation): Pod {
  const { spec } = pod;
  if (spec === undefined) return pod;
  const given = (container: Container): Container => {
    const resources = allocation.get(container.name);
    return resources === undefined ? container : { ...container, resources };
  };
  const { initContainers } = spec;
  return {
    ...pod,
    spec: {
      ...spec,
      containers: spec.containers.map(given),
      ...(initContainers === undefined ? {} : { initContainers: initContainers.map(given) }),
    },
  };
}

/** What a Pod asks of its node: its containers and sidecars together, or more where an init container asks for more. */
export function requestsOf(pod: Pod): Amounts {
  const amountOf = (container: Container, name: Measured): number =>
    unitsOf(container.resources?.requests?.[name] ?? container.resources?.limits?.[name] ?? '0');
  const total = (name: Measured): number => {
    const overhead = unitsOf(pod.spec?.overhead?.[name] ?? '0');
    let sidecars = 0;
    let initMost = 0;
    for (const container of pod.spec?.initContainers ?? []) {
      const amount = amountOf(container, name);
      if (container.restartPolicy === 'Always') sidecars += amount;
      initMost = Math.max(initMost, sidecars + (container.restartPolicy === 'Always' ? 0 : amount));
    }
    const running = (pod.spec?.containers ?? []).reduce(
      (sum, container) => sum + amountOf(container, name),
      0,
    );
    return overhead + Math.max(initMost, sidecars + running);
  };
  return { cpu: total('cpu'), memory: total('memory') };
}

/** What the Pods of a node have been given, without the one of that uid and without those that are over. */
export function reservedBy(pods: Iterable<Pod>, exceptUid: string): Amounts {
  let cpu = 0;
  let memory = 0;
  for (const pod of pods) {
    const phase = pod.status?.phase;
    if (pod.metadata?.uid === exceptUid || phase === 'Succeeded' || phase === 'Failed') continue;
    const requests = requestsOf(withAllocation(pod, adoptedAllocation(pod)));
    cpu += requests.cpu;
    memory += requests.memory;
  }
  return { cpu, memory };
}

/** True while a running container of the Pod (as allocated) has other resources than it was given. `has` by container id. */
export function isResizing(pod: Pod, runtime: RuntimePod, has: ReadonlyMap<string, string>): boolean {
  return containersOf(pod).some((container) => {
    const running = runtime.containers.find((one) => one.name === container.name && one.state === 'running');
    if (running === undefined) return false;
    const key = has.get(running.id) ?? running.resources;
    return key !== '' && key !== resourcesKeyOf(container);
  });
}
