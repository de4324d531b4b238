import { type Form, matchedForm } from '../../api/admission/match.ts';
import { type Objection, type Verdict, verdictOf } from '../../api/admission/policy.ts';
import { celJson } from '../../api/cel/json-value.ts';
import type { JsonObject } from '../../api/object.ts';
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
  const failures: JsonObject[] = [];
  const annotations = new Map<string, Set<string>>();
  try {
    for (const bound of policies) {
      const form = concernedForm(bound, request);
      if (form === undefined) continue;
      const verdict = await ask(context, bound, request, form);
      for (const [key, value] of verdict.annotations) {
        const name = `${bound.policy.name}/${key}`;
        annotations.set(name, (annotations.get(name) ?? new Set()).add(value));
      }
      for (const objection of verdict.objections) {
        if (bound.binding.actions.includes('Audit')) failures.push(failureFacts(bound, objection));
        act(bound, request, objection);
      }
    }
  } finally {
    for (const [key, values] of annotations) request.annotate(key, [...values].join(', '));
    if (failures.length > 0) request.annotate(failuresKey, JSON.stringify(failures));
  }
}

/** Under which the audit log tells what bindings with the action Audit would have refused. */
const failuresKey = 'validation.policy.admission.k8s.io/validation_failure';

function failureFacts({ policy, binding }: Bound, { message, expressionIndex }: Objection): JsonObject {
  return {
    message,
    policy: policy.name,
    binding: binding.name,
    ...(expressionIndex === undefined ? {} : { expressionIndex }),
    validationActions: [...binding.actions],
  };
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
): Promise<Verdict> {
  const { namespace } = request.attributes;
  const params = await paramsOf(context, policy, binding.paramRef, namespace, request.signal);
  if (typeof params === 'string') {
    const message = `failed to configure binding: ${params}`;
    return { objections: policy.failOpen ? [] : [{ message, reason: 'Invalid' }], annotations: [] };
  }
  const verdicts: Verdict[] = [];
  for (const object of params) {
    const { variables, budget } = await expressionData(request, form, object);
    verdicts.push(verdictOf(policy, budget, { ...variables, params: celJson(object ?? null) }));
  }
  return {
    objections: verdicts.flatMap(({ objections }) => objections),
    annotations: verdicts.flatMap(({ annotations }) => annotations),
  };
}

/** Denies or warns; the third action, Audit, is for the audit log alone. */
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
