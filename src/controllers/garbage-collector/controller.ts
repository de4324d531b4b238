import type { OwnerReference } from '../../api/gen/meta-v1.ts';
import type { KubeObject } from '../../api/object.ts';
import { type Resource, resourcePath } from '../../api/resource.ts';
import type { Clock } from '../../base/clock.ts';
import { runTogether, type Task } from '../../base/lifetime.ts';
import type { Logger } from '../../base/log.ts';
import type { ApiClient } from '../../client/client.ts';
import { ApiError, isApiError } from '../../client/client.ts';
import type { Timing } from '../../control/backoff.ts';
import { createInformer } from '../../control/create-informer.ts';
import type { Informer } from '../../control/informer.ts';
import type { Informers } from '../../control/informers.ts';
import { done, type Outcome, requeueAfter } from '../../control/reconciler.ts';
import { WorkQueue } from '../../control/work-queue.ts';
import { type ControllerContext, reconcilerTask } from '../context.ts';
import { discoverResources } from '../discovery.ts';
import {
  foregroundFinalizer,
  type Item,
  itemOf,
  judge,
  OwnerGraph,
  type OwnerState,
  orphanFinalizer,
} from './graph.ts';

/** Kinds that own nothing and are owned by nobody, but come and go by the thousand. */
const ignored: ReadonlySet<string> = new Set(['events', 'leases', 'componentstatuses']);
/** Objects whose owner's kind is not known yet are looked at again after this. */
/** Owners known to be gone; past it they are asked for again. */
const absentMax = 10_000;
const unknownOwnerMs = 30_000;
const crds: Resource = {
  group: 'apiextensions.k8s.io',
  version: 'v1',
  plural: 'customresourcedefinitions',
  kind: 'CustomResourceDefinition',
  namespaced: false,
};

/** Deletes what lost its last owner, and lets owners go whose deletion waits for their dependents. */
export function garbageCollectorController(context: ControllerContext): Task {
  const collector = new GarbageCollector(context);
  collector.listen(context.informers);
  const task = reconcilerTask(context, 'garbage-collector', collector.queue, (key, signal) =>
    collector.reconcile(key, signal),
  );
  return {
    name: task.name,
    async run(signal) {
      const group = new AbortController();
      const scope = AbortSignal.any([signal, group.signal]);
      const informers = new Set<Promise<void>>();
      const start = (informer: Task): void => {
        informers.add(informer.run(scope)); // an informer never rejects
      };
      const discovery = {
        name: 'discovery',
        run: (inner: AbortSignal) => collector.discoverForEver(inner, start),
      };
      try {
        await runTogether([task, discovery], scope);
      } finally {
        group.abort();
        await Promise.all(informers);
      }
    },
  };
}

type Watched = { readonly resource: Resource; readonly informer: Informer<KubeObject> };

class GarbageCollector {
  readonly queue: WorkQueue;
  readonly #client: ApiClient;
  readonly #clock: Clock;
  readonly #timing: Timing;
  readonly #log: Logger;
  readonly #graph = new OwnerGraph();
  readonly #watched = new Map<string, Watched>();
  /** Owners that a GET did not find. Uids are never used twice, so this stays true. Bound: absentMax. */
  readonly #absent = new Set<string>();
  /** Until the graph is complete nothing is judged. */
  #settled = false;

  constructor({ client, log, timing }: ControllerContext) {
    this.queue = new WorkQueue(timing.clock);
    this.#client = client;
    this.#clock = timing.clock;
    this.#timing = timing;
    this.#log = log;
  }

  /** Uses what other controllers watch already. They must have been started before. */
  listen(informers: Informers): void {
    for (const { resource, informer } of informers.all()) {
      this.#watched.set(resourcePath(resource, undefined), { resource, informer });
      this.#hear(resource, informer);
    }
  }

  #hear(resource: Resource, informer: Informer<KubeObject>): void {
    informer.onChange((_key, now, old) => {
      const gone = old?.metadata?.uid;
      if (gone !== undefined && gone !== now?.metadata?.uid) {
        for (const owner of this.#graph.get(gone)?.owners ?? []) this.queue.add(owner.uid);
        this.#graph.remove(gone);
        for (const { uid } of this.#graph.dependentsOf(gone)) this.queue.add(uid);
      }
      if (now === undefined) return;
      const item = itemOf(resource, now);
      const before = this.#graph.get(item.uid);
      this.#graph.set(item);
      if (item.deletion !== undefined || (item.owners.length > 0 && before === undefined))
        this.queue.add(item.uid);
      for (const owner of before?.owners ?? [])
        if (this.#graph.get(owner.uid)?.deletion === 'foreground') this.queue.add(owner.uid);
    });
  }

  async #stateOf(item: Item, owner: OwnerReference, signal: AbortSignal): Promise<OwnerState> {
    const known = this.#graph.get(owner.uid);
    if (known !== undefined) return known.deletion === 'foreground' ? 'awaitsDependents' : 'present';
    if (this.#absent.has(owner.uid)) return 'absent';
    const kind = [...this.#watched.values()].find(
      ({ resource }) => resource.kind === owner.kind && groupOf(owner.apiVersion) === resource.group,
    );
    if (kind === undefined) return 'unknown';
    try {
      // Our copy may be behind: only the server's own word is reason enough to delete.
      const namespace = kind.resource.namespaced ? item.namespace : undefined;
      const found = await this.#client.get(kind.resource, namespace, owner.name, signal);
      if (found.metadata?.uid === owner.uid) return 'present';
    } catch (error) {
      if (!isApiError(error, 'NotFound')) throw error;
    }
    if (this.#absent.size >= absentMax) this.#absent.clear();
    this.#absent.add(owner.uid);
    return 'absent';
  }

  async reconcile(uid: string, signal: AbortSignal): Promise<Outcome> {
    const item = this.#graph.get(uid);
    if (!this.#settled || item === undefined) return done;
    if (item.deletion === 'orphan') await this.#orphanDependents(item, signal);
    if (item.deletion === 'foreground') await this.#awaitDependents(item, signal);
    const states = new Map<string, OwnerState>();
    for (const owner of item.owners) states.set(owner.uid, await this.#stateOf(item, owner, signal));
    const verdict = judge(item, (owner) => states.get(owner.uid) ?? 'unknown', this.#graph.dependentsOf(uid));
    await this.#execute(item, verdict, signal);
    return [...states.values()].includes('unknown') ? requeueAfter(unknownOwnerMs) : done;
  }

  async #execute(item: Item, verdict: ReturnType<typeof judge>, signal: AbortSignal): Promise<void> {
    try {
      if (verdict.kind === 'dropReferences') await this.#dropReferences(item, verdict.uids, signal);
      if (verdict.kind !== 'delete') return;
      if (verdict.unblocks) await this.#unblockOwners(item, signal);
      const options = { uid: item.uid, propagationPolicy: verdict.policy, signal } as const;
      await this.#client.delete(item.resource, item.namespace, item.name, options);
    } catch (error) {
      if (!isApiError(error, 'NotFound')) throw error;
    }
  }

  async #dropReferences(item: Item, uids: readonly string[], signal: AbortSignal): Promise<void> {
    await this.#changeOwners(item, signal, (owners) => owners.filter(({ uid }) => !uids.includes(uid)));
  }

  async #unblockOwners(item: Item, signal: AbortSignal): Promise<void> {
    await this.#changeOwners(item, signal, (owners) =>
      owners.map((owner) => ({ ...owner, blockOwnerDeletion: false })),
    );
  }

  async #changeOwners(
    item: Item,
    signal: AbortSignal,
    change: (owners: readonly OwnerReference[]) => readonly OwnerReference[],
  ): Promise<void> {
    const current = await this.#client.get(item.resource, item.namespace, item.name, signal);
    if (current.metadata?.uid !== item.uid) return;
    const rest = change(current.metadata.ownerReferences ?? []);
    const { uid, resourceVersion } = current.metadata;
    const patch = { metadata: { uid, resourceVersion, ownerReferences: rest.length === 0 ? null : rest } };
    await this.#client.patch(item.resource, item.namespace, item.name, 'merge', patch, { signal });
  }

  async #orphanDependents(item: Item, signal: AbortSignal): Promise<void> {
    for (const dependent of this.#graph.dependentsOf(item.uid)) {
      try {
        await this.#dropReferences(dependent, [item.uid], signal);
      } catch (error) {
        if (!isApiError(error, 'NotFound')) throw error;
      }
    }
    await this.#removeFinalizer(item, orphanFinalizer, signal);
  }

  async #awaitDependents(item: Item, signal: AbortSignal): Promise<void> {
    const dependents = this.#graph.dependentsOf(item.uid);
    const blocking = dependents.filter(({ owners }) =>
      owners.some((owner) => owner.uid === item.uid && owner.blockOwnerDeletion === true),
    );
    if (blocking.length === 0) await this.#removeFinalizer(item, foregroundFinalizer, signal);
    for (const dependent of dependents) if (dependent.deletion === undefined) this.queue.add(dependent.uid);
  }

  async #removeFinalizer(item: Item, finalizer: string, signal: AbortSignal): Promise<void> {
    try {
      const current = await this.#client.get(item.resource, item.namespace, item.name, signal);
      if (current.metadata?.uid !== item.uid) return;
      const { uid, resourceVersion, finalizers = [] } = current.metadata;
      const rest = finalizers.filter((entry) => entry !== finalizer);
      if (rest.length === finalizers.length) return;
      const patch = { metadata: { uid, resourceVersion, finalizers: rest.length === 0 ? null : rest } };
      await this.#client.patch(item.resource, item.namespace, item.name, 'merge', patch, { signal });
    } catch (error) {
      if (!isApiError(error, 'NotFound')) throw error;
    }
  }

  /** Starts watching kinds that are new; settled once all of them are known. */
  async #watchAll(signal: AbortSignal, start: (task: Task) => void): Promise<void> {
    const { resources } = await discoverResources(this.#client, signal);
    const fresh: Informer<KubeObject>[] = [];
    for (const resource of resources) {
      const path = resourcePath(resource, undefined);
      if (ignored.has(resource.plural) || this.#watched.has(path)) continue;
      const informer = createInformer<KubeObject>(this.#client, resource, {
        transform: metadataOnly,
        log: this.#log,
        timing: this.#timing,
      });
      this.#watched.set(path, { resource, informer });
      this.#hear(resource, informer);
      fresh.push(informer);
      start({ name: `metadata of ${path}`, run: (scope) => informer.run(scope) });
    }
    for (const informer of fresh) await informer.whenSynced(signal);
    if (this.#settled) return;
    this.#settled = true;
    for (const item of this.#graph.items()) {
      if (item.owners.length > 0 || item.deletion !== undefined) this.queue.add(item.uid);
    }
  }

  /** Discovers at the start and whenever a CustomResourceDefinition comes or changes. */
  async discoverForEver(signal: AbortSignal, start: (task: Task) => void): Promise<void> {
    const changed = new WorkQueue(this.#clock);
    changed.add('all');
    const onAbort = (): void => changed.close();
    signal.addEventListener('abort', onAbort, { once: true });
    let heardCrds = false;
    while (!signal.aborted) {
      const key = await changed.next();
      if (key === undefined) return;
      try {
        await this.#watchAll(signal, start);
        if (!heardCrds && this.#watched.has(resourcePath(crds, undefined))) {
          heardCrds = true;
          const informer = createInformer<KubeObject>(this.#client, crds, {
            log: this.#log,
            timing: this.#timing,
          });
          informer.onChange(() => changed.addAfter('all', 100));
          start({ name: 'custom kinds', run: (scope) => informer.run(scope) });
        }
      } catch (error) {
        if (signal.aborted) return;
        if (!(error instanceof ApiError)) throw error;
        this.#log.debug('discovery failed, trying again', { error });
        changed.addAfter('all', 1000);
      } finally {
        changed.done(key);
      }
    }
  }
}

function groupOf(apiVersion: string): string {
  const slash = apiVersion.indexOf('/');
  return slash === -1 ? '' : apiVersion.slice(0, slash);
}

/** A few hundred bytes of each object are all that ownership needs. */
function metadataOnly(object: KubeObject): KubeObject {
  const { namespace, name, uid, resourceVersion, ownerReferences, deletionTimestamp, finalizers } =
    object.metadata ?? {};
  return {
    metadata: { namespace, name, uid, resourceVersion, ownerReferences, deletionTimestamp, finalizers },
  };
}
