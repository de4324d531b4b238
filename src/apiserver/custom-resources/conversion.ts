import { randomUUID } from 'node:crypto';
import {
  conversionReviewOf,
  conversionReviewVersions,
  readConversion,
} from '../../api/custom/conversion-review.ts';
import { pruneBySchema } from '../../api/custom/prune.ts';
import { stringAt } from '../../api/fields.ts';
import type { Kind } from '../../api/kind.ts';
import type { JsonObject } from '../../api/object.ts';
import { apiVersionOfKind } from '../../api/registry.ts';
import { failure } from '../../api/status.ts';
import type { Entry } from '../../store/store.ts';
import type { ApiContext } from '../context.ts';
import { isConverted, parseEntry, rememberConverted } from '../objects.ts';
import { readAddress, WebhookError } from '../webhooks/client.ts';

/**
 * Versions of a custom kind that only a webhook can turn into each other. Reading code is not asynchronous: who reads
 * entries of such a kind has them converted first, and finds them in objects.ts.
 */

type Converter = Pick<ApiContext, 'webhooks'>;
type Conversion = NonNullable<Kind['conversion']>;

/** Time of one review, as in Kubernetes. */
const timeoutMs = 30_000;
/** Objects of one review at most; a longer list takes several, one after the other. */
export const objectsPerReviewMax = 100;

/** Has the entries ready in the form of `kind`. Does nothing for kinds without a webhook. Throws StatusError 500. */
export async function prepareEntries(
  converter: Converter,
  kind: Kind,
  entries: readonly Entry[],
  signal: AbortSignal,
): Promise<void> {
  const { conversion } = kind;
  if (conversion === undefined) return;
  const missing = entries.filter((entry) => !isConverted(entry, kind));
  if (missing.length === 0) return;
  const objects = missing.map((entry) => parseEntry(entry));
  const converted = await convertObjects(converter, conversion, objects, apiVersionOfKind(kind), signal);
  for (const [at, entry] of missing.entries()) {
    const object = converted[at] ?? {};
    const { pruned } = kind.structure?.(object) ?? { pruned: object };
    const served = pruned as JsonObject;
    kind.setDefaults?.(served);
    rememberConverted(entry, kind, served);
  }
}

/** The object as it is stored. The object itself for kinds without a webhook. Throws StatusError 500. */
export async function storable(
  converter: Converter,
  kind: Kind,
  object: JsonObject,
  signal: AbortSignal,
): Promise<JsonObject> {
  const { conversion, stored } = kind;
  if (conversion === undefined || stored === undefined || stored.version === kind.version) return object;
  const wanted = apiVersionOfKind(stored);
  const [converted] = await convertObjects(converter, conversion, [object], wanted, signal);
  if (converted === undefined) return object;
  const { metadata, ...rest } = converted;
  const { value } = pruneBySchema(conversion.storageSchema, rest, true);
  return { ...(value as JsonObject), metadata: metadata ?? {} };
}

/** The objects in `apiVersion`; those that are in it already are not shown to the webhook. Throws StatusError 500. */
export async function convertObjects(
  converter: Converter,
  conversion: Conversion,
  objects: readonly JsonObject[],
  apiVersion: string,
  signal: AbortSignal,
): Promise<readonly JsonObject[]> {
  const others = objects.filter((object) => object['apiVersion'] !== apiVersion);
  const results = new Map<JsonObject, JsonObject>();
  for (let at = 0; at < others.length; at += objectsPerReviewMax) {
    const some = others.slice(at, at + objectsPerReviewMax);
    const converted = await review(converter, conversion, some, apiVersion, signal);
    for (const [position, object] of some.entries()) results.set(object, converted[position] ?? object);
  }
  return objects.map((object) => results.get(object) ?? object);
}

async function review(
  { webhooks }: Converter,
  { clientConfig, reviewVersions }: Conversion,
  objects: readonly JsonObject[],
  apiVersion: string,
  signal: AbortSignal,
): Promise<readonly JsonObject[]> {
  const version = conversionReviewVersions.find((known) => reviewVersions.includes(known)) ?? 'v1';
  const uid = randomUUID();
  const question = conversionReviewOf(version, uid, apiVersion, objects);
  try {
    const answer = await webhooks.post(readAddress(clientConfig), question, timeoutMs, signal);
    const converted = readConversion(answer, { version, uid, apiVersion, objects });
    if (typeof converted === 'string') throw new WebhookError(converted);
    return converted;
  } catch (error) {
    if (!(error instanceof WebhookError)) throw error;
    const [first] = objects;
    const what = `${stringAt(first, 'apiVersion')}, Kind=${stringAt(first, 'kind')}`;
    throw failure(500, '', `conversion webhook for ${what} failed: ${error.message}`);
  }
}
