import type { Ingress } from '../../api/gen/networking-v1.ts';
import { keyOf, type ObjectKey, objectKey } from '../../api/object.ts';
import { ingressClasses, ingresses } from '../../api/resource.ts';
import type { Clock } from '../../base/clock.ts';
import type { Task } from '../../base/lifetime.ts';
import type { Logger } from '../../base/log.ts';
import { type ApiClient, ApiError, isApiError } from '../../client/client.ts';
import { LostLeaseError, runAsLeader } from '../../control/leader.ts';
import { done, type Outcome, runReconciler } from '../../control/reconciler.ts';
import { createRecorder, type Recorder } from '../../control/recorder.ts';
import { WorkQueue } from '../../control/work-queue.ts';
import { ingressClassesToCreate } from './class.ts';
import type { CompiledRoutes } from '../routes/compile.ts';
import type { IngressConfig } from './config.ts';
import { planRemoval, planStatus, publishedAddresses } from './ingress-status.ts';
import type { Problem } from './problem.ts';
import type { Watched } from './watched.ts';

/** Statuses written at once. */
const statusConcurrency = 4;
/** A write of a status that takes longer is given up and tried again, ms; with a Lease, after half of what a renewal may take. */
const statusWriteMsMax = 5_000;
/** Of LeaderOptions, ms. */
const renewDeadlineMsDefault = 10_000;

/** Why a write under way is given up: another status is wanted by now. */
const replaced = new ApiError('Conflict', 'another status is wanted by now');

/**
 * All that the controller writes: statuses, Events and, if asked to, IngressClasses. With a Lease only its holder writes
 * statuses and Events; losing it, as when the API server is away for long, stops these writes and nothing else.
 */
export class ApiWriter {
  readonly tasks: readonly Task[];
  readonly #config: IngressConfig;
  readonly #client: ApiClient;
  readonly #watched: Watched;
  readonly #clock: Clock;
  readonly #log: Logger;
  readonly #recorder: Recorder;
  readonly #onLeading: () => void;
  #owned: CompiledRoutes['owned'] = [];
  /** Ingresses that are ours no more, whose status may still have our addresses. */
  readonly #left = new Set<ObjectKey>();
  /** Of our Ingresses those whose status is to be written, as they are now. */
  readonly #unwritten = new Map<ObjectKey, Ingress>();
  /** Those that `queue` has been given, or that need nothing, for `addresses`: a change of one Ingress must not cost a look at all. */
  #looked:
    | { readonly queue: WorkQueue<ObjectKey>; readonly addresses: string; readonly at: WeakSet<Ingress> }
    | undefined;
  /** Writes under way, with what they say. */
  readonly #writing = new Map<ObjectKey, { readonly patch: string; readonly scope: AbortController }>();
  /** undefined: another process writes. */
  #queue: WorkQueue<ObjectKey> | undefined;

  /** @param onLeading this process writes from now on: what it held back may be told again */
  constructor(
    config: IngressConfig,
    client: ApiClient,
    watched: Watched,
    log: Logger,
    clock: Clock,
    onLeading: () => void,
  ) {
    this.#config = config;
    this.#client = client;
    this.#watched = watched;
    this.#log = log;
    this.#clock = clock;
    this.#onLeading = onLeading;
    this.#recorder = createRecorder(client, 'fairlead-ingress', { log });
    this.tasks = [
      { name: 'ingress events', run: (signal) => this.#recorder.run(signal) },
      { name: 'ingress statuses', run: (signal) => this.#lead(signal) },
      { name: 'ingress classes', run: (signal) => this.#createClasses(signal) },
    ];
  }

  update(compiled: CompiledRoutes): void {
    if (compiled.owned !== this.#owned) {
      this.#noteLeft(this.#owned, compiled.owned);
      this.#owned = compiled.owned;
    }
    this.#enqueue();
  }

  /** Those that were ours and are not, as when their class has changed. */
  #noteLeft(before: CompiledRoutes['owned'], now: CompiledRoutes['owned']): void {
    if (this.#queue === undefined) return; // another process writes, and takes them out
    const fresh = new Set(now);
    const gone = new Set<ObjectKey>();
    for (const ingress of before) if (!fresh.delete(ingress)) gone.add(keyOf(ingress));
    for (const ingress of fresh) {
      const key = keyOf(ingress); // new, or only changed
      gone.delete(key);
      this.#left.delete(key);
    }
    for (const key of gone) {
      this.#left.add(key);
      this.#unwritten.delete(key);
    }
    if (gone.size > 0) this.#tellLostClasses(gone);
  }

  /** Where an Ingress has left us for a class that is not there, as when that was deleted, nobody else tells why it is not served. */
  #tellLostClasses(gone: ReadonlySet<ObjectKey>): void {
    const { ingresses: present, ingressClasses: classes } = this.#watched.view;
    const names = new Set([...classes].map(({ metadata }) => metadata?.name));
    for (const ingress of present) {
      const name = ingress.spec?.ingressClassName;
      if (name === undefined || names.has(name) || !gone.has(keyOf(ingress))) continue;
      const message = `spec.ingressClassName: there is no IngressClass ${name}, so it is not served`;
      this.#recorder.event(ingress, 'Warning', 'IngressClassNotFound', message);
    }
  }

  report({ ingress, reason, message }: Problem): void {
    if (this.#queue !== undefined) this.#recorder.event(ingress, 'Warning', reason, message);
  }

  #enqueue(): void {
    const queue = this.#queue;
    if (queue === undefined) return;
    const addresses = this.#addresses();
    const text = JSON.stringify(addresses);
    if (this.#looked?.queue !== queue || this.#looked.addresses !== text) {
      this.#looked = { queue, addresses: text, at: new WeakSet() };
      const { publishService } = this.#config;
      if (addresses.length === 0 && publishService !== undefined) {
        const service = objectKey(publishService.namespace, publishService.name);
        this.#log.warn('statuses get no address: the Service that publishes us is missing or has none', {
          service,
        });
      }
    }
    const { at } = this.#looked;
    for (const ingress of this.#owned) {
      if (at.has(ingress)) continue;
      at.add(ingress);
      const key = keyOf(ingress);
      const patch = planStatus(ingress, addresses);
      if (patch === undefined) this.#unwritten.delete(key);
      else {
        this.#unwritten.set(key, ingress);
        this.#want(queue, key, JSON.stringify(patch));
      }
    }
    for (const key of this.#left) this.#want(queue, key, undefined);
  }

  /** A write under way that says something else is not waited for; should it have arrived all the same, the watch tells. */
  #want(queue: WorkQueue<ObjectKey>, key: ObjectKey, patch: string | undefined): void {
    queue.add(key);
    const writing = this.#writing.get(key);
    if (writing !== undefined && writing.patch !== patch) writing.scope.abort(replaced);
  }

  async #lead(signal: AbortSignal): Promise<void> {
    const { leaderElection } = this.#config;
    if (leaderElection === undefined) {
      await this.#writeStatuses(signal);
      return;
    }
    const options = { ...leaderElection, log: this.#log };
    while (!signal.aborted) {
      try {
        await runAsLeader(this.#client, options, signal, (scope) => this.#writeStatuses(scope));
      } catch (error) {
        if (!(error instanceof LostLeaseError)) throw error;
        this.#log.warn('another process may write statuses now; requests are served as before', { error });
      }
    }
  }

  async #writeStatuses(signal: AbortSignal): Promise<void> {
    const queue = new WorkQueue<ObjectKey>(this.#clock);
    this.#queue = queue;
    this.#enqueue();
    this.#onLeading();
    const reconcile = async (key: ObjectKey, scope: AbortSignal): Promise<Outcome> =>
      this.#writeStatus(key, scope);
    const reconciler = { name: 'ingress-status', queue, concurrency: statusConcurrency, reconcile };
    try {
      await runReconciler(reconciler, signal, { log: this.#log });
    } finally {
      this.#queue = undefined;
      this.#left.clear();
      this.#unwritten.clear();
    }
  }

  async #writeStatus(key: ObjectKey, signal: AbortSignal): Promise<Outcome> {
    const owned = this.#unwritten.get(key);
    const ingress = owned ?? this.#findLeft(key);
    this.#left.delete(key);
    if (ingress === undefined) return done;
    const plan = owned === undefined ? planRemoval : planStatus;
    const patch = plan(ingress, this.#addresses());
    if (patch === undefined) return done;
    const { namespace, name = '' } = ingress.metadata ?? {};
    try {
      await this.#patchStatus(key, patch, signal, (scope) =>
        this.#client.patch(ingresses, namespace, name, 'merge', patch, {
          subresource: 'status',
          signal: scope,
        }),
      );
    } catch (error) {
      if (error === replaced || isApiError(error, 'NotFound')) return done; // deleted meanwhile: nothing to write
      if (owned === undefined) this.#left.add(key); // looked at again
      throw error;
    }
    return done;
  }

  /** `write` until its deadline, or until something else is wanted: then it rejects with `replaced`. */
  async #patchStatus(
    key: ObjectKey,
    patch: object,
    signal: AbortSignal,
    write: (signal: AbortSignal) => Promise<unknown>,
  ): Promise<void> {
    const { renewDeadlineMs = renewDeadlineMsDefault } = this.#config.leaderElection ?? {};
    const scope = new AbortController();
    const withinMs = Math.min(statusWriteMsMax, renewDeadlineMs / 2);
    const cancel = this.#clock.after(withinMs, () =>
      scope.abort(new ApiError('Timeout', `the status was not written in ${withinMs} ms`)),
    );
    this.#writing.set(key, { patch: JSON.stringify(patch), scope });
    try {
      await write(AbortSignal.any([signal, scope.signal]));
    } finally {
      cancel();
      this.#writing.delete(key);
    }
  }

  #findLeft(key: ObjectKey): Ingress | undefined {
    if (!this.#left.has(key)) return undefined;
    for (const ingress of this.#watched.view.ingresses) {
      if (keyOf(ingress) === key) return ingress;
    }
    return undefined;
  }

  #addresses(): ReturnType<typeof publishedAddresses> {
    const { publishService } = this.#config;
    if (publishService === undefined) return [];
    const key = objectKey(publishService.namespace, publishService.name);
    return publishedAddresses(this.#watched.view.service(key));
  }

  /** Makes our IngressClasses where they do not exist. One that exists is left as it is, whoever's it may be. */
  async #createClasses(signal: AbortSignal): Promise<void> {
    if (!this.#config.createIngressClasses) return;
    const wanted = new Map(
      ingressClassesToCreate(this.#config.ingressClasses, this.#config.controllerName).map((made) => [
        keyOf(made),
        made,
      ]),
    );
    const queue = new WorkQueue<ObjectKey>(this.#clock);
    for (const key of wanted.keys()) queue.add(key);
    let left = wanted.size;
    const reconcile = async (key: ObjectKey, scope: AbortSignal): Promise<Outcome> => {
      try {
        await this.#client.create(ingressClasses, wanted.get(key)!, { signal: scope });
      } catch (error) {
        if (!isApiError(error, 'AlreadyExists')) throw error;
      }
      left -= 1;
      if (left === 0) queue.close();
      return done;
    };
    await runReconciler({ name: 'ingress-class', queue, concurrency: 1, reconcile }, signal, {
      log: this.#log,
    });
  }
}
