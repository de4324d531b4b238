import { readdir } from 'node:fs/promises';
import type { Pod } from '../api/gen/core-v1.ts';
import { keyOf, type ObjectKey } from '../api/object.ts';
import { aborted } from '../base/lifetime.ts';
import type { Informer } from '../control/informer.ts';
import type { PodDeps, ZeroLossOptions } from './pod-deps.ts';
import { podsDir } from './pod-paths.ts';
import { PodWorker } from './pod-worker.ts';
import { reservedBy } from './resize.ts';

/** The net below the event stream: everything the runtime has is compared this often, ms. */
const relistMs = 5_000;
/** Marks Pods that only show what runs without the container runtime. */
export const mirrorAnnotation = 'kubernetes.io/config.mirror';

/** One worker for each Pod of this node, and for each Pod that the runtime has and the API does not. */
export class PodManager {
  readonly #deps: PodDeps;
  readonly #pods: Informer<Pod>;
  readonly #zeroLoss: ZeroLossOptions;
  readonly #workers = new Map<string, { readonly worker: PodWorker; readonly done: Promise<void> }>(); // by uid
  #fingerprints: ReadonlyMap<string, string> = new Map();
  #signal: AbortSignal | undefined; // undefined: not started yet

  constructor(deps: PodDeps, pods: Informer<Pod>, zeroLoss: ZeroLossOptions) {
    this.#deps = deps;
    this.#pods = pods;
    this.#zeroLoss = zeroLoss;
    pods.onChange((_key, now, old) => this.#changed(now, old));
  }

  /** Call when the runtime can run Pods. Workers end with the signal, containers run on. */
  async run(signal: AbortSignal): Promise<void> {
    await this.#pods.whenSynced(signal);
    this.#signal = signal;
    for (const pod of this.#pods.list()) this.#changed(pod, undefined);
    await this.#removeLeftovers();
    while (!signal.aborted) {
      await this.#relist().catch((error: unknown) => {
        if (!signal.aborted)
          this.#deps.log.warn('the container runtime could not be asked for its Pods', { error });
      });
      await this.#deps.clock.sleep(relistMs, signal).catch(() => {}); // aborted: the loop ends
    }
    await aborted(signal);
    await Promise.all([...this.#workers.values()].map(({ done }) => done));
  }

  /** A container's or sandbox' process has ended. */
  taskEnded(id: string): void {
    void this.#taskEnded(id);
  }

  /** The event stream has a gap: look at everything. */
  gap(): void {
    if (this.#signal === undefined) return;
    void this.#relist().catch(() => {}); // the runtime is gone again: the next gap or relist looks
  }

  sourcesChanged(podUids: Iterable<string>): void {
    for (const uid of podUids) this.#workers.get(uid)?.worker.refresh();
  }

  /** Ends a Pod that takes more of the node than it may; its containers are killed at once. */
  evict(uid: string, message: string): void {
    this.#workers.get(uid)?.worker.evict(message);
  }

  find(namespace: string, name: string): Pod | undefined {
    return this.#pods.get(`${namespace}/${name}` satisfies ObjectKey);
  }

  pods(): readonly Pod[] {
    return [...this.#pods.list()];
  }

  #changed(now: Pod | undefined, old: Pod | undefined): void {
    if (this.#signal === undefined) return;
    for (const { worker } of this.#workers.values()) if (worker.waitsForResources) worker.wake();
    const oldUid = old?.metadata?.uid;
    if (oldUid !== undefined && oldUid !== now?.metadata?.uid)
      this.#workers.get(oldUid)?.worker.update(undefined);
    const uid = now?.metadata?.uid;
    if (now === undefined || uid === undefined || isMirror(now)) return;
    const present = this.#workers.get(uid);
    if (present === undefined) this.#start(uid, now, false);
    else present.worker.update(now);
  }

  /** Folders of Pods that neither the API nor the runtime knows: a node agent was killed while it removed them. */
  async #removeLeftovers(): Promise<void> {
    const uids = await readdir(podsDir(this.#deps.paths));
    const known = await this.#deps.view.knownPods();
    for (const uid of uids) {
      if (known.has(uid) || this.#workers.has(uid)) continue;
      this.#start(uid, { apiVersion: 'v1', kind: 'Pod', metadata: { uid } }, true);
    }
  }

  #start(uid: string, pod: Pod, isOrphan: boolean): void {
    const signal = this.#signal;
    if (signal === undefined) return;
    const worker = new PodWorker(this.#deps, this.#zeroLoss, pod, (exceptUid) =>
      reservedBy(this.#pods.list(), exceptUid),
    );
    if (isOrphan) worker.update(undefined);
    const done = worker.run(signal).then(() => {
      this.#workers.delete(uid);
      // Deleted and made again with the same uid cannot be; but it may still be listed until its deletion is seen.
    });
    this.#workers.set(uid, { worker, done });
  }

  async #taskEnded(id: string): Promise<void> {
    try {
      await this.#deps.view.whenSettled(id);
      const uid = this.#deps.view.podUidOf(id);
      if (uid === undefined) await this.#relist();
      else this.#workers.get(uid)?.worker.wake();
    } catch (error) {
      this.#deps.log.debug('end of a task could not be followed up', { id, error });
    }
  }

  async #relist(): Promise<void> {
    const known = await this.#deps.view.knownPods();
    const before = this.#fingerprints;
    this.#fingerprints = new Map([...known].map(([uid, { fingerprint }]) => [uid, fingerprint]));
    for (const [uid, fingerprint] of this.#fingerprints) {
      const entry = this.#workers.get(uid);
      if (entry !== undefined && before.get(uid) !== fingerprint) entry.worker.wake();
    }
    for (const [uid, { name, namespace }] of known) {
      if (this.#workers.has(uid)) continue;
      const pod: Pod = { apiVersion: 'v1', kind: 'Pod', metadata: { name, namespace, uid } };
      const listed = this.#pods.get(keyOf(pod));
      if (listed?.metadata?.uid === uid) continue; // its worker has just ended
      this.#deps.log.info('removing a Pod that is not in the API any more', { namespace, name, uid });
      this.#start(uid, pod, true);
    }
    for (const uid of before.keys()) if (!known.has(uid)) this.#workers.get(uid)?.worker.wake();
  }
}

function isMirror(pod: Pod): boolean {
  return pod.metadata?.annotations?.[mirrorAnnotation] !== undefined;
}
