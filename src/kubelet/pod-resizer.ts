import type { Container, Pod } from '../api/gen/core-v1.ts';
import type { PodDeps } from './pod-deps.ts';
import {
  adoptedAllocation,
  type Allocation,
  type Amounts,
  decideResize,
  parseResourcesKey,
  reportedResources,
  type ResizePending,
  resourcesKeyOf,
  withAllocation,
} from './resize.ts';
import { linuxResourcesOf, unitsOf } from './resources.ts';
import type { RuntimeContainer } from './runtime-pod.ts';

/** Between two tries to change a container that could not be, ms. */
const resizeRetryMs = 5_000;

/** One Pod's CPU and memory: what it was given, and what its containers have of it. */
export class PodResizer {
  readonly #deps: PodDeps;
  readonly #reserved: (exceptUid: string) => Amounts;
  #allocation: Allocation | undefined;
  #pending: ResizePending | undefined;
  /** Resources by container id, of containers that were changed after they were made. */
  readonly #has = new Map<string, string>();
  #failure: { readonly message: string; readonly retryAtMs: number } | undefined;

  /** `reserved`: what the node's other Pods have. */
  constructor(deps: PodDeps, reserved: (exceptUid: string) => Amounts) {
    this.#deps = deps;
    this.#reserved = reserved;
  }

  get pending(): ResizePending | undefined {
    return this.#pending;
  }

  get has(): ReadonlyMap<string, string> {
    return this.#has;
  }

  /** Why a container could not be changed; it is tried again at `retryAtMs`. */
  get failure(): { readonly message: string; readonly retryAtMs: number } | undefined {
    return this.#failure;
  }

  /** The Pod with what it was given; decides on what it wishes for. */
  allocate(pod: Pod): Pod {
    if (this.#allocation === undefined) {
      this.#allocation = adoptedAllocation(pod);
      // An earlier node agent may have changed them, which the runtime does not tell.
      for (const [id, key] of reportedResources(pod)) this.#has.set(id, key);
    }
    const capacity = {
      cpu: unitsOf(this.#deps.node.allocatable['cpu'] ?? '0'),
      memory: unitsOf(this.#deps.node.allocatable['memory'] ?? '0'),
    };
    const node = { capacity, others: this.#reserved(pod.metadata?.uid ?? '') };
    const { allocation, pending } = decideResize(pod, this.#allocation, node);
    this.#allocation = allocation;
    if (pending !== undefined && pending.message !== this.#pending?.message) {
      this.#deps.event(pod, 'Warning', `Resize${pending.reason}`, pending.message);
    }
    this.#pending = pending;
    return withAllocation(pod, allocation);
  }

  /** The Pod with what it was given, without deciding anew. */
  view(pod: Pod): Pod {
    return this.#allocation === undefined ? pod : withAllocation(pod, this.#allocation);
  }

  /** Changes a running container. What fails is kept for the status and tried again. */
  async apply(pod: Pod, spec: Container, container: RuntimeContainer): Promise<void> {
    const { cri, clock, node } = this.#deps;
    const key = resourcesKeyOf(spec);
    try {
      await this.#requireRoom(spec, container);
      const { oomScoreAdj: _fixed, ...linux } = linuxResourcesOf(pod, spec, node.memoryCapacityBytes);
      await cri.updateContainerResources({ containerId: container.id, linux });
    } catch (error) {
      const message = error instanceof Error ? error.message : String(error);
      this.#failure = { message, retryAtMs: clock.nowMs() + resizeRetryMs };
      this.#deps.event(pod, 'Warning', 'ResizeError', `Container ${spec.name}: ${message}`);
      return;
    }
    this.#failure = undefined;
    this.#has.set(container.id, key);
    this.#deps.event(pod, 'Normal', 'ResizeCompleted', `Container ${spec.name} was resized: ${key}`);
  }

  /** A memory limit below what is in use would end the container's processes at once. */
  async #requireRoom(spec: Container, container: RuntimeContainer): Promise<void> {
    const limit = unitsOf(spec.resources?.limits?.['memory'] ?? '0');
    const had = parseResourcesKey(this.#has.get(container.id) ?? container.resources);
    const before = unitsOf(had?.limits?.['memory'] ?? '0');
    if (limit === 0 || limit >= before) return;
    const { stats } = await this.#deps.cri.listContainerStats({ filter: { id: container.id } });
    const used = stats[0]?.memory?.workingSetBytes?.value ?? 0;
    if (used >= limit) {
      throw new Error(`the memory limit of ${limit} bytes is below the ${used} bytes in use`);
    }
  }

  /** Forgets containers that are gone. */
  keepOnly(ids: ReadonlySet<string>): void {
    for (const id of this.#has.keys()) if (!ids.has(id)) this.#has.delete(id);
  }
}
