import type { Node, Service } from '../api/gen/core-v1.ts';
import type { EndpointSlice } from '../api/gen/discovery-v1.ts';
import type { ObjectKey } from '../api/object.ts';
import { PersistentMap } from '../base/persistent-map.ts';
import {
  type NodeFacts,
  type NodeView,
  nodeFactsOf,
  type ServiceView,
  serviceViewOf,
} from '../model/view.ts';

/** Where the tracker reads the present state. */
export type ViewSources = {
  service(key: ObjectKey): Service | undefined;
  slices(key: ObjectKey): Iterable<EndpointSlice>;
  services(): Iterable<ObjectKey>;
  node(): Node | undefined;
};

/** Keeps a NodeView current by rebuilding only the Services that were marked since the last one. */
export class ViewTracker {
  readonly #nodeName: string;
  readonly #sources: ViewSources;
  readonly #dirty = new Set<ObjectKey>(); // bound: Services that live or have just gone
  #nodeDirty = true;
  #view: NodeView;

  constructor(nodeName: string, sources: ViewSources) {
    this.#nodeName = nodeName;
    this.#sources = sources;
    this.#view = { node: nodeFactsOf(nodeName, undefined), services: PersistentMap.empty() };
  }

  /** Services marked since the last view. */
  get pending(): number {
    return this.#dirty.size;
  }

  markService(key: ObjectKey): void {
    this.#dirty.add(key);
  }

  markNode(): void {
    this.#nodeDirty = true;
  }

  /** The present view. The same object as before when nothing changed. */
  next(): NodeView {
    const node = this.#nodeDirty ? this.#nodeFacts() : this.#view.node;
    // A Service's view holds what hints and locality mean for this node: all are stale when its name or zone changes.
    if (node.zone !== this.#view.node.zone) for (const key of this.#sources.services()) this.#dirty.add(key);
    this.#nodeDirty = false;
    if (this.#dirty.size === 0 && node === this.#view.node) return this.#view;
    const services = this.#view.services.with(
      this.#dirty.values().map((key) => [key, this.#serviceView(key, node)] as const),
    );
    this.#dirty.clear();
    this.#view = { node, services };
    return this.#view;
  }

  #nodeFacts(): NodeFacts {
    const facts = nodeFactsOf(this.#nodeName, this.#sources.node());
    // Nodes are written every few seconds for their heartbeat; only these facts matter here.
    return JSON.stringify(facts) === JSON.stringify(this.#view.node) ? this.#view.node : facts;
  }

  #serviceView(key: ObjectKey, node: NodeFacts): ServiceView | undefined {
    const service = this.#sources.service(key);
    return service === undefined ? undefined : serviceViewOf(service, this.#sources.slices(key), node);
  }
}
