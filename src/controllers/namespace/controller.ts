import type { Namespace, NamespaceCondition, Pod } from '../../api/gen/core-v1.ts';
import { namespaces, pods, type Resource } from '../../api/resource.ts';
import type { Clock } from '../../base/clock.ts';
import { rfc3339 } from '../../base/clock.ts';
import type { Task } from '../../base/lifetime.ts';
import type { ApiClient } from '../../client/client.ts';
import { isApiError } from '../../client/client.ts';
import type { Informer } from '../../control/informer.ts';
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
  const loop = new NamespaceLoop(context);
  loop.listen();
  return reconcilerTask(context, 'namespace', loop.queue, (key, signal) => loop.reconcile(key, signal), 2);
}

class NamespaceLoop {
  readonly queue: WorkQueue;
  readonly #client: ApiClient;
  readonly #clock: Clock;
  readonly #namespaceInformer: Informer<Namespace>;
  readonly #podInformer: Informer<Pod>;

  constructor({ client, informers, timing }: ControllerContext) {
    this.queue = new WorkQueue(timing.clock);
    this.#client = client;
    this.#clock = timing.clock;
    this.#namespaceInformer = informers.of(namespaces);
    this.#podInformer = informers.of(pods);
  }

  listen(): void {
    this.#namespaceInformer.onChange((key, now) => {
      if (now?.metadata?.deletionTimestamp !== undefined) this.queue.add(key);
    });
    this.#podInformer.onChange((_key, now, old) => {
      const namespace = old?.metadata?.namespace ?? '';
      if (
        now !== undefined ||
        this.#namespaceInformer.get(namespace)?.metadata?.deletionTimestamp === undefined
      )
        return;
      this.queue.add(namespace);
    });
  }

  async #emptyPods(namespace: string, signal: AbortSignal): Promise<Leftover[]> {
    const leftover = await this.#empty(pods, namespace, signal);
    return leftover.count > 0 ? [leftover] : [];
  }

  /** Deletes all objects of one kind; returns those that are still there afterwards. */
  async #empty(resource: Resource, namespace: string, signal: AbortSignal): Promise<Leftover> {
    const { items } = await this.#client.list(resource, { namespace, signal });
    const waiting = items.filter(({ metadata }) => metadata?.deletionTimestamp === undefined);
    for (let at = 0; at < waiting.length; at += deletionsMax) {
      const batch = waiting.slice(at, at + deletionsMax).map(async ({ metadata }) => {
        try {
          const options = { propagationPolicy: 'Background', signal } as const;
          await this.#client.delete(resource, namespace, metadata?.name ?? '', options);
        } catch (error) {
          if (!isApiError(error, 'NotFound')) throw error;
        }
      });
      await Promise.all(batch);
    }
    const rest = items.length === 0 ? [] : (await this.#client.list(resource, { namespace, signal })).items;
    return {
      resource,
      count: rest.length,
      finalizers: rest.flatMap(({ metadata }) => metadata?.finalizers ?? []),
    };
  }

  async reconcile(name: string, signal: AbortSignal): Promise<Outcome> {
    const object = this.#namespaceInformer.get(name);
    if (object?.metadata?.deletionTimestamp === undefined) return done;
    if (object.spec?.finalizers?.includes(finalizer) !== true) return done;
    const discovered = await discoverResources(this.#client, signal);
    const leftovers = await this.#emptyPods(name, signal);
    // The rest goes when no Pod runs any more that it may guard or serve, such as a NetworkPolicy (KEP-5080).
    for (const resource of leftovers.length > 0 ? [] : discovered.resources) {
      if (!resource.namespaced || resource.plural === 'events') continue;
      const leftover = await this.#empty(resource, name, signal);
      if (leftover.count > 0) leftovers.push(leftover);
    }
    // Events last: deleting the rest makes some.
    const events = discovered.resources.find(({ plural, group }) => plural === 'events' && group === '');
    if (leftovers.length === 0 && events !== undefined) await this.#empty(events, name, signal);
    if (leftovers.length > 0 || discovered.failed.length > 0) {
      await this.#report(object, leftovers, discovered, signal);
      return requeueAfter(recheckMs);
    }
    await this.#finalize(object, signal);
    return done;
  }

  async #report(
    object: Namespace,
    leftovers: readonly Leftover[],
    discovered: Discovered,
    signal: AbortSignal,
  ): Promise<void> {
    const old = object.status?.conditions ?? [];
    const now = rfc3339(this.#clock.nowMs());
    const conditions: readonly NamespaceCondition[] = namespaceConditions(
      leftovers,
      discovered.failed,
      old,
      now,
    );
    if (canonicalJson(old) === canonicalJson(conditions)) return;
    const name = object.metadata?.name ?? '';
    const patch = { status: { phase: 'Terminating', conditions } };
    await this.#client.patch(namespaces, undefined, name, 'merge', patch, { subresource: 'status', signal });
  }

  async #finalize(object: Namespace, signal: AbortSignal): Promise<void> {
    const finalizers = (object.spec?.finalizers ?? []).filter((entry) => entry !== finalizer);
    try {
      const body = { ...object, spec: { ...object.spec, finalizers } };
      await this.#client.replace(namespaces, body, { subresource: 'finalize', signal });
    } catch (error) {
      if (!isApiError(error, 'NotFound')) throw error;
    }
  }
}
