import type { Namespace, NamespaceCondition } from '../../api/gen/core-v1.ts';
import { namespaces, pods, type Resource } from '../../api/resource.ts';
import { rfc3339 } from '../../base/clock.ts';
import type { Task } from '../../base/lifetime.ts';
import { isApiError } from '../../client/client.ts';
import { done, type Outcome, requeueAfter } from '../../control/reconciler.ts';
import { WorkQueue } from '../../control/work-queue.ts';
import { type ControllerContext, reconcilerTask } from '../context.ts';
import { type Discovered, discoverResources } from '../discovery.ts';
import { canonicalJson } from '../status-patch.ts';
import { type Leftover, namespaceConditions } from './plan.ts';

const finalizer = 'kubernetes';
/** Objects that wait for finalizers of others are looked for again after this; Pods are watched and need no such look. */
const recheckMs = 500;
/** Deletions under way at once in one namespace. */
const deletionsMax = 32;

/** Empties namespaces that are being deleted, of all kinds that the server has, and lets them go. */
export function namespaceController(context: ControllerContext): Task {
  const { client, informers, timing } = context;
  const namespaceInformer = informers.of(namespaces);
  const podInformer = informers.of(pods);
  const queue = new WorkQueue(timing.clock);
  namespaceInformer.onChange((key, now) => {
    if (now?.metadata?.deletionTimestamp !== undefined) queue.add(key);
  });
  podInformer.onChange((_key, now, old) => {
    const namespace = old?.metadata?.namespace ?? '';
    if (now !== undefined || namespaceInformer.get(namespace)?.metadata?.deletionTimestamp === undefined)
      return;
    queue.add(namespace);
  });

  /** Deletes all objects of one kind; returns those that are still there afterwards. */
  async function empty(resource: Resource, namespace: string, signal: AbortSignal): Promise<Leftover> {
    const { items } = await client.list(resource, { namespace, signal });
    const waiting = items.filter(({ metadata }) => metadata?.deletionTimestamp === undefined);
    for (let at = 0; at < waiting.length; at += deletionsMax) {
      const batch = waiting.slice(at, at + deletionsMax).map(async ({ metadata }) => {
        try {
          const options = { propagationPolicy: 'Background', signal } as const;
          await client.delete(resource, namespace, metadata?.name ?? '', options);
        } catch (error) {
          if (!isApiError(error, 'NotFound')) throw error;
        }
      });
      await Promise.all(batch);
    }
    const rest = items.length === 0 ? [] : (await client.list(resource, { namespace, signal })).items;
    return {
      resource,
      count: rest.length,
      finalizers: rest.flatMap(({ metadata }) => metadata?.finalizers ?? []),
    };
  }

  async function reconcile(name: string, signal: AbortSignal): Promise<Outcome> {
    const object = namespaceInformer.get(name);
    if (object?.metadata?.deletionTimestamp === undefined) return done;
    if (object.spec?.finalizers?.includes(finalizer) !== true) return done;
    const discovered = await discoverResources(client, signal);
    const leftovers: Leftover[] = [];
    for (const resource of discovered.resources) {
      if (!resource.namespaced || resource.plural === 'events') continue;
      const leftover = await empty(resource, name, signal);
      if (leftover.count > 0) leftovers.push(leftover);
    }
    // Events last: deleting the rest makes some.
    const events = discovered.resources.find(({ plural, group }) => plural === 'events' && group === '');
    if (leftovers.length === 0 && events !== undefined) await empty(events, name, signal);
    if (leftovers.length > 0 || discovered.failed.length > 0) {
      await report(object, leftovers, discovered, signal);
      return requeueAfter(recheckMs);
    }
    await finalize(object, signal);
    return done;
  }

  async function report(
    object: Namespace,
    leftovers: readonly Leftover[],
    discovered: Discovered,
    signal: AbortSignal,
  ): Promise<void> {
    const old = object.status?.conditions ?? [];
    const now = rfc3339(timing.clock.nowMs());
    const conditions: readonly NamespaceCondition[] = namespaceConditions(
      leftovers,
      discovered.failed,
      old,
      now,
    );
    if (canonicalJson(old) === canonicalJson(conditions)) return;
    const name = object.metadata?.name ?? '';
    const patch = { status: { phase: 'Terminating', conditions } };
    await client.patch(namespaces, undefined, name, 'merge', patch, { subresource: 'status', signal });
  }

  async function finalize(object: Namespace, signal: AbortSignal): Promise<void> {
    const finalizers = (object.spec?.finalizers ?? []).filter((entry) => entry !== finalizer);
    try {
      const body = { ...object, spec: { ...object.spec, finalizers } };
      await client.replace(namespaces, body, { subresource: 'finalize', signal });
    } catch (error) {
      if (!isApiError(error, 'NotFound')) throw error;
    }
  }

  return reconcilerTask(context, 'namespace', queue, reconcile, 2);
}
