import { parseDurationMs } from '../../api/duration.ts';
import { objectsAt, stringAt } from '../../api/fields.ts';
import type { LabelSelector } from '../../api/gen/meta-v1.ts';
import { formatSelector, selectorOf } from '../../api/labels.ts';
import { isJsonObject, type JsonObject } from '../../api/object.ts';
import { parseQuantity } from '../../api/quantity.ts';
import type { Resource } from '../../api/resource.ts';
import { type ApiClient, ApiError, isApiError } from '../../client/client.ts';
import type { Failure, Sample, Samples } from './replicas.ts';

/** Reads the three metrics APIs. A failure is told in Kubernetes' words; amounts are thousandths of a unit. */

/** What is needed of a client here. */
export type Reader = Pick<ApiClient, 'raw'>;

/** A quantity in thousandths, rounded up as Kubernetes does. */
export function milliOf(text: string): number {
  const { nanos } = parseQuantity(text) ?? { nanos: 0n };
  return Number(nanos > 0n ? (nanos + 999_999n) / 1_000_000n : nanos / 1_000_000n);
}

/** @param container undefined: all of a Pod together */
export async function readResourceMetric(
  client: Reader,
  namespace: string,
  selector: string,
  { resource, container }: { readonly resource: string; readonly container: string | undefined },
  signal: AbortSignal,
): Promise<{ readonly samples: Samples } | Failure> {
  const prefix = `unable to get metrics for resource ${resource}: `;
  const path = `/apis/metrics.k8s.io/v1beta1/namespaces/${namespace}/pods?labelSelector=${encodeURIComponent(selector)}`;
  const read = await readItems(client, path, signal);
  if ('failure' in read)
    return { failure: `${prefix}unable to fetch metrics from resource metrics API: ${read.failure}` };
  if (read.items.length === 0) return { failure: `${prefix}no metrics returned from resource metrics API` };
  const samples = new Map<string, Sample>();
  for (const item of read.items) {
    const name = stringAt(item, 'metadata', 'name');
    const all = objectsAt(item, 'containers');
    const meant = container === undefined ? all : all.filter((one) => one['name'] === container);
    if (container !== undefined && meant.length === 0)
      return {
        failure: `${prefix}container ${container} not present in metrics for pod ${namespace}/${name}`,
      };
    const amounts = meant.map((one) => stringAt(one, 'usage', resource));
    if (amounts.includes('')) continue; // a Pod without the number is one that is missing
    samples.set(name, { ...timesOf(item), amount: amounts.reduce((sum, text) => sum + milliOf(text), 0) });
  }
  return { samples };
}

/** A metric of each Pod, from custom.metrics.k8s.io. */
export async function readPodsMetric(
  client: Reader,
  namespace: string,
  selector: string,
  metric: MetricName,
  signal: AbortSignal,
): Promise<{ readonly samples: Samples } | Failure> {
  const of = { of: 'pods/*', labelSelector: selector };
  const read = await readCustom(client, namespace, of, metric, signal);
  if ('failure' in read) return { failure: `unable to get metric ${metric.name}: ${read.failure}` };
  const samples = read.items.map((item): [string, Sample] => [
    stringAt(item, 'describedObject', 'name'),
    { ...timesOf(item), amount: milliOf(stringAt(item, 'value')) },
  ]);
  return { samples: new Map(samples) };
}

/** A metric of one object. */
export async function readObjectMetric(
  client: Reader,
  namespace: string,
  { group, plural }: Resource,
  name: string,
  metric: MetricName,
  signal: AbortSignal,
): Promise<{ readonly value: number } | Failure> {
  const of = { of: `${group === '' ? plural : `${plural}.${group}`}/${name}`, labelSelector: '' };
  const read = await readCustom(client, namespace, of, metric, signal);
  if ('failure' in read) return { failure: `unable to get metric ${metric.name}: ${read.failure}` };
  const [item] = read.items;
  if (item === undefined)
    return { failure: `unable to get metric ${metric.name}: no metrics returned from custom metrics API` };
  return { value: milliOf(stringAt(item, 'value')) };
}

/** The sum of an external metric's series. */
export async function readExternalMetric(
  client: Reader,
  namespace: string,
  metric: MetricName,
  signal: AbortSignal,
): Promise<{ readonly value: number } | Failure> {
  const prefix = `unable to get external metric ${namespace}/${metric.name}/${textOf(metric) || 'nil'}: `;
  const query = metric.selector === undefined ? '' : `?labelSelector=${encodeURIComponent(textOf(metric))}`;
  const path = `/apis/external.metrics.k8s.io/v1beta1/namespaces/${namespace}/${metric.name}${query}`;
  const read = await readItems(client, path, signal);
  if ('failure' in read)
    return { failure: `${prefix}unable to fetch metrics from external metrics API: ${read.failure}` };
  if (read.items.length === 0) return { failure: `${prefix}no metrics returned from external metrics API` };
  return { value: read.items.reduce((sum, item) => sum + milliOf(stringAt(item, 'value')), 0) };
}

export type MetricName = { readonly name: string; readonly selector?: LabelSelector | undefined };

function textOf({ selector }: MetricName): string {
  return formatSelector(selectorOf(selector) ?? []);
}

async function readCustom(
  client: Reader,
  namespace: string,
  { of, labelSelector }: { readonly of: string; readonly labelSelector: string },
  metric: MetricName,
  signal: AbortSignal,
): Promise<Items | Failure> {
  const prefix = 'unable to fetch metrics from custom metrics API: ';
  const group = await readDocument(client, '/apis/custom.metrics.k8s.io', signal);
  if ('failure' in group) {
    const nobody = 'no custom metrics API (custom.metrics.k8s.io) registered';
    return { failure: `${prefix}${group.isAbsent ? nobody : group.failure}` };
  }
  const base = `/apis/${stringAt(group.document, 'preferredVersion', 'groupVersion')}/namespaces/${namespace}`;
  const query = new URLSearchParams();
  if (labelSelector !== '') query.set('labelSelector', labelSelector);
  if (metric.selector !== undefined) query.set('metricLabelSelector', textOf(metric));
  const read = await readItems(client, `${base}/${of}/${metric.name}?${query.toString()}`, signal);
  return 'failure' in read ? { failure: `${prefix}${read.failure}` } : read;
}

type Items = { readonly items: readonly JsonObject[] };

async function readItems(client: Reader, path: string, signal: AbortSignal): Promise<Items | Failure> {
  const read = await readDocument(client, path, signal);
  return 'failure' in read ? read : { items: objectsAt(read.document, 'items') };
}

async function readDocument(
  client: Reader,
  path: string,
  signal: AbortSignal,
): Promise<{ readonly document: JsonObject } | (Failure & { readonly isAbsent: boolean })> {
  let text: string;
  try {
    text = await client.raw(path, signal);
  } catch (error) {
    if (!(error instanceof ApiError)) throw error;
    return { failure: error.message, isAbsent: isApiError(error, 'NotFound') };
  }
  try {
    const document: unknown = JSON.parse(text);
    if (isJsonObject(document)) return { document };
  } catch {
    // Said below, as of any other answer that is no object.
  }
  return { failure: `the answer to ${path} is no JSON object`, isAbsent: false };
}

/** metrics.k8s.io tells a window as a Go duration ("15.06s"), custom metrics as a number of seconds. */
function timesOf(item: JsonObject): Omit<Sample, 'amount'> {
  const seconds = item['windowSeconds'];
  return {
    timestampMs: Date.parse(stringAt(item, 'timestamp')) || 0,
    windowMs: typeof seconds === 'number' ? seconds * 1000 : (parseDurationMs(stringAt(item, 'window')) ?? 0),
  };
}
