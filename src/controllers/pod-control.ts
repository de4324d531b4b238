import type { Pod } from '../api/gen/core-v1.ts';
import type { LabelSelector } from '../api/gen/meta-v1.ts';
import { type KubeObject, keyOf, type ObjectKey, objectKey } from '../api/object.ts';
import { pods, type Resource } from '../api/resource.ts';
import { type ApiClient, ApiError, isApiError } from '../client/client.ts';
import { Expectations } from '../control/expectations.ts';
import type { Informer } from '../control/informer.ts';
import type { Recorder } from '../control/recorder.ts';
import { matchesSelector } from '../control/selector.ts';
import type { WorkQueue } from '../control/work-queue.ts';
import { type ControllerContext, controllerIndex, controllerUidsOf } from './context.ts';
import { adoptionPatch, type Claims, controllerOf, controllerReference, releasePatch } from './ownership.ts';

/** The Pods of one kind of owner: finding, adopting, creating and deleting them, with Events and expectations. */
export class PodControl<T extends KubeObject> {
  readonly #client: ApiClient;
  readonly #resource: Resource<T>;
  readonly #recorder: Recorder;
  readonly #finalizer: string | undefined;
  readonly #podInformer: Informer<Pod>;
  readonly #expected: Expectations<Pod>;

  /** `finalizer`: what the owner holds its Pods with; put on with adoption, taken off with release. */
  constructor(context: ControllerContext, resource: Resource<T>, recorder: Recorder, finalizer?: string) {
    this.#client = context.client;
    this.#resource = resource;
    this.#recorder = recorder;
    this.#finalizer = finalizer;
    this.#podInformer = context.informers.of(pods);
    this.#expected = new Expectations(this.#podInformer, context.timing.clock);
  }

  /** Marks the owner of every Pod that changes; of one without owner those whose selector wants it. */
  listen(owners: Informer<T>, queue: WorkQueue, selectorOf: (owner: T) => LabelSelector | undefined): void {
    this.#podInformer.addIndex(controllerIndex, controllerUidsOf);
    owners.onChange((key) => queue.add(key));
    this.#podInformer.onChange((_key, now, old) => {
      for (const pod of [now, old]) {
        if (pod === undefined) continue;
        const controller = controllerOf(pod);
        const { namespace, labels } = pod.metadata ?? {};
        if (controller?.kind === this.#resource.kind) queue.add(objectKey(namespace, controller.name));
        if (controller !== undefined) continue;
        for (const owner of owners.list()) {
          if (owner.metadata?.namespace === namespace && matchesSelector(selectorOf(owner), labels))
            queue.add(keyOf(owner));
        }
      }
    });
  }

  /** Pods that the owner has, and those of its namespace that nobody has. */
  candidatesOf(owner: T): readonly Pod[] {
    const { namespace = '', uid = '' } = owner.metadata ?? {};
    return [
      ...this.#podInformer.byIndex(controllerIndex, `${namespace}/${uid}`),
      ...this.#podInformer.byIndex(controllerIndex, `${namespace}/`),
    ];
  }

  /** How long to wait at most until our own copy shows our last writes, ms; 0: plan now. */
  waitMs(key: ObjectKey): number {
    return this.#expected.waitMs(key);
  }

  /** The Pods that are the owner's afterwards. */
  async claim(owner: T, claims: Claims<Pod>, signal: AbortSignal): Promise<readonly Pod[]> {
    const reference = controllerReference(this.#resource, owner);
    const writes = [
      ...claims.adopt.map((pod) => ({ pod, patch: adoptionPatch(pod, reference, this.#finalizer) })),
      ...claims.release.map((pod) => ({
        pod,
        patch: releasePatch(pod, owner.metadata?.uid, this.#finalizer),
      })),
    ];
    for (const { pod, patch } of writes) {
      const { namespace, name = '' } = pod.metadata ?? {};
      const written = await this.#client.patch(pods, namespace, name, 'merge', patch, { signal });
      this.#expected.written(keyOf(owner), written);
    }
    return [...claims.owned, ...claims.adopt];
  }

  /** Creates in batches of one, two, four…: where the server refuses, it refuses few times. Returns the first refusal. */
  async create(owner: T, wanted: readonly Pod[], signal: AbortSignal): Promise<ApiError | undefined> {
    for (let from = 0, size = 1; from < wanted.length; from += size, size *= 2) {
      const batch = wanted.slice(from, from + size);
      const results = await Promise.allSettled(batch.map((pod) => this.#createOne(owner, pod, signal)));
      for (const result of results) {
        if (result.status === 'fulfilled') continue;
        const error: unknown = result.reason;
        if (!(error instanceof ApiError)) throw error;
        this.#recorder.event(owner, 'Warning', 'FailedCreate', `Error creating: ${error.message}`);
        return error;
      }
    }
    return undefined;
  }

  async #createOne(owner: T, pod: Pod, signal: AbortSignal): Promise<void> {
    const created = await this.#client.create(pods, pod, { signal });
    this.#expected.written(keyOf(owner), created);
    this.#recorder.event(owner, 'Normal', 'SuccessfulCreate', `Created pod: ${created.metadata?.name}`);
  }

  async remove(owner: T, unwanted: readonly Pod[], signal: AbortSignal): Promise<void> {
    for (const pod of unwanted) {
      if (pod.metadata?.deletionTimestamp !== undefined) continue;
      const { namespace, name = '', uid } = pod.metadata ?? {};
      try {
        await this.#client.delete(pods, namespace, name, { uid, signal });
        this.#expected.deleted(keyOf(owner), pod);
        this.#recorder.event(owner, 'Normal', 'SuccessfulDelete', `Deleted pod: ${name}`);
      } catch (error) {
        if (!isApiError(error, 'NotFound')) throw error;
      }
    }
  }
}
