import { boolAt, numberAt, objectAt, stringAt, stringMapAt, stringsAt } from '../fields.ts';
import { isJsonObject, type Json, type JsonObject } from '../object.ts';
import { failure, type StatusError } from '../status.ts';
import type { AdmissionAttributes } from './attributes.ts';
import type { Form } from './match.ts';

/** AdmissionReview of admission.k8s.io, v1 and v1beta1: the question, and what an answer may say. */

export type ReviewVersion = 'v1' | 'v1beta1';

/** The request as a webhook's review and an expression's `request` show it, without the objects. */
export function requestFacts(attributes: AdmissionAttributes, form: Form, uid: string): JsonObject {
  const { operation, kind, resource, subresource, namespace, name, user, dryRun, options } = attributes;
  return {
    uid,
    kind: kindFacts(form.kind),
    resource: resourceFacts(form.resource),
    ...(subresource === '' ? {} : { subResource: subresource }),
    requestKind: kindFacts(kind),
    requestResource: resourceFacts(resource),
    ...(subresource === '' ? {} : { requestSubResource: subresource }),
    ...(name === '' ? {} : { name }),
    ...(namespace === '' ? {} : { namespace }),
    operation,
    userInfo: {
      username: user.name,
      ...(user.uid === '' ? {} : { uid: user.uid }),
      groups: [...user.groups],
      ...(Object.keys(user.extra).length === 0
        ? {}
        : {
            extra: Object.fromEntries(Object.entries(user.extra).map(([key, values]) => [key, [...values]])),
          }),
    },
    dryRun,
    options: options ?? null,
  };
}

function kindFacts({ group, version, kind }: Form['kind']): JsonObject {
  return { group, version, kind };
}

function resourceFacts({ group, version, plural }: Form['resource']): JsonObject {
  return { group, version, resource: plural };
}

/** `object` and `oldObject` in the form that the webhook asked for. */
export function reviewOf(
  version: ReviewVersion,
  facts: JsonObject,
  objects: { readonly object: JsonObject | undefined; readonly oldObject: JsonObject | undefined },
): JsonObject {
  return {
    kind: 'AdmissionReview',
    apiVersion: `admission.k8s.io/${version}`,
    request: { ...facts, object: objects.object ?? null, oldObject: objects.oldObject ?? null },
  };
}

export type ReviewAnswer = {
  readonly allowed: boolean;
  /** The JSON patch of a mutating webhook. */
  readonly patch: Json | undefined;
  /** Why it was denied: the webhook's own Status. */
  readonly status: JsonObject | undefined;
  readonly warnings: readonly string[];
  readonly auditAnnotations: readonly (readonly [key: string, value: string])[];
};

/** A text says what is wrong with the answer, in Kubernetes' words. */
export function readReview(
  answer: Json,
  expected: { readonly version: ReviewVersion; readonly uid: string; readonly mutating: boolean },
): ReviewAnswer | string {
  const { version, uid, mutating } = expected;
  const response = objectAt(answer, 'response');
  if (version === 'v1') {
    const apiVersion = stringAt(answer, 'apiVersion');
    const kind = stringAt(answer, 'kind');
    if (apiVersion !== 'admission.k8s.io/v1' || kind !== 'AdmissionReview') {
      return `expected webhook response of admission.k8s.io/v1, Kind=AdmissionReview, got ${apiVersion}, Kind=${kind}`;
    }
    if (response === undefined) return 'webhook response was absent';
    const own = stringAt(response, 'uid');
    if (own !== uid) return `expected response.uid=${JSON.stringify(uid)}, got ${JSON.stringify(own)}`;
  }
  if (response === undefined) return 'webhook response was absent';
  const patch = readPatch(response, version, mutating);
  if (typeof patch === 'string') return patch;
  return {
    allowed: boolAt(response, 'allowed'),
    patch: patch.patch,
    status: objectAt(response, 'status'),
    warnings: stringsAt(response, 'warnings'),
    auditAnnotations: Object.entries(stringMapAt(response, 'auditAnnotations')),
  };
}

function readPatch(
  response: JsonObject,
  version: ReviewVersion,
  mutating: boolean,
): { readonly patch: Json | undefined } | string {
  const encoded = stringAt(response, 'patch');
  const type = response['patchType'];
  if (!mutating) {
    if (version === 'v1' && encoded !== '') return 'validating webhook may not return response.patch';
    if (version === 'v1' && type !== undefined) return 'validating webhook may not return response.patchType';
    return { patch: undefined };
  }
  if (encoded === '') {
    if (version === 'v1' && type !== undefined) {
      return 'webhook returned response.patchType but not response.patch';
    }
    return { patch: undefined };
  }
  if (version === 'v1' && type === undefined) {
    return 'webhook returned response.patch but not response.patchType';
  }
  if (type !== undefined && type !== 'JSONPatch') {
    return `webhook returned invalid response.patchType of ${JSON.stringify(type)}`;
  }
  try {
    return { patch: JSON.parse(Buffer.from(encoded, 'base64').toString()) as Json };
  } catch (error) {
    return `invalid JSON patch: ${error instanceof Error ? error.message : String(error)}`;
  }
}

/** A webhook said no. The answer is never a success, whatever Status the webhook sent along. */
export function denial(webhook: string, status: JsonObject | undefined): StatusError {
  const deniedBy = `admission webhook ${JSON.stringify(webhook)} denied the request`;
  const reason = stringAt(status, 'reason');
  const own = stringAt(status, 'message') || reason;
  const code = numberAt(status, 'code') ?? 0;
  const details = objectAt(status, 'details');
  return failure(
    code < 400 || code > 599 ? 400 : code,
    reason,
    own === '' ? `${deniedBy} without explanation` : `${deniedBy}: ${own}`,
    details === undefined ? undefined : { ...details },
  );
}

/** The labels of the object's Namespace, for selectors. */
export function labelsOf(namespace: Json | undefined): Readonly<Record<string, string>> {
  return isJsonObject(namespace) ? stringMapAt(namespace, 'metadata', 'labels') : {};
}
