import { type Form, matchedForm } from '../../api/admission/match.ts';
import { type Objection, objectionsOf } from '../../api/admission/policy.ts';
import { celJson } from '../../api/cel/json-value.ts';
import { failure, forbidden } from '../../api/status.ts';
import type { StatusError } from '../../api/status.ts';
import { type AdmissionRequest, expressionData } from '../admission-request.ts';
import type { ApiContext } from '../context.ts';
import { paramsOf } from './params.ts';
import type { Bound } from './registry.ts';

/** Puts the policies to the question that a request concerns. Throws StatusError for the first denial. */
export async function validateByPolicies(
  context: Pick<ApiContext, 'store' | 'customs' | 'webhooks'>,
  policies: readonly Bound[],
  request: AdmissionRequest,
): Promise<void> {
  for (const bound of policies) {
    const form = concernedForm(bound, request);
    if (form === undefined) continue;
    for (const objection of await ask(context, bound, request, form)) act(bound, request, objection);
  }
}

/** The form in which the policy sees the request; undefined: it is not concerned. */
export function concernedForm({ policy, binding }: Bound, request: AdmissionRequest): Form | undefined {
  const { attributes, otherForms, namespaceLabels } = request;
  const form = matchedForm(policy.matching, attributes, otherForms, namespaceLabels);
  if (form === undefined || binding.matching === undefined) return form;
  const isBound = matchedForm(binding.matching, attributes, otherForms, namespaceLabels) !== undefined;
  return isBound ? form : undefined;
}

async function ask(
  context: Pick<ApiContext, 'store' | 'customs' | 'webhooks'>,
  { policy, binding }: Bound,
  request: AdmissionRequest,
  form: Form,
): Promise<readonly Objection[]> {
  const { namespace } = request.attributes;
  const params = await paramsOf(context, policy, binding.paramRef, namespace, request.signal);
  if (typeof params === 'string') {
    return policy.failOpen ? [] : [{ message: `failed to configure binding: ${params}`, reason: 'Invalid' }];
  }
  const objections: Objection[] = [];
  for (const object of params) {
    const { variables, budget } = await expressionData(request, form, object);
    objections.push(...objectionsOf(policy, budget, { ...variables, params: celJson(object ?? null) }));
  }
  return objections;
}

/** Denies, warns, or does nothing: there is no audit log to put it in. */
function act({ policy, binding }: Bound, request: AdmissionRequest, { message, reason }: Objection): void {
  if (binding.actions.includes('Warn')) {
    request.warnings.push(
      `Validation failed for ValidatingAdmissionPolicy '${policy.name}' with binding '${binding.name}': ${message}`,
    );
  }
  if (!binding.actions.includes('Deny')) return;
  const detail = `ValidatingAdmissionPolicy '${policy.name}' with binding '${binding.name}' denied request: ${message}`;
  throw denial(request, detail, reason);
}

const codes: Readonly<Record<string, number>> = {
  Forbidden: 403,
  Invalid: 422,
  RequestEntityTooLarge: 413,
  Unauthorized: 401,
};

/** A refusal with `detail` as its cause. */
export function denial({ attributes }: AdmissionRequest, detail: string, reason: string): StatusError {
  const { status } = forbidden(attributes.resource, attributes.name, detail);
  return failure(codes[reason] ?? 422, reason, status.message, {
    ...status.details,
    causes: [{ message: detail }],
  });
}
