import type { Container, Node, Pod } from '../../api/gen/core-v1.ts';
import { keyOf, type ObjectKey } from '../../api/object.ts';
import { isPodFinished } from '../pod-status.ts';
import { quantityValue } from './quantity.ts';

/** Resource name to amount, in cores and bytes; `pods` counts Pods. */
export type Amounts = ReadonlyMap<string, number>;

/** A node with the Pods that are on it or promised to it. */
export type NodeState = {
  readonly node: Node;
  readonly name: string;
  readonly allocatable: Amounts;
  readonly pods: ReadonlyMap<ObjectKey, Pod>;
  readonly requested: Amounts;
};

export type Nomination = { readonly pod: Pod; readonly nodeName: string };

type MutableState = {
  node: Node;
  name: string;
  allocatable: Amounts;
  pods: Map<ObjectKey, Pod>;
  requested: Map<string, number>;
};

/** What the scheduler knows: nodes, and where Pods are. Follows informers, and runs ahead of them by its own bindings. */
export class ClusterState {
  readonly #nodes = new Map<string, MutableState>();
  /** Where each Pod is; also Pods of nodes that we have not seen yet. */
  readonly #placed = new Map<ObjectKey, Pod>();
  readonly #antiAffine = new Set<ObjectKey>();
  readonly #choosy = new Set<ObjectKey>();
  /** Pods for which others were sent away, and the node where that made room; until they are placed. */
  readonly #nominated = new Map<ObjectKey, Nomination>();

  get nodes(): Iterable<NodeState> {
    return this.#nodes.values();
  }

  get size(): number {
    return this.#nodes.size;
  }

  node(name: string): NodeState | undefined {
    return this.#nodes.get(name);
  }

  /** True for a Pod that is on a node or promised to one. */
  isPlaced(key: ObjectKey): boolean {
    return this.#placed.has(key);
  }

  /** Pods that are on a node or promised to one. */
  get placedPods(): Iterable<Pod> {
    return this.#placed.values();
  }

  /** Pods with a required anti-affinity: they keep others away. */
  get antiAffinePods(): Iterable<Pod> {
    return [...this.#antiAffine].flatMap((key) => this.#placed.get(key) ?? []);
  }

  /** Pods that like some others near them or far away: they pull on those that come. */
  get choosyPods(): Iterable<Pod> {
    return [...this.#choosy].flatMap((key) => this.#placed.get(key) ?? []);
  }

  nominationOf(key: ObjectKey): Nomination | undefined {
    return this.#nominated.get(key);
  }

  /** Those of at least that priority but the Pod itself: their room is not free. */
  nominatedBefore(pod: Pod): readonly Nomination[] {
    if (this.#nominated.size === 0) return [];
    const key = keyOf(pod);
    return [...this.#nominated]
      .filter(([other]) => other !== key && !this.isPlaced(other))
      .map(([, nomination]) => nomination)
      .filter((nomination) => priorityOf(nomination.pod) >= priorityOf(pod));
  }

  /** Pods of lower priority that count on that node. */
  nominatedBelow(pod: Pod, nodeName: string): readonly Pod[] {
    return [...this.#nominated.values()]
      .filter((other) => other.nodeName === nodeName && priorityOf(other.pod) < priorityOf(pod))
      .map((other) => other.pod);
  }

  /** Keeps room for a Pod on a node; undefined: nowhere any more. */
  nominate(key: ObjectKey, nomination: Nomination | undefined): void {
    if (nomination === undefined) this.#nominated.delete(key);
    else this.#nominated.set(key, nomination);
  }

  /**
   * What `look` sees if these Pods were on their nodes, and those were on none. It may place them back one by one. All is as
   * it was when it has returned.
   */
  supposing<T>(here: readonly Nomination[], gone: readonly Pod[], look: () => T): T {
    for (const pod of gone) this.setPod(keyOf(pod), undefined);
    for (const { pod, nodeName } of here) this.assume(pod, nodeName);
    try {
      return look();
    } finally {
      for (const { pod } of here) this.setPod(keyOf(pod), undefined);
      for (const pod of gone) this.setPod(keyOf(pod), pod);
    }
  }

  setNode(node: Node): void {
    const name = node.metadata?.name ?? '';
    const allocatable = amountsOf(node.status?.allocatable ?? node.status?.capacity);
    const known = this.#nodes.get(name);
    if (known !== undefined) {
      known.node = node;
      known.allocatable = allocatable;
      return;
    }
    this.#nodes.set(name, { node, name, allocatable, pods: new Map(), requested: new Map() });
    for (const [key, pod] of this.#placed) {
      if (pod.spec?.nodeName === name) this.#enter(key, pod);
    }
  }

  removeNode(name: string): void {
    this.#nodes.delete(name);
  }

  /** A Pod that is on a node, or undefined when it is gone. Finished ones take no room. */
  setPod(key: ObjectKey, pod: Pod | undefined): void {
    const old = this.#placed.get(key);
    if (old !== undefined) this.#leave(key, old);
    if (pod === undefined || isPodFinished(pod) || (pod.spec?.nodeName ?? '') === '') return;
    this.#placed.set(key, pod);
    if (
      (pod.spec?.affinity?.podAntiAffinity?.requiredDuringSchedulingIgnoredDuringExecution ?? []).length > 0
    ) {
      this.#antiAffine.add(key);
    }
    if (isChoosy(pod)) this.#choosy.add(key);
    this.#enter(key, pod);
  }

  /** Books a Pod on a node before the server confirmed; setPod(key, undefined) takes it back. */
  assume(pod: Pod, nodeName: string): void {
    this.setPod(keyOf(pod), { ...pod, spec: { containers: [], ...pod.spec, nodeName } });
  }

  #enter(key: ObjectKey, pod: Pod): void {
    const state = this.#nodes.get(pod.spec?.nodeName ?? '');
    if (state === undefined) return;
    state.pods.set(key, pod);
    for (const [name, amount] of requestsOf(pod)) {
      state.requested.set(name, (state.requested.get(name) ?? 0) + amount);
    }
  }

  #leave(key: ObjectKey, pod: Pod): void {
    this.#placed.delete(key);
    this.#antiAffine.delete(key);
    this.#choosy.delete(key);
    const state = this.#nodes.get(pod.spec?.nodeName ?? '');
    if (state?.pods.delete(key) !== true) return;
    for (const [name, amount] of requestsOf(pod)) {
      state.requested.set(name, (state.requested.get(name) ?? 0) - amount);
    }
  }
}

export function priorityOf({ spec }: Pod): number {
  return spec?.priority ?? 0;
}

function isChoosy({ spec }: Pod): boolean {
  const { podAffinity, podAntiAffinity } = spec?.affinity ?? {};
  const lists = [
    podAffinity?.requiredDuringSchedulingIgnoredDuringExecution,
    podAffinity?.preferredDuringSchedulingIgnoredDuringExecution,
    podAntiAffinity?.preferredDuringSchedulingIgnoredDuringExecution,
  ];
  return lists.some((list) => (list ?? []).length > 0);
}

/**
 * What a Pod asks for: the sum of its containers and sidecars, or its largest init container if that is more, plus its
 * overhead (KEP-753).
 */
export function requestsOf(pod: Pod): Map<string, number> {
  const total = new Map<string, number>([['pods', 1]]);
  const peak = new Map<string, number>();
  const sidecars = new Map<string, number>();
  for (const container of pod.spec?.initContainers ?? []) {
    const isSidecar = container.restartPolicy === 'Always';
    for (const [name, amount] of containerRequests(container)) {
      if (isSidecar) sidecars.set(name, (sidecars.get(name) ?? 0) + amount);
      const running = (sidecars.get(name) ?? 0) + (isSidecar ? 0 : amount);
      peak.set(name, Math.max(peak.get(name) ?? 0, running));
    }
  }
  for (const [name, amount] of sidecars) total.set(name, amount);
  for (const container of pod.spec?.containers ?? []) {
    for (const [name, amount] of containerRequests(container))
      total.set(name, (total.get(name) ?? 0) + amount);
  }
  for (const [name, amount] of peak) total.set(name, Math.max(total.get(name) ?? 0, amount));
  // What the Pod asks for as a whole bounds its containers together.
  for (const [name, amount] of amountsOf(pod.spec?.resources?.requests)) total.set(name, amount);
  for (const [name, amount] of amountsOf(pod.spec?.overhead))
    total.set(name, (total.get(name) ?? 0) + amount);
  return total;
}

function containerRequests(container: Container): Amounts {
  return amountsOf(container.resources?.requests);
}

function amountsOf(quantities: Readonly<Record<string, string>> | undefined): Amounts {
  const amounts = new Map<string, number>();
  for (const [name, quantity] of Object.entries(quantities ?? {})) amounts.set(name, quantityValue(quantity));
  return amounts;
}

/** `protocol/port` with the address it is bound to, of every host port of a Pod. */
export function hostPortsOf(pod: Pod): readonly { readonly address: string; readonly port: string }[] {
  const hostNetwork = pod.spec?.hostNetwork === true;
  return (pod.spec?.containers ?? []).flatMap((container) =>
    (container.ports ?? []).flatMap(({ hostPort, containerPort, hostIP, protocol = 'TCP' }) => {
      const port = hostPort ?? (hostNetwork ? containerPort : 0);
      return port === 0 ? [] : [{ address: hostIP ?? '0.0.0.0', port: `${protocol}/${port}` }];
    }),
  );
}
