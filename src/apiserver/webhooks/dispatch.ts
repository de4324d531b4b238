import { randomUUID } from 'node:crypto';
import type { AdmissionAttributes } from '../../api/admission/attributes.ts';
import { type Form, matchedForm } from '../../api/admission/match.ts';
import { conditionsHold, firstLine } from '../../api/admission/policy.ts';
import { denial, readReview, requestFacts, type ReviewAnswer, reviewOf } from '../../api/admission/review.ts';
import { jsonEqual } from '../../api/fields.ts';
import type { Json, JsonObject } from '../../api/object.ts';
import { applyJsonPatch } from '../../api/patch/json.ts';
import { forbidden, internalError, StatusError } from '../../api/status.ts';
import { type AdmissionRequest, expressionData } from '../admission-request.ts';
import type { ApiContext } from '../context.ts';
import { WebhookError } from './client.ts';
import type { Webhook } from './registry.ts';

/** Asks the webhooks that a request concerns: the mutating ones one after the other, the validating ones together. */

/** Validating webhooks of one request that are asked at the same time. */
export const askedAtOnceMax = 16;
/** A longer warning of a webhook is cut, characters, as in Kubernetes. */
export const warningLengthMax = 256;

type Asker = Pick<ApiContext, 'webhooks' | 'log'>;

/**
 * The object after all mutating webhooks, which may be the one given. Those that ask for it are asked again when the
 * object changed after them. Throws StatusError for a denial and for a webhook that cannot be asked.
 */
export async function mutateByWebhooks(
  asker: Asker,
  webhooks: readonly Webhook[],
  request: AdmissionRequest,
): Promise<JsonObject | undefined> {
  let current = request.attributes.object;
  const given = current;
  /** What each webhook that was asked left behind. */
  const leftBy = new Map<Webhook, JsonObject | undefined>();
  for (const webhook of webhooks) {
    const changed = await mutateByOne(asker, webhook, request, current);
    if (changed === undefined) continue;
    current = changed.object;
    leftBy.set(webhook, current);
  }
  if (current === undefined || given === undefined || jsonEqual(current, given)) return given;
  current = request.settle(current);
  for (const [webhook, left] of leftBy) {
    if (!webhook.reinvoke || jsonEqual(left, current)) continue;
    const changed = await mutateByOne(asker, webhook, request, current);
    if (changed?.object !== undefined) current = changed.object;
  }
  return request.settle(current);
}

/** Undefined: the webhook is not concerned, or could not be asked and does not insist. */
async function mutateByOne(
  asker: Asker,
  webhook: Webhook,
  request: AdmissionRequest,
  object: JsonObject | undefined,
): Promise<{ readonly object: JsonObject | undefined } | undefined> {
  const attributes: AdmissionAttributes = { ...request.attributes, object };
  const form = await concernedForm(webhook, request, attributes);
  if (form === undefined) return undefined;
  const shown = await request.show(object, form);
  const answer = await ask(asker, webhook, request, { attributes, form, shown });
  if (answer === undefined) return undefined;
  if (!answer.allowed) throw denial(webhook.name, answer.status);
  if (answer.patch === undefined || shown === undefined) return { object };
  return { object: await request.read(patched(webhook, shown, answer.patch), form, 'webhook') };
}

/** A patch that does not fit is the webhook's fault, not the client's, and is never ignored. */
function patched(webhook: Webhook, shown: JsonObject, patch: Json): Json {
  try {
    return applyJsonPatch(shown, patch);
  } catch (error) {
    if (!(error instanceof StatusError)) throw error;
    throw internalError(
      `webhook ${JSON.stringify(webhook.name)} returned a patch that cannot be applied: ${error.message}`,
    );
  }
}

/** Throws the first denial, in the order of the webhooks. */
export async function validateByWebhooks(
  asker: Asker,
  webhooks: readonly Webhook[],
  request: AdmissionRequest,
): Promise<void> {
  const { attributes } = request;
  const concerned: { readonly webhook: Webhook; readonly form: Form }[] = [];
  for (const webhook of webhooks) {
    const form = await concernedForm(webhook, request, attributes);
    if (form !== undefined) concerned.push({ webhook, form });
  }
  for (let at = 0; at < concerned.length; at += askedAtOnceMax) {
    const outcomes = await Promise.allSettled(
      concerned.slice(at, at + askedAtOnceMax).map(async ({ webhook, form }) => {
        const shown = await request.show(attributes.object, form);
        const answer = await ask(asker, webhook, request, { attributes, form, shown });
        if (answer?.allowed === false) throw denial(webhook.name, answer.status);
      }),
    );
    for (const outcome of outcomes) if (outcome.status === 'rejected') throw outcome.reason;
  }
}

/** Undefined: none of this webhook's business. Throws StatusError where its conditions cannot be told. */
async function concernedForm(
  webhook: Webhook,
  request: AdmissionRequest,
  attributes: AdmissionAttributes,
): Promise<Form | undefined> {
  const form = matchedForm(webhook.matching, attributes, request.otherForms, request.namespaceLabels);
  if (form === undefined || webhook.conditions.length === 0) return form;
  const { variables, budget } = await expressionData(request, form, undefined, attributes);
  const holds = conditionsHold(webhook.conditions, budget, variables);
  if (holds === true) return form;
  if (holds === false || webhook.failOpen) return undefined;
  const { resource, name } = attributes;
  throw forbidden(resource, name, `webhook ${JSON.stringify(webhook.name)}: ${firstLine(holds)}`);
}

type Question = {
  readonly attributes: AdmissionAttributes;
  readonly form: Form;
  /** The object as the webhook is to see it. */
  readonly shown: JsonObject | undefined;
};

/** Undefined: it could not be asked, and its failurePolicy lets the request pass. Throws StatusError 500 otherwise. */
async function ask(
  { webhooks, log }: Asker,
  webhook: Webhook,
  request: AdmissionRequest,
  { attributes, form, shown }: Question,
): Promise<ReviewAnswer | undefined> {
  const uid = randomUUID();
  const oldObject = await request.show(attributes.oldObject, form);
  const review = reviewOf(webhook.version, requestFacts(attributes, form, uid), { object: shown, oldObject });
  try {
    const reply = await callWebhook(webhooks, webhook, review, request.signal);
    const answer = readReview(reply, { version: webhook.version, uid, mutating: webhook.mutating });
    if (typeof answer === 'string') {
      throw new WebhookError(`received invalid webhook response: ${answer}`);
    }
    const by = answer.warnings.map((warning) => warning.slice(0, warningLengthMax));
    request.warnings.push(...by);
    for (const [key, value] of answer.auditAnnotations) request.annotate(`${webhook.name}/${key}`, value);
    return answer;
  } catch (error) {
    if (!(error instanceof WebhookError)) throw error;
    // Of a request that is over nothing may come any more.
    if (webhook.failOpen && !request.signal.aborted) {
      log.warn('a webhook failed and is ignored', { webhook: webhook.name, error: error.message });
      return undefined;
    }
    throw internalError(`failed calling webhook ${JSON.stringify(webhook.name)}: ${error.message}`);
  }
}

async function callWebhook(
  client: Asker['webhooks'],
  webhook: Webhook,
  review: JsonObject,
  signal: AbortSignal,
): Promise<Json> {
  try {
    return await client.post(webhook.address, review, webhook.timeoutMs, signal);
  } catch (error) {
    if (!(error instanceof WebhookError)) throw error;
    throw new WebhookError(`failed to call webhook: ${error.message}`, { cause: error });
  }
}
