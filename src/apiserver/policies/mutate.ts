import type { AdmissionAttributes } from '../../api/admission/attributes.ts';
import type { Form } from '../../api/admission/match.ts';
import {
  conditionsHold,
  firstLine,
  type MutatingPolicy,
  type Mutation,
  policyVariables,
} from '../../api/admission/policy.ts';
import { mergeConfiguration } from '../../api/apply/merge-configuration.ts';
import { evaluateWithin } from '../../api/cel/bounded.ts';
import { CelError } from '../../api/cel/expression.ts';
import { celJson, jsonOfCel } from '../../api/cel/json-value.ts';
import { jsonEqual } from '../../api/fields.ts';
import { isJsonObject, type Json, type JsonObject } from '../../api/object.ts';
import { applyJsonPatch } from '../../api/patch/json.ts';
import { StatusError } from '../../api/status.ts';
import { type AdmissionRequest, expressionData } from '../admission-request.ts';
import type { ApiContext } from '../context.ts';
import { concernedForm, denial } from './dispatch.ts';
import { paramsOf } from './params.ts';
import type { Bound } from './registry.ts';

type Asker = Pick<ApiContext, 'store' | 'customs' | 'webhooks'>;

/**
 * The object after the mutating policies, in their order, which may be the one given. Those that ask for it run once more
 * when a later one changed the object. Throws StatusError where one fails that insists.
 */
export async function mutateByPolicies(
  asker: Asker,
  policies: readonly Bound<MutatingPolicy>[],
  request: AdmissionRequest,
): Promise<JsonObject | undefined> {
  let current = request.attributes.object;
  const leftBy = new Map<Bound<MutatingPolicy>, JsonObject>();
  for (const bound of policies) {
    if (current === undefined) return undefined;
    current = await mutateByOne(asker, bound, request, current);
    leftBy.set(bound, current);
  }
  for (const [bound, left] of leftBy) {
    if (current === undefined || !bound.policy.reinvoke || jsonEqual(left, current)) continue;
    current = await mutateByOne(asker, bound, request, current);
  }
  return current;
}

async function mutateByOne(
  asker: Asker,
  bound: Bound<MutatingPolicy>,
  request: AdmissionRequest,
  object: JsonObject,
): Promise<JsonObject> {
  const { policy, binding } = bound;
  const before: AdmissionAttributes = { ...request.attributes, object };
  const form = concernedForm(bound, { ...request, attributes: before });
  if (form === undefined) return object;
  const params = await paramsOf(asker, policy, binding.paramRef, before.namespace, request.signal);
  if (typeof params === 'string')
    return failed(bound, request, object, `failed to configure binding: ${params}`);
  let current = object;
  for (const param of params) {
    for (const mutation of policy.mutations) {
      const outcome = await apply(policy, mutation, request, form, { object: current, param });
      if (typeof outcome === 'string') return failed(bound, request, object, outcome);
      current = outcome;
    }
  }
  return current;
}

/** What failurePolicy says: the object as it was, or a denial. */
function failed(
  { policy, binding }: Bound<MutatingPolicy>,
  request: AdmissionRequest,
  object: JsonObject,
  message: string,
): JsonObject {
  if (policy.failOpen) return object;
  const who = `MutatingAdmissionPolicy '${policy.name}' with binding '${binding.name}'`;
  throw denial(request, `${who} denied request: ${message}`, 'Invalid');
}

/** The changed object; a text says why there is none. */
async function apply(
  policy: MutatingPolicy,
  { type, expression }: Mutation,
  request: AdmissionRequest,
  form: Form,
  { object, param }: { readonly object: JsonObject; readonly param: JsonObject | undefined },
): Promise<JsonObject | string> {
  const attributes: AdmissionAttributes = { ...request.attributes, object };
  const { variables, budget } = await expressionData(request, form, param, attributes);
  const known = policyVariables(policy, budget, { ...variables, params: celJson(param ?? null) });
  try {
    const holds = conditionsHold(policy.conditions, budget, known);
    if (holds === false) return object;
    if (holds !== true) return firstLine(holds);
    const value = jsonOfCel(evaluateWithin(budget, expression, known));
    if (value === undefined) return 'the mutation gives nothing that can be written as JSON';
    const shown = (await request.show(object, form)) ?? object;
    const changed = type === 'JSONPatch' ? applyJsonPatch(shown, value) : merged(request, form, shown, value);
    return typeof changed === 'string' ? changed : await request.read(changed, form, 'policy');
  } catch (error) {
    if (error instanceof CelError) return firstLine(error);
    if (error instanceof StatusError) return error.message;
    throw error;
  }
}

function merged(request: AdmissionRequest, form: Form, shown: JsonObject, value: Json): Json | string {
  if (!isJsonObject(value)) return 'the apply configuration is no object';
  const { apiVersion, kind } = shown;
  const named = {
    ...value,
    ...(apiVersion === undefined ? {} : { apiVersion }),
    ...(kind === undefined ? {} : { kind }),
  };
  return mergeConfiguration(request.rootType(form), shown, named);
}
