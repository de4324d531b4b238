import type { OwnerReference } from '../../api/gen/meta-v1.ts';
import type { KubeObject } from '../../api/object.ts';
import { type Resource, resourcePath } from '../../api/resource.ts';
import { runTogether, type Task } from '../../base/lifetime.ts';
import { ApiError, isApiError } from '../../client/client.ts';
import type { Informer } from '../../control/informer.ts';
import { createInformer } from '../../control/create-informer.ts';
import { done, type Outcome, requeueAfter } from '../../control/reconciler.ts';
import { WorkQueue } from '../../control/work-queue.ts';
import { type ControllerContext, reconcilerTask } from '../context.ts';
import { discoverResources } from '../discovery.ts';
import {
  foregroundFinalizer,
  type Item,
  itemOf,
  judge,
  orphanFinalizer,
  OwnerGraph,
  type OwnerState,
} from './graph.ts';

/** Kinds that own nothing and are owned by nobody, but come and go by the thousand. */
const ignored: ReadonlySet<string> = new Set(['events', 'leases', 'componentstatuses']);
/** Objects whose owner's kind is not known yet are looked at again after this. */
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
  const { client, timing, log } = context;
  const graph = new OwnerGraph();
  const queue = new WorkQueue(timing.clock);
  const watched = new Map<string, { readonly resource: Resource; readonly informer: Informer<KubeObject> }>();
  /** Owners that a GET did not find. Uids are never used twice, so this stays true. Bound below. */
  const absent = new Set<string>();
  const absentMax = 10_000;
  let settled = false; // until the graph is complete nothing is judged

  function hear(resource: Resource, informer: Informer<KubeObject>): void {
    informer.onChange((_key, now, old) => {
      const gone = old?.metadata?.uid;
      if (gone !== undefined && gone !== now?.metadata?.uid) {
        for (const owner of graph.get(gone)?.owners ?? []) queue.add(owner.uid);
        graph.remove(gone);
        for (const { uid } of graph.dependentsOf(gone)) queue.add(uid);
      }
      if (now === undefined) return;
      const item = itemOf(resource, now);
      const before = graph.get(item.uid);
      graph.set(item);
      if (item.deletion !== undefined || (item.owners.length > 0 && before === undefined))
        queue.add(item.uid);
      for (const owner of before?.owners ?? [])
        if (graph.get(owner.uid)?.deletion === 'foreground') queue.add(owner.uid);
    });
  }

  // What other controllers watch is not watched twice. This one must therefore be started after them.
  for (const { resource, informer } of context.informers.all()) {
    watched.set(resourcePath(resource, undefined), { resource, informer });
    hear(resource, informer);
  }

  async function stateOf(item: Item, owner: OwnerReference, signal: AbortSignal): Promise<OwnerState> {
    const known = graph.get(owner.uid);
    if (known !== undefined) return known.deletion === 'foreground' ? 'awaitsDependents' : 'present';
    if (absent.has(owner.uid)) return 'absent';
    const kind = [...watched.values()].find(
      ({ resource }) => resource.kind === owner.kind && groupOf(owner.apiVersion) === resource.group,
    );
    if (kind === undefined) return 'unknown';
    try {
      // Our copy may be behind: only the server's own word is reason enough to delete.
      const namespace = kind.resource.namespaced ? item.namespace : undefined;
      const found = await client.get(kind.resource, namespace, owner.name, signal);
      if (found.metadata?.uid === owner.uid) return 'present';
    } catch (error) {
      if (!isApiError(error, 'NotFound')) throw error;
    }
    if (absent.size >= absentMax) absent.clear();
    absent.add(owner.uid);
    return 'absent';
  }

  async function reconcile(uid: string, signal: AbortSignal): Promise<Outcome> {
    const item = graph.get(uid);
    if (!settled || item === undefined) return done;
    if (item.deletion === 'orphan') await orphanDependents(item, signal);
    if (item.deletion === 'foreground') await awaitDependents(item, signal);
    const states = new Map<string, OwnerState>();
    for (const owner of item.owners) states.set(owner.uid, await stateOf(item, owner, signal));
    const verdict = judge(
      item,
      (owner) => states.get(owner.uid) ?? 'unknown',
      graph.dependentsOf(uid).length > 0,
    );
    await execute(item, verdict, signal);
    return [...states.values()].includes('unknown') ? requeueAfter(unknownOwnerMs) : done;
  }

  async function execute(item: Item, verdict: ReturnType<typeof judge>, signal: AbortSignal): Promise<void> {
    try {
      if (verdict.kind === 'dropReferences') await dropReferences(item, verdict.uids, signal);
      if (verdict.kind !== 'delete') return;
      const options = { uid: item.uid, propagationPolicy: verdict.policy, signal } as const;
      await client.delete(item.resource, item.namespace, item.name, options);
    } catch (error) {
      if (!isApiError(error, 'NotFound')) throw error;
    }
  }

  async function dropReferences(item: Item, uids: readonly string[], signal: AbortSignal): Promise<void> {
    const current = await client.get(item.resource, item.namespace, item.name, signal);
    if (current.metadata?.uid !== item.uid) return;
    const rest = (current.metadata.ownerReferences ?? []).filter(
      (reference) => !uids.includes(reference.uid),
    );
    const { uid, resourceVersion } = current.metadata;
    const patch = { metadata: { uid, resourceVersion, ownerReferences: rest.length === 0 ? null : rest } };
    await client.patch(item.resource, item.namespace, item.name, 'merge', patch, { signal });
  }

  async function orphanDependents(item: Item, signal: AbortSignal): Promise<void> {
    for (const dependent of graph.dependentsOf(item.uid)) {
      try {
        await dropReferences(dependent, [item.uid], signal);
      } catch (error) {
        if (!isApiError(error, 'NotFound')) throw error;
      }
    }
    await removeFinalizer(item, orphanFinalizer, signal);
  }

  async function awaitDependents(item: Item, signal: AbortSignal): Promise<void> {
    const dependents = graph.dependentsOf(item.uid);
    const blocking = dependents.filter(({ owners }) =>
      owners.some((owner) => owner.uid === item.uid && owner.blockOwnerDeletion === true),
    );
    if (blocking.length === 0) await removeFinalizer(item, foregroundFinalizer, signal);
    for (const dependent of dependents) if (dependent.deletion === undefined) queue.add(dependent.uid);
  }

  async function removeFinalizer(item: Item, finalizer: string, signal: AbortSignal): Promise<void> {
    try {
      const current = await client.get(item.resource, item.namespace, item.name, signal);
      if (current.metadata?.uid !== item.uid) return;
      const { uid, resourceVersion, finalizers = [] } = current.metadata;
      const rest = finalizers.filter((entry) => entry !== finalizer);
      if (rest.length === finalizers.length) return;
      const patch = { metadata: { uid, resourceVersion, finalizers: rest.length === 0 ? null : rest } };
      await client.patch(item.resource, item.namespace, item.name, 'merge', patch, { signal });
    } catch (error) {
      if (!isApiError(error, 'NotFound')) throw error;
    }
  }

  /** Starts watching kinds that are new; settled once all of them are known. */
  async function watchAll(signal: AbortSignal, start: (task: Task) => void): Promise<void> {
    const { resources } = await discoverResources(client, signal);
    const fresh: Informer<KubeObject>[] = [];
    for (const resource of resources) {
      const path = resourcePath(resource, undefined);
      if (ignored.has(resource.plural) || watched.has(path)) continue;
      const informer = createInformer<KubeObject>(client, resource, { transform: metadataOnly, log, timing });
      watched.set(path, { resource, informer });
      hear(resource, informer);
      fresh.push(informer);
      start({ name: `metadata of ${path}`, run: (scope) => informer.run(scope) });
    }
    for (const informer of fresh) await informer.whenSynced(signal);
    if (settled) return;
    settled = true;
    for (const item of graph.items()) {
      if (item.owners.length > 0 || item.deletion !== undefined) queue.add(item.uid);
    }
  }

  const task = reconcilerTask(context, 'garbage-collector', queue, reconcile);
  return {
    name: task.name,
    async run(signal) {
      const group = new AbortController();
      const scope = AbortSignal.any([signal, group.signal]);
      const informers = new Set<Promise<void>>();
      const start = (informer: Task): void => {
        informers.add(informer.run(scope)); // an informer never rejects
      };
      const discovery = { name: 'discovery', run: (inner: AbortSignal) => discoverForEver(inner, start) };
      try {
        await runTogether([task, discovery], scope);
      } finally {
        group.abort();
        await Promise.all(informers);
      }
    },
  };

  /** Discovers at the start and whenever a CustomResourceDefinition comes or changes. */
  async function discoverForEver(signal: AbortSignal, start: (task: Task) => void): Promise<void> {
    const changed = new WorkQueue(timing.clock);
    changed.add('all');
    const onAbort = (): void => changed.close();
    signal.addEventListener('abort', onAbort, { once: true });
    let heardCrds = false;
    while (!signal.aborted) {
      const key = await changed.next();
      if (key === undefined) return;
      try {
        await watchAll(signal, start);
        if (!heardCrds && watched.has(resourcePath(crds, undefined))) {
          heardCrds = true;
          const informer = createInformer<KubeObject>(client, crds, { log, timing });
          informer.onChange(() => changed.addAfter('all', 100));
          start({ name: 'custom kinds', run: (scope) => informer.run(scope) });
        }
      } catch (error) {
        if (signal.aborted) return;
        if (!(error instanceof ApiError)) throw error;
        log.debug('discovery failed, trying again', { error });
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
