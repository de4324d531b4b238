import { isExempt } from '../api/admission/match.ts';
import { ensureObject, jsonEqual, stringAt } from '../api/fields.ts';
import type { Json, JsonObject } from '../api/object.ts';
import { type AdmissionRequest, admissionRequest, type BodyKind, writeOptions } from './admission-request.ts';
import type { ApiContext, Target } from './context.ts';

/**
 * Admission that the cluster's own objects configure: webhooks and policies. Each step is skipped at once, without looking at the
 * request, while there is no configuration.
 */
export function mutatesDynamically({ webhookRegistry, policies }: ApiContext): boolean {
  return webhookRegistry.mutating.length > 0 || policies.mutating.length > 0;
}

export function validatesDynamically({ webhookRegistry, policies }: ApiContext): boolean {
  return webhookRegistry.validating.length > 0 || policies.validating.length > 0;
}

/**
 * The object after the mutating policies and then the mutating webhooks; the very one given when none changed it. Policies
 * that ask for it run again when a webhook changed the object. Throws StatusError.
 */
export async function mutate(
  context: ApiContext,
  request: AdmissionRequest,
): Promise<JsonObject | undefined> {
  if (!mutatesDynamically(context) || isExempt(request.attributes)) return request.attributes.object;
  const { policies, webhookRegistry } = context;
  const byPolicies = await mutateOnce(context, policies.mutating, request);
  if (webhookRegistry.mutating.length === 0) return byPolicies;
  const { mutateByWebhooks } = await import('./webhooks/dispatch.ts');
  const next = { ...request, attributes: { ...request.attributes, object: byPolicies } };
  const byWebhooks = await mutateByWebhooks(context, webhookRegistry.mutating, next);
  const again = policies.mutating.filter(({ policy }) => policy.reinvoke);
  if (byWebhooks === byPolicies || again.length === 0) return byWebhooks;
  return mutateOnce(context, again, {
    ...request,
    attributes: { ...request.attributes, object: byWebhooks },
  });
}

async function mutateOnce(
  context: ApiContext,
  policies: ApiContext['policies']['mutating'],
  request: AdmissionRequest,
): Promise<JsonObject | undefined> {
  const given = request.attributes.object;
  if (policies.length === 0 || given === undefined) return given;
  const { mutateByPolicies } = await import('./policies/mutate.ts');
  const changed = await mutateByPolicies(context, policies, request);
  return changed === undefined || jsonEqual(changed, given) ? given : request.settle(changed);
}

/** Throws StatusError when something denies the request. */
export async function validate(context: ApiContext, request: AdmissionRequest): Promise<void> {
  if (!validatesDynamically(context) || isExempt(request.attributes)) return;
  if (context.policies.validating.length > 0) {
    const { validateByPolicies } = await import('./policies/dispatch.ts');
    await validateByPolicies(context, context.policies.validating, request);
  }
  if (context.webhookRegistry.validating.length === 0) return;
  const { validateByWebhooks } = await import('./webhooks/dispatch.ts');
  await validateByWebhooks(context, context.webhookRegistry.validating, request);
}

/** What the server gives a new object; a mutating webhook sees it without. */
const givenMetadata = ['uid', 'creationTimestamp', 'generation', 'managedFields'] as const;

/**
 * A new object after the mutating webhooks, which see it as the client sent it, with defaults. `settle` does again what
 * was done to the client's object.
 */
export async function mutateNew(
  context: ApiContext,
  target: Target,
  object: JsonObject,
  options: {
    readonly dryRun: boolean;
    /** The server made the name. */
    readonly generatedName: boolean;
    readonly settle: (object: JsonObject) => void;
  },
): Promise<JsonObject> {
  if (!mutatesDynamically(context)) return object;
  const metadata = ensureObject(object, 'metadata');
  const shownMetadata: JsonObject = { ...metadata };
  for (const field of givenMetadata) delete shownMetadata[field];
  if (options.generatedName) delete shownMetadata['name'];
  const request = admissionRequest(context, target, {
    operation: 'CREATE',
    object: { ...object, metadata: shownMetadata },
    oldObject: undefined,
    dryRun: options.dryRun,
    options: writeOptions(target, 'CreateOptions'),
    settle(changed) {
      const own = ensureObject(changed, 'metadata');
      for (const field of givenMetadata) restore(own, metadata[field], field);
      if (stringAt(own, 'name') === '') restore(own, metadata['name'], 'name');
      restore(own, metadata['namespace'], 'namespace');
      options.settle(changed);
      return changed;
    },
  });
  const changed = await mutate(context, request);
  return changed === undefined || changed === request.attributes.object ? object : changed;
}

function restore(object: JsonObject, value: Json | undefined, field: string): void {
  if (value === undefined) delete object[field];
  else object[field] = value;
}

/**
 * A request that is no write of the object itself: a connection, or the body of a subresource such as an Eviction.
 * Resolves with the body that counts. Throws StatusError.
 */
export async function admitBody(
  context: ApiContext,
  target: Target,
  operation: 'CREATE' | 'CONNECT',
  kind: BodyKind,
  body: JsonObject,
  dryRun = false,
): Promise<JsonObject> {
  if (!mutatesDynamically(context) && !validatesDynamically(context)) return body;
  const subject = {
    operation,
    oldObject: undefined,
    body: kind,
    dryRun,
    ...(operation === 'CREATE' ? { options: writeOptions(target, 'CreateOptions') } : {}),
  } as const;
  const mutated = await mutate(context, admissionRequest(context, target, { ...subject, object: body }));
  const object = mutated ?? body;
  await validate(context, admissionRequest(context, target, { ...subject, object }));
  return object;
}

/** A deletion, of one object. Throws StatusError. */
export async function admitDeletion(
  context: ApiContext,
  target: Target,
  oldObject: JsonObject,
  options: JsonObject,
  dryRun: boolean,
): Promise<void> {
  if (!mutatesDynamically(context) && !validatesDynamically(context)) return;
  const subject = { operation: 'DELETE', object: undefined, oldObject, dryRun, options } as const;
  const request = admissionRequest(context, target, subject);
  await mutate(context, request);
  await validate(context, request);
}
