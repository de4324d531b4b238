import type { ControllerRevision, StatefulSet } from '../../api/gen/apps-v1.ts';
import type { Pod, PodTemplateSpec } from '../../api/gen/core-v1.ts';
import { isJsonObject, type ObjectKey } from '../../api/object.ts';
import { persistentVolumeClaims, statefulSets } from '../../api/resource.ts';
import type { Clock } from '../../base/clock.ts';
import type { Task } from '../../base/lifetime.ts';
import { type ApiClient, isApiError } from '../../client/client.ts';
import type { Informer } from '../../control/informer.ts';
import { done, type Outcome, requeueAfter } from '../../control/reconciler.ts';
import type { Recorder } from '../../control/recorder.ts';
import { WorkQueue } from '../../control/work-queue.ts';
import { type ControllerContext, type ControllerLoop, loopTask } from '../context.ts';
import { planClaims } from '../ownership.ts';
import { PodControl } from '../pod-control.ts';
import { RevisionHistory } from '../revision-history.ts';
import { statusPatch } from '../status-patch.ts';
import { claimsOfOrdinal, planStatefulSet, podOfOrdinal, revisionOf, type StatefulSetPlan } from './plan.ts';

/** Keeps the numbered Pods of every StatefulSet, in order. */
export function statefulSetController(context: ControllerContext): Task {
  return loopTask(context, 'statefulset', new StatefulSetLoop(context));
}

class StatefulSetLoop implements ControllerLoop {
  readonly queue: WorkQueue;
  readonly recorder: Recorder;
  readonly #client: ApiClient;
  readonly #clock: Clock;
  readonly #sets: Informer<StatefulSet>;
  readonly #history: RevisionHistory<StatefulSet>;
  readonly #control: PodControl<StatefulSet>;

  constructor(context: ControllerContext) {
    this.queue = new WorkQueue(context.timing.clock);
    this.recorder = context.recorder('statefulset-controller');
    this.#client = context.client;
    this.#clock = context.timing.clock;
    this.#sets = context.informers.of(statefulSets);
    this.#history = new RevisionHistory(context, statefulSets);
    this.#control = new PodControl(context, statefulSets, this.recorder);
  }

  listen(): void {
    this.#history.listen(this.queue);
    this.#control.listen(this.#sets, this.queue, (set) => set.spec?.selector);
  }

  async reconcile(key: ObjectKey, signal: AbortSignal): Promise<Outcome> {
    const set = this.#sets.get(key);
    if (set === undefined) return done;
    const waitMs = Math.max(this.#control.waitMs(key), this.#history.waitMs(key));
    if (waitMs > 0) return requeueAfter(waitMs);
    const owned = await this.#control.claim(
      set,
      planClaims(set, set.spec?.selector, this.#control.candidatesOf(set)),
      signal,
    );
    const history = this.#history.of(set);
    const update = await this.#history.ensure(set, history, signal);
    const updateName = update.metadata?.name ?? '';
    const known = new Set(history.map(({ metadata }) => metadata?.name));
    const before = set.status?.currentRevision;
    const current = before !== undefined && known.has(before) ? before : updateName;
    const plan = planStatefulSet(set, owned, { current, update: updateName }, this.#clock.nowMs());
    await this.#execute(set, plan, [...history, update], signal);
    await this.#prune(set, history, owned, [current, updateName], signal);
    return plan.recheckAfterMs === undefined ? done : requeueAfter(plan.recheckAfterMs);
  }

  async #execute(
    set: StatefulSet,
    plan: StatefulSetPlan,
    history: readonly ControllerRevision[],
    signal: AbortSignal,
  ): Promise<void> {
    const { namespace, name = '' } = set.metadata ?? {};
    const patch = statusPatch(set.status, plan.status);
    if (patch !== undefined) {
      const options = { subresource: 'status', signal };
      await this.#client.patch(statefulSets, namespace, name, 'merge', patch, options);
    }
    for (const { ordinal } of plan.create) await this.#createClaims(set, ordinal, signal);
    const wanted = plan.create.map(({ ordinal, revision }) =>
      podOfOrdinal(withTemplate(set, history, revision), ordinal, revision),
    );
    const failure = await this.#control.create(set, wanted, signal);
    await this.#control.remove(set, plan.remove, signal);
    if (set.spec?.persistentVolumeClaimRetentionPolicy?.whenScaled === 'Delete') {
      for (const pod of plan.condemned) await this.#removeClaims(pod, signal);
    }
    if (failure !== undefined) throw failure;
  }

  async #createClaims(set: StatefulSet, ordinal: number, signal: AbortSignal): Promise<void> {
    for (const claim of claimsOfOrdinal(set, ordinal)) {
      try {
        await this.#client.create(persistentVolumeClaims, claim, { signal });
        this.recorder.event(
          set,
          'Normal',
          'SuccessfulCreate',
          `create Claim ${claim.metadata?.name} success`,
        );
      } catch (error) {
        if (!isApiError(error, 'AlreadyExists')) throw error;
      }
    }
  }

  async #removeClaims(pod: Pod, signal: AbortSignal): Promise<void> {
    for (const { persistentVolumeClaim: claim } of pod.spec?.volumes ?? []) {
      if (claim === undefined || claim.claimName.endsWith(`-${pod.metadata?.name ?? ''}`) === false) continue;
      try {
        await this.#client.delete(persistentVolumeClaims, pod.metadata?.namespace, claim.claimName, {
          signal,
        });
      } catch (error) {
        if (!isApiError(error, 'NotFound')) throw error;
      }
    }
  }

  async #prune(
    set: StatefulSet,
    history: readonly ControllerRevision[],
    owned: readonly Pod[],
    kept: readonly string[],
    signal: AbortSignal,
  ): Promise<void> {
    const live = new Set([...kept, ...owned.map((pod) => revisionOf(pod) ?? '')]);
    await this.#history.prune(set, history, live, signal);
  }
}

/** The set with the template of one of its revisions. */
function withTemplate(
  set: StatefulSet,
  history: readonly ControllerRevision[],
  revision: string,
): StatefulSet {
  const data = history.find(({ metadata }) => metadata?.name === revision)?.data;
  const spec = isJsonObject(data) ? data['spec'] : undefined;
  const template = isJsonObject(spec) ? spec['template'] : undefined;
  if (!isJsonObject(template) || set.spec === undefined) return set;
  const { $patch: _directive, ...rest } = template;
  return { ...set, spec: { ...set.spec, template: rest as PodTemplateSpec } };
}
