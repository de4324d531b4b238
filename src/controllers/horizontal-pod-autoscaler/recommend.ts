import type {
  ExternalMetricSource,
  MetricSpec,
  MetricStatus,
  MetricTarget,
  MetricValueStatus,
  ObjectMetricSource,
  PodsMetricSource,
} from '../../api/gen/autoscaling-v2.ts';
import type { Container, Pod } from '../../api/gen/core-v1.ts';
import { formatQuantity } from '../../api/quantity.ts';
import { findResource } from '../discovery.ts';
import {
  milliOf,
  type Reader,
  readExternalMetric,
  readObjectMetric,
  readPodsMetric,
  readResourceMetric,
} from './metrics.ts';
import {
  type Failure,
  type PodTarget,
  type Recommendation,
  recommendByPods,
  recommendByValue,
  type Tolerance,
} from './replicas.ts';

/** What is scaled, as far as its metrics need it. */
export type Scaled = {
  readonly namespace: string;
  /** Text of the selector of its Pods. */
  readonly selector: string;
  readonly pods: readonly Pod[];
  readonly replicas: { readonly wanted: number; readonly now: number };
  readonly tolerance: Tolerance;
  readonly nowMs: number;
};

export type MetricOutcome =
  | {
      readonly kind: 'found';
      readonly replicas: number;
      /** As an Event names it. */
      readonly name: string;
      readonly status: MetricStatus;
    }
  | { readonly kind: 'failed'; readonly reason: string; readonly message: string; readonly what: string };

/** What one metric of the autoscaler asks for. Throws ApiError where the kind of a described object cannot be looked up. */
export async function recommend(
  client: Reader,
  metric: MetricSpec,
  scaled: Scaled,
  signal: AbortSignal,
): Promise<MetricOutcome> {
  const { type, resource, containerResource, pods, object, external } = metric;
  if (resource !== undefined) {
    const { name, target } = resource;
    const found = await byResource(client, { name, target, container: undefined }, scaled, signal);
    return outcomeOf(found, 'FailedGetResourceMetric', `${name} resource`, {
      name: resourceProposal(name, target),
      statusOf: (current) => ({ type, resource: { name, current } }),
    });
  }
  if (containerResource !== undefined) {
    const { name, container, target } = containerResource;
    const found = await byResource(client, containerResource, scaled, signal);
    return outcomeOf(found, 'FailedGetContainerResourceMetric', `${name} container`, {
      name: resourceProposal(name, target),
      statusOf: (current) => ({ type, containerResource: { name, container, current } }),
    });
  }
  if (pods !== undefined) {
    return outcomeOf(await byPodsMetric(client, pods, scaled, signal), 'FailedGetPodsMetric', 'pods', {
      name: `pods metric ${pods.metric.name}`,
      statusOf: (current) => ({ type, pods: { metric: pods.metric, current } }),
    });
  }
  if (object !== undefined) {
    const { describedObject, metric: named } = object;
    return outcomeOf(await byObject(client, object, scaled, signal), 'FailedGetObjectMetric', 'object', {
      name: `${describedObject.kind} metric ${named.name}`,
      statusOf: (current) => ({ type, object: { describedObject, metric: named, current } }),
    });
  }
  if (external !== undefined) {
    const found = await byExternal(client, external, scaled, signal);
    return outcomeOf(found, 'FailedGetExternalMetric', 'external', {
      name: `external metric ${external.metric.name}`,
      statusOf: (current) => ({ type, external: { metric: external.metric, current } }),
    });
  }
  const message = `unknown metric source type ${JSON.stringify(type)}`;
  return { kind: 'failed', reason: 'InvalidMetricSourceType', message, what: 'unknown' };
}

type Found = { readonly replicas: number; readonly current: MetricValueStatus };

function outcomeOf(
  found: Found | Failure,
  reason: string,
  what: string,
  as: { readonly name: string; statusOf(current: MetricValueStatus): MetricStatus },
): MetricOutcome {
  if ('failure' in found) return { kind: 'failed', reason, message: found.failure, what };
  return { kind: 'found', replicas: found.replicas, name: as.name, status: as.statusOf(found.current) };
}

function resourceProposal(name: string, { averageValue }: MetricTarget): string {
  return averageValue === undefined
    ? `${name} resource utilization (percentage of request)`
    : `${name} resource`;
}

/** By what Pods, or one container of each, use of a resource. */
async function byResource(
  client: Reader,
  wanted: { readonly name: string; readonly target: MetricTarget; readonly container: string | undefined },
  scaled: Scaled,
  signal: AbortSignal,
): Promise<Found | Failure> {
  const { name: resource, target, container } = wanted;
  const { averageValue, averageUtilization: percent } = target;
  if (averageValue === undefined && percent === undefined)
    return {
      failure:
        'invalid resource metric source: neither an average utilization target nor an average value (usage) target was set',
    };
  const what = `failed to get ${resource} ${averageValue === undefined ? 'utilization' : 'usage'}: `;
  const { namespace, selector, pods } = scaled;
  const read = await readResourceMetric(client, namespace, selector, { resource, container }, signal);
  if ('failure' in read) return { failure: `${what}${read.failure}` };
  const requests = averageValue === undefined ? requestsOf(pods, resource, container) : new Map();
  if ('failure' in requests) return { failure: `${what}${requests.failure}` };
  const aim: PodTarget =
    averageValue === undefined
      ? { kind: 'utilization', percent: percent ?? 0, requests }
      : { kind: 'average', amount: milliOf(averageValue) };
  const result = recommendByPods(
    { ...scaled, samples: read.samples, resource, current: scaled.replicas.wanted },
    aim,
  );
  return 'failure' in result ? { failure: `${what}${result.failure}` } : averageOf(result);
}

/** What each Pod asks for, in thousandths; a container that asks for nothing leaves its percentage without a meaning. */
function requestsOf(
  pods: readonly Pod[],
  resource: string,
  container: string | undefined,
): ReadonlyMap<string, number> | Failure {
  const requests = new Map<string, number>();
  for (const pod of pods) {
    const name = pod.metadata?.name ?? '';
    const whole = pod.spec?.resources?.requests?.[resource];
    if (container === undefined && whole !== undefined) {
      requests.set(name, milliOf(whole));
      continue;
    }
    let sum = 0;
    for (const one of runningContainers(pod)) {
      if (container !== undefined && one.name !== container) continue;
      const request = one.resources?.requests?.[resource];
      if (request === undefined)
        return { failure: `missing request for ${resource} in container ${one.name} of Pod ${name}` };
      sum += milliOf(request);
    }
    requests.set(name, sum);
  }
  return requests;
}

function runningContainers({ spec }: Pod): readonly Container[] {
  const sidecars = (spec?.initContainers ?? []).filter(({ restartPolicy }) => restartPolicy === 'Always');
  return [...(spec?.containers ?? []), ...sidecars];
}

async function byPodsMetric(
  client: Reader,
  { metric, target }: PodsMetricSource,
  scaled: Scaled,
  signal: AbortSignal,
): Promise<Found | Failure> {
  const read = await readPodsMetric(client, scaled.namespace, scaled.selector, metric, signal);
  if ('failure' in read) return read;
  const result = recommendByPods(
    { ...scaled, samples: read.samples, resource: '', current: scaled.replicas.wanted },
    { kind: 'average', amount: milliOf(target.averageValue ?? '') },
  );
  return 'failure' in result ? result : averageOf(result);
}

async function byObject(
  client: Reader,
  { describedObject, metric, target }: ObjectMetricSource,
  scaled: Scaled,
  signal: AbortSignal,
): Promise<Found | Failure> {
  const resource = await findResource(client, describedObject, signal);
  if (resource === undefined) {
    const { kind, apiVersion = '' } = describedObject;
    return {
      failure: `no matches for kind ${JSON.stringify(kind)} in version ${JSON.stringify(apiVersion)}`,
    };
  }
  const { namespace } = scaled;
  const read = await readObjectMetric(client, namespace, resource, describedObject.name, metric, signal);
  return 'failure' in read ? read : byValue(read.value, target, scaled);
}

async function byExternal(
  client: Reader,
  { metric, target }: ExternalMetricSource,
  scaled: Scaled,
  signal: AbortSignal,
): Promise<Found | Failure> {
  const read = await readExternalMetric(client, scaled.namespace, metric, signal);
  return 'failure' in read ? read : byValue(read.value, target, scaled);
}

/** A value for all replicas together, aimed at as it is or as each replica's share. */
function byValue(value: number, { value: whole, averageValue }: MetricTarget, scaled: Scaled): Found {
  const kind = averageValue === undefined ? 'value' : 'average';
  const result = recommendByValue(
    value,
    { kind, amount: milliOf(averageValue ?? whole ?? '') },
    { ...scaled, current: kind === 'value' ? scaled.replicas.wanted : scaled.replicas.now },
  );
  if (kind === 'average') return averageOf(result);
  return { replicas: result.replicas, current: { value: textOf(result.amount) } };
}

function averageOf({ replicas, utilization, amount }: Recommendation): Found {
  const averageUtilization = utilization === undefined ? {} : { averageUtilization: utilization };
  return { replicas, current: { ...averageUtilization, averageValue: textOf(amount) } };
}

function textOf(milli: number): string {
  return formatQuantity({ nanos: BigInt(milli) * 1_000_000n, format: 'decimal' });
}
