import type { ControllerRevision, DaemonSet } from '../../api/gen/apps-v1.ts';
import type { Node, Pod } from '../../api/gen/core-v1.ts';
import { keyOf, type ObjectKey } from '../../api/object.ts';
import { daemonSets, nodes } from '../../api/resource.ts';
import type { Clock } from '../../base/clock.ts';
import type { Task } from '../../base/lifetime.ts';
import type { ApiClient } from '../../client/client.ts';
import type { Informer } from '../../control/informer.ts';
import { done, type Outcome, requeueAfter } from '../../control/reconciler.ts';
import type { Recorder } from '../../control/recorder.ts';
import { WorkQueue } from '../../control/work-queue.ts';
import { type ControllerContext, type ControllerLoop, loopTask } from '../context.ts';
import { planClaims } from '../ownership.ts';
import { PodControl } from '../pod-control.ts';
import { RevisionHistory } from '../revision-history.ts';
import { revisionHashLabel } from '../revisions.ts';
import { canonicalJson, statusPatch } from '../status-patch.ts';
import { planDaemonSet, podOfNode } from './plan.ts';

/** Keeps a Pod of every DaemonSet on each node that it fits. */
export function daemonSetController(context: ControllerContext): Task {
  return loopTask(context, 'daemonset', new DaemonSetLoop(context));
}

class DaemonSetLoop implements ControllerLoop {
  readonly queue: WorkQueue;
  readonly recorder: Recorder;
  readonly #client: ApiClient;
  readonly #clock: Clock;
  readonly #sets: Informer<DaemonSet>;
  readonly #nodes: Informer<Node>;
  readonly #history: RevisionHistory<DaemonSet>;
  readonly #control: PodControl<DaemonSet>;

  constructor(context: ControllerContext) {
    this.queue = new WorkQueue(context.timing.clock);
    this.recorder = context.recorder('daemonset-controller');
    this.#client = context.client;
    this.#clock = context.timing.clock;
    this.#sets = context.informers.of(daemonSets);
    this.#nodes = context.informers.of(nodes);
    this.#history = new RevisionHistory(context, daemonSets);
    this.#control = new PodControl(context, daemonSets, this.recorder);
  }

  listen(): void {
    this.#history.listen(this.queue);
    this.#nodes.onChange((_key, now, old) => {
      if (placementFacts(now) === placementFacts(old)) return; // heartbeats change nothing for us
      for (const set of this.#sets.list()) this.queue.add(keyOf(set));
    });
    this.#control.listen(this.#sets, this.queue, (set) => set.spec?.selector);
  }

  async reconcile(key: ObjectKey, signal: AbortSignal): Promise<Outcome> {
    const set = this.#sets.get(key);
    if (set === undefined) return done;
    const waitMs = Math.max(this.#control.waitMs(key), this.#history.waitMs(key));
    if (waitMs > 0) return requeueAfter(waitMs);
    const claims = planClaims(set, set.spec?.selector, this.#control.candidatesOf(set));
    const owned = await this.#control.claim(set, claims, signal);
    const { namespace = '', name = '' } = set.metadata ?? {};
    const history = this.#history.of(set);
    const update = await this.#history.ensure(set, history, signal);
    const hash = hashLabelOf(update);
    const plan = planDaemonSet(set, this.#nodes.list(), owned, hash, this.#clock.nowMs());
    const patch = statusPatch(set.status, plan.status);
    if (patch !== undefined) {
      const options = { subresource: 'status', signal };
      await this.#client.patch(daemonSets, namespace, name, 'merge', patch, options);
    }
    const wanted = plan.create.map((node) => podOfNode(set, node, hash));
    const failure = await this.#control.create(set, wanted, signal);
    await this.#control.remove(set, plan.remove, signal);
    await this.#prune(set, history, owned, hash, signal);
    if (failure !== undefined) throw failure;
    return plan.recheckAfterMs === undefined ? done : requeueAfter(plan.recheckAfterMs);
  }

  async #prune(
    set: DaemonSet,
    history: readonly ControllerRevision[],
    owned: readonly Pod[],
    current: string,
    signal: AbortSignal,
  ): Promise<void> {
    const hashes = new Set([current, ...owned.map((pod) => pod.metadata?.labels?.[revisionHashLabel] ?? '')]);
    const live = history.filter((revision) => hashes.has(hashLabelOf(revision)));
    const names = new Set(live.map(({ metadata }) => metadata?.name ?? ''));
    await this.#history.prune(set, history, names, signal);
  }
}

function hashLabelOf(revision: ControllerRevision): string {
  return revision.metadata?.labels?.['controller.kubernetes.io/hash'] ?? '';
}

/** What of a node decides whether a daemon runs there. */
function placementFacts(node: Node | undefined): string {
  if (node === undefined) return '';
  return canonicalJson({ labels: node.metadata?.labels, taints: node.spec?.taints });
}
