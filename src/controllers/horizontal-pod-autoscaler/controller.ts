import type { HorizontalPodAutoscaler, HorizontalPodAutoscalerStatus } from '../../api/gen/autoscaling-v2.ts';
import type { Pod } from '../../api/gen/core-v1.ts';
import { numberAt, objectAt, stringAt } from '../../api/fields.ts';
import { matchesLabels, parseLabelSelector, type Selector } from '../../api/labels.ts';
import { isJsonObject, type JsonObject, type ObjectKey } from '../../api/object.ts';
import { horizontalPodAutoscalers, pods, type Resource, resourcePath } from '../../api/resource.ts';
import type { Clock } from '../../base/clock.ts';
import { rfc3339 } from '../../base/clock.ts';
import type { Task } from '../../base/lifetime.ts';
import { type ApiClient, ApiError, isApiError } from '../../client/client.ts';
import type { Informer } from '../../control/informer.ts';
import { done, type Outcome, requeueAfter } from '../../control/reconciler.ts';
import type { Recorder } from '../../control/recorder.ts';
import { WorkQueue } from '../../control/work-queue.ts';
import { type ControllerContext, loopTask } from '../context.ts';
import { findResource } from '../discovery.ts';
import { podsAndServicesByNamespace } from '../service-pods.ts';
import { canonicalJson, statusPatch } from '../status-patch.ts';
import { afterChange, emptyHistory, type History } from './behavior.ts';
import { milliOf } from './metrics.ts';
import { type Note, planByMetrics, planWithoutMetrics, type ScalePlan, statusOf } from './plan.ts';
import { recommend, type Scaled } from './recommend.ts';

/** Ratios this near to 1 change nothing, unless the autoscaler says else. kube-controller-manager's own. */
const toleranceDefault = 0.1;

/** Keeps the replicas of whatever has a scale subresource as HorizontalPodAutoscalers say; each is looked at every `syncMs`. */
export function horizontalPodAutoscalerController(context: ControllerContext, syncMs: number): Task {
  podsAndServicesByNamespace(context.informers);
  return loopTask(context, 'horizontal-pod-autoscaler', new AutoscalerLoop(context, syncMs));
}

/** What the scale subresource tells. */
type Scale = {
  readonly resource: Resource;
  readonly resourceVersion: string;
  readonly wanted: number;
  readonly now: number;
  readonly selector: string;
};

class AutoscalerLoop {
  readonly queue: WorkQueue;
  readonly recorder: Recorder;
  readonly #client: ApiClient;
  readonly #clock: Clock;
  readonly #syncMs: number;
  readonly #scalers: Informer<HorizontalPodAutoscaler>;
  readonly #pods: Informer<Pod>;
  /** Of those that there are; one that is made anew begins anew. */
  readonly #histories = new Map<ObjectKey, History>();

  constructor(context: ControllerContext, syncMs: number) {
    this.queue = new WorkQueue(context.timing.clock);
    this.recorder = context.recorder('horizontal-pod-autoscaler');
    this.#client = context.client;
    this.#clock = context.timing.clock;
    this.#syncMs = syncMs;
    this.#scalers = context.informers.of(horizontalPodAutoscalers);
    this.#pods = context.informers.of(pods);
  }

  listen(): void {
    this.#scalers.onChange((key, now, old) => {
      if (now?.metadata?.uid !== old?.metadata?.uid) this.#histories.delete(key);
      if (canonicalJson(now?.spec) !== canonicalJson(old?.spec)) this.queue.add(key);
    });
  }

  async reconcile(key: ObjectKey, signal: AbortSignal): Promise<Outcome> {
    const scaler = this.#scalers.get(key);
    if (scaler === undefined) {
      this.#histories.delete(key);
      return done;
    }
    const scale = await this.#readScale(scaler, signal);
    if ('failure' in scale) {
      this.recorder.event(scaler, 'Warning', 'FailedGetScale', scale.failure);
      const message = `the HPA controller was unable to get the target's current scale: ${scale.failure}`;
      await this.#tell(
        scaler,
        {},
        [{ type: 'AbleToScale', isTrue: false, reason: 'FailedGetScale', message }],
        signal,
      );
      return requeueAfter(this.#syncMs);
    }
    const plan = await this.#plan(key, scaler, scale, signal);
    for (const { reason, message } of plan.warnings) this.recorder.event(scaler, 'Warning', reason, message);
    this.#histories.set(key, plan.history);
    const isChanged = plan.replicas !== scale.wanted;
    const changed = isChanged ? await this.#rescale(key, scaler, scale, plan, signal) : [];
    const status = {
      currentReplicas: scale.now,
      desiredReplicas: plan.replicas,
      currentMetrics: plan.currentMetrics,
      ...(isChanged && changed.every(({ isTrue }) => isTrue)
        ? { lastScaleTime: rfc3339(this.#clock.nowMs()) }
        : {}),
    };
    const found: Note = {
      type: 'AbleToScale',
      isTrue: true,
      reason: 'SucceededGetScale',
      message: "the HPA controller was able to get the target's current scale",
    };
    await this.#tell(scaler, status, [found, ...plan.notes, ...changed], signal);
    return requeueAfter(this.#syncMs);
  }

  async #readScale(
    { metadata, spec }: HorizontalPodAutoscaler,
    signal: AbortSignal,
  ): Promise<Scale | { readonly failure: string }> {
    const { apiVersion = '', kind, name } = spec.scaleTargetRef;
    try {
      const resource = await findResource(this.#client, spec.scaleTargetRef, signal);
      if (resource === undefined)
        return {
          failure: `no matches for kind ${JSON.stringify(kind)} in version ${JSON.stringify(apiVersion)}`,
        };
      const path = resourcePath(resource, metadata?.namespace, name, 'scale');
      return { resource, ...scaleOf(await this.#client.raw(path, signal)) };
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      return { failure: error.message };
    }
  }

  async #plan(
    key: ObjectKey,
    scaler: HorizontalPodAutoscaler,
    scale: Scale,
    signal: AbortSignal,
  ): Promise<ScalePlan> {
    const history = this.#histories.get(key) ?? emptyHistory;
    const plain = planWithoutMetrics(scaler, scale.wanted, history);
    if (plain !== undefined) return plain;
    const selector = selectorOfText(scale.selector);
    if ('failure' in selector) return planWithoutSelector(scale, selector.failure, history);
    const { namespace = '' } = scaler.metadata ?? {};
    const { behavior, metrics = [] } = scaler.spec;
    const tolerance = (text: string | undefined): number =>
      text === undefined ? toleranceDefault : milliOf(text) / 1000;
    const scaled: Scaled = {
      namespace,
      selector: scale.selector,
      pods: [...this.#pods.byIndex('namespace', namespace)].filter(({ metadata }) =>
        matchesLabels(selector.selector, metadata?.labels ?? {}),
      ),
      replicas: { wanted: scale.wanted, now: scale.now },
      tolerance: {
        up: tolerance(behavior?.scaleUp?.tolerance),
        down: tolerance(behavior?.scaleDown?.tolerance),
      },
      nowMs: this.#clock.nowMs(),
    };
    const outcomes = [];
    for (const metric of metrics) outcomes.push(await recommend(this.#client, metric, scaled, signal));
    return planByMetrics(scaler, outcomes, scale.wanted, history, scaled.nowMs);
  }

  /** Returns what there is to say of it. */
  async #rescale(
    key: ObjectKey,
    scaler: HorizontalPodAutoscaler,
    scale: Scale,
    { replicas, why, history }: ScalePlan,
    signal: AbortSignal,
  ): Promise<readonly Note[]> {
    const { namespace } = scaler.metadata ?? {};
    const body = { metadata: { resourceVersion: scale.resourceVersion }, spec: { replicas } };
    try {
      const options = { subresource: 'scale', signal };
      await this.#client.patch(
        scale.resource,
        namespace,
        scaler.spec.scaleTargetRef.name,
        'merge',
        body,
        options,
      );
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      const told = `New size: ${replicas}; reason: ${why}; error: ${error.message}`;
      this.recorder.event(scaler, 'Warning', 'FailedRescale', told);
      const message = `the HPA controller was unable to update the target scale: ${error.message}`;
      return [{ type: 'AbleToScale', isTrue: false, reason: 'FailedUpdateScale', message }];
    }
    this.#histories.set(key, afterChange(history, scale.wanted, replicas, scaler.spec, this.#clock.nowMs()));
    this.recorder.event(scaler, 'Normal', 'SuccessfulRescale', `New size: ${replicas}; reason: ${why}`);
    const message = `the HPA controller was able to update the target scale to ${replicas}`;
    return [{ type: 'AbleToScale', isTrue: true, reason: 'SucceededRescale', message }];
  }

  async #tell(
    scaler: HorizontalPodAutoscaler,
    next: Partial<HorizontalPodAutoscalerStatus>,
    notes: readonly Note[],
    signal: AbortSignal,
  ): Promise<void> {
    const patch = statusPatch(scaler.status, statusOf(scaler, next, notes, this.#clock.nowMs()));
    if (patch === undefined) return;
    const { namespace, name = '', uid } = scaler.metadata ?? {};
    const options = { subresource: 'status', signal };
    const body = { ...patch, metadata: { uid } };
    try {
      await this.#client.patch(horizontalPodAutoscalers, namespace, name, 'merge', body, options);
    } catch (error) {
      if (!isApiError(error, 'NotFound') && !isApiError(error, 'Conflict')) throw error; // gone, or made anew
    }
  }
}

function planWithoutSelector(scale: Scale, failure: string, history: History): ScalePlan {
  const isMissing = scale.selector === '';
  const note: Note = {
    type: 'ScalingActive',
    isTrue: false,
    reason: 'InvalidSelector',
    message: isMissing ? "the HPA target's scale is missing a selector" : failure,
  };
  return {
    replicas: scale.wanted,
    why: '',
    notes: [note],
    warnings: [{ reason: isMissing ? 'SelectorRequired' : 'InvalidSelector', message: failure }],
    currentMetrics: [],
    history,
  };
}

function selectorOfText(text: string): { readonly selector: Selector } | { readonly failure: string } {
  if (text === '') return { failure: 'selector is required' };
  try {
    return { selector: parseLabelSelector(text) };
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    return { failure: `couldn't convert selector into a corresponding internal selector object: ${why}` };
  }
}

function scaleOf(text: string): Omit<Scale, 'resource'> {
  let scale: JsonObject | undefined;
  try {
    const parsed: unknown = JSON.parse(text);
    if (isJsonObject(parsed)) scale = parsed;
  } catch (cause) {
    throw new ApiError('Unknown', 'the scale is no JSON', { cause });
  }
  return {
    resourceVersion: stringAt(scale, 'metadata', 'resourceVersion'),
    wanted: numberAt(scale, 'spec', 'replicas') ?? 0,
    now: numberAt(objectAt(scale, 'status'), 'replicas') ?? 0,
    selector: stringAt(scale, 'status', 'selector'),
  };
}
