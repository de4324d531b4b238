import type { ControllerRevision } from '../api/gen/apps-v1.ts';
import { type KubeObject, keyOf, type ObjectKey, objectKey } from '../api/object.ts';
import { controllerRevisions, type Resource } from '../api/resource.ts';
import type { ApiClient } from '../client/client.ts';
import { Expectations } from '../control/expectations.ts';
import type { Informer } from '../control/informer.ts';
import type { WorkQueue } from '../control/work-queue.ts';
import { type ControllerContext, controllerIndex, controllerUidsOf } from './context.ts';
import { controllerOf } from './ownership.ts';
import { deleteRevisions, ensureRevision, planHistory, planRevision, type Revisioned } from './revisions.ts';

/** The ControllerRevisions of one kind of owner: finding, making and deleting them, with expectations. */
export class RevisionHistory<T extends Revisioned> {
  readonly #client: ApiClient;
  readonly #resource: Resource<T>;
  readonly #informer: Informer<ControllerRevision>;
  readonly #expected: Expectations<ControllerRevision>;

  constructor(context: ControllerContext, resource: Resource<T>) {
    this.#client = context.client;
    this.#resource = resource;
    this.#informer = context.informers.of(controllerRevisions);
    this.#expected = new Expectations(this.#informer, context.timing.clock);
  }

  /** Marks the owner of every revision that changes. */
  listen(queue: WorkQueue): void {
    this.#informer.addIndex(controllerIndex, controllerUidsOf);
    this.#informer.onChange((_key, now, old) => {
      const revision: KubeObject = now ?? old ?? {};
      const owner = controllerOf(revision);
      if (owner?.kind === this.#resource.kind) queue.add(objectKey(revision.metadata?.namespace, owner.name));
    });
  }

  /** How long to wait at most until our own copy shows our last writes, ms; 0: plan now. */
  waitMs(key: ObjectKey): number {
    return this.#expected.waitMs(key);
  }

  of(owner: T): readonly ControllerRevision[] {
    const { namespace = '', uid = '' } = owner.metadata ?? {};
    return [...this.#informer.byIndex(controllerIndex, `${namespace}/${uid}`)];
  }

  /** The revision of the owner's present template, made or renumbered where it must be. */
  async ensure(
    owner: T,
    history: readonly ControllerRevision[],
    signal: AbortSignal,
  ): Promise<ControllerRevision> {
    const plan = planRevision(this.#resource, owner, history);
    const revision = await ensureRevision(this.#client, plan, signal);
    if (plan.kind !== 'current') this.#expected.written(keyOf(owner), revision);
    return revision;
  }

  /** Deletes what is beyond the owner's limit, but none of those whose names are `used`. */
  prune(
    owner: T,
    history: readonly ControllerRevision[],
    used: ReadonlySet<string>,
    signal: AbortSignal,
  ): Promise<void> {
    return deleteRevisions(this.#client, planHistory(owner, history, used), signal);
  }
}
