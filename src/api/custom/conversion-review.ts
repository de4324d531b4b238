import { objectAt, objectsAt, stringAt } from '../fields.ts';
import { isJsonObject, type Json, type JsonObject } from '../object.ts';

/** ConversionReview of apiextensions.k8s.io: the question, and what an answer may say. Pure. */

export type ConversionReviewVersion = 'v1' | 'v1beta1';
export const conversionReviewVersions: readonly ConversionReviewVersion[] = ['v1', 'v1beta1'];

export function conversionReviewOf(
  version: ConversionReviewVersion,
  uid: string,
  desiredAPIVersion: string,
  objects: readonly JsonObject[],
): JsonObject {
  return {
    kind: 'ConversionReview',
    apiVersion: `apiextensions.k8s.io/${version}`,
    request: { uid, desiredAPIVersion, objects: [...objects] },
  };
}

/** The converted objects in the order of the given ones; a text says what is wrong with the answer. */
export function readConversion(
  answer: Json,
  expected: {
    readonly version: ConversionReviewVersion;
    readonly uid: string;
    readonly apiVersion: string;
    readonly objects: readonly JsonObject[];
  },
): readonly JsonObject[] | string {
  const { version, uid, apiVersion, objects } = expected;
  const kind = stringAt(answer, 'kind');
  const reviewVersion = stringAt(answer, 'apiVersion');
  if (kind !== 'ConversionReview' || reviewVersion !== `apiextensions.k8s.io/${version}`) {
    return `expected webhook response of apiextensions.k8s.io/${version}, Kind=ConversionReview, got ${reviewVersion}, Kind=${kind}`;
  }
  const response = objectAt(answer, 'response');
  if (response === undefined) return 'webhook response was absent';
  if (stringAt(response, 'uid') !== uid) {
    return `expected response.uid=${JSON.stringify(uid)}, got ${JSON.stringify(stringAt(response, 'uid'))}`;
  }
  if (stringAt(response, 'result', 'status') !== 'Success') {
    return stringAt(response, 'result', 'message') || 'the webhook gave no reason';
  }
  const converted = objectsAt(response, 'convertedObjects');
  if (converted.length !== objects.length) {
    return `webhook returned ${converted.length} objects, expected ${objects.length}`;
  }
  const results: JsonObject[] = [];
  for (const [at, object] of converted.entries()) {
    const result = takenOver(objects[at] ?? {}, object, apiVersion);
    if (typeof result === 'string')
      return `webhook returned invalid converted object at index ${at}: ${result}`;
    results.push(result);
  }
  return results;
}

/** A conversion may change labels and annotations, and nothing else of the metadata. */
function takenOver(original: JsonObject, converted: JsonObject, apiVersion: string): JsonObject | string {
  const got = stringAt(converted, 'apiVersion');
  if (got !== apiVersion) return `invalid groupVersion (expected ${apiVersion}, received ${got})`;
  if (converted['kind'] !== original['kind']) {
    return `invalid kind (expected ${stringAt(original, 'kind')}, received ${stringAt(converted, 'kind')})`;
  }
  const { metadata } = converted;
  if (!isJsonObject(metadata)) return 'missing metadata';
  const before = objectAt(original, 'metadata') ?? {};
  for (const field of ['name', 'namespace', 'uid']) {
    if (stringAt(metadata, field) !== stringAt(before, field)) return `must preserve metadata.${field}`;
  }
  const { labels: _labels, annotations: _annotations, ...kept } = before;
  const { labels, annotations } = metadata;
  return {
    ...converted,
    metadata: {
      ...kept,
      ...(labels === undefined ? {} : { labels }),
      ...(annotations === undefined ? {} : { annotations }),
    },
  };
}
