import { type Budget, evaluateWithin } from '../cel/bounded.ts';
import { CelError, compileExpression, type Expression, type ExpressionScope } from '../cel/expression.ts';
import { objectAt, objectsAt, stringAt, stringsAt } from '../fields.ts';
import { policyScope } from '../kinds/admissionpolicy.ts';
import type { Selector } from '../labels.ts';
import type { JsonObject } from '../object.ts';
import { type Matching, parseMatching, parseSelector } from './match.ts';

/** ValidatingAdmissionPolicies and their bindings, compiled and put to the question. Pure. */

export type NamedExpression = {
  readonly name: string;
  readonly text: string;
  readonly expression: Expression;
};

type Validation = NamedExpression & {
  readonly message: string;
  readonly messageExpression: Expression | undefined;
  readonly reason: string;
};

export type Policy = {
  readonly name: string;
  readonly matching: Matching;
  readonly conditions: readonly NamedExpression[];
  readonly variables: readonly NamedExpression[];
  readonly validations: readonly Validation[];
  readonly auditAnnotations: readonly NamedExpression[];
  readonly failOpen: boolean;
  readonly paramKind: { readonly apiVersion: string; readonly kind: string } | undefined;
};

/** One change that a MutatingAdmissionPolicy makes. */
export type Mutation = { readonly type: 'ApplyConfiguration' | 'JSONPatch'; readonly expression: Expression };

export type MutatingPolicy = Policy & {
  readonly mutations: readonly Mutation[];
  readonly reinvoke: boolean;
};

export function compileMutatingPolicy(policy: JsonObject): MutatingPolicy {
  const scope = policyScope(policy);
  return {
    ...compilePolicy(policy),
    mutations: objectsAt(policy, 'spec', 'mutations').flatMap((mutation): readonly Mutation[] => {
      const type = stringAt(mutation, 'patchType') === 'JSONPatch' ? 'JSONPatch' : 'ApplyConfiguration';
      const holder = type === 'JSONPatch' ? 'jsonPatch' : 'applyConfiguration';
      const expression = compileExpression(stringAt(mutation, holder, 'expression'), scope);
      return typeof expression === 'string' ? [] : [{ type, expression }];
    }),
    reinvoke: stringAt(policy, 'spec', 'reinvocationPolicy') === 'IfNeeded',
  };
}

export type ParamRef = {
  /** '' where a selector chooses. */
  readonly name: string;
  readonly namespace: string;
  readonly selector: Selector;
  readonly allowMissing: boolean;
};

export type PolicyBinding = {
  readonly name: string;
  readonly policyName: string;
  /** Undefined: all that the policy is about. */
  readonly matching: Matching | undefined;
  readonly actions: readonly string[];
  readonly paramRef: ParamRef | undefined;
};

export function compilePolicy(policy: JsonObject): Policy {
  const spec = objectAt(policy, 'spec') ?? {};
  const scope = policyScope(policy);
  const paramKind = objectAt(spec, 'paramKind');
  return {
    name: stringAt(policy, 'metadata', 'name'),
    matching: parseMatching(objectAt(spec, 'matchConstraints') ?? {}, 'resourceRules'),
    conditions: compileNamed(spec, 'matchConditions', { name: 'name', expression: 'expression' }, scope),
    variables: compileNamed(spec, 'variables', { name: 'name', expression: 'expression' }, scope),
    validations: compileValidations(spec, scope),
    auditAnnotations: compileNamed(
      spec,
      'auditAnnotations',
      { name: 'key', expression: 'valueExpression' },
      scope,
    ),
    failOpen: stringAt(spec, 'failurePolicy') === 'Ignore',
    paramKind:
      paramKind === undefined
        ? undefined
        : { apiVersion: stringAt(paramKind, 'apiVersion'), kind: stringAt(paramKind, 'kind') },
  };
}

/** What does not compile was refused when it was written. */
export function compileNamed(
  holder: JsonObject,
  field: string,
  keys: { readonly name: string; readonly expression: string },
  scope: ExpressionScope,
): readonly NamedExpression[] {
  return objectsAt(holder, field).flatMap((entry) => {
    const text = stringAt(entry, keys.expression);
    const expression = compileExpression(text, scope);
    return typeof expression === 'string' ? [] : [{ name: stringAt(entry, keys.name), text, expression }];
  });
}

function compileValidations(spec: JsonObject, scope: ExpressionScope): readonly Validation[] {
  return objectsAt(spec, 'validations').flatMap((entry) => {
    const text = stringAt(entry, 'expression');
    const expression = compileExpression(text, scope);
    if (typeof expression === 'string') return [];
    const said = stringAt(entry, 'messageExpression');
    const messageExpression = said === '' ? undefined : compileExpression(said, scope);
    return [
      {
        name: '',
        text,
        expression,
        message: stringAt(entry, 'message').trim(),
        messageExpression: typeof messageExpression === 'string' ? undefined : messageExpression,
        reason: stringAt(entry, 'reason') || 'Invalid',
      },
    ];
  });
}

export function compileBinding(binding: JsonObject): PolicyBinding {
  const spec = objectAt(binding, 'spec') ?? {};
  const resources = objectAt(spec, 'matchResources');
  const ref = objectAt(spec, 'paramRef');
  return {
    name: stringAt(binding, 'metadata', 'name'),
    policyName: stringAt(spec, 'policyName'),
    matching: resources === undefined ? undefined : bindingMatching(resources),
    actions: stringsAt(spec, 'validationActions'),
    paramRef:
      ref === undefined
        ? undefined
        : {
            name: stringAt(ref, 'name'),
            namespace: stringAt(ref, 'namespace'),
            selector: parseSelector(ref, 'selector'),
            allowMissing: stringAt(ref, 'parameterNotFoundAction') === 'Allow',
          },
  };
}

const everyRule = {
  operations: ['*'],
  apiGroups: ['*'],
  apiVersions: ['*'],
  resources: ['*/*'],
  scope: '*',
  resourceNames: [],
} as const;

/** A binding without rules takes those of its policy. */
function bindingMatching(resources: JsonObject): Matching {
  const matching = parseMatching(resources, 'resourceRules');
  return matching.rules.length > 0 ? matching : { ...matching, rules: [everyRule] };
}

/** Why a policy is against a request. */
export type Objection = {
  readonly message: string;
  readonly reason: string;
  /** Which of the policy's validations objects; undefined: none, the policy could not be asked. */
  readonly expressionIndex?: number;
};

export type Verdict = {
  readonly objections: readonly Objection[];
  /** By the keys of the policy's `auditAnnotations`. */
  readonly annotations: readonly (readonly [key: string, value: string])[];
};

/** The variables of a policy: each is worked out when it is first asked for. */
export function policyVariables(
  policy: Pick<Policy, 'variables'>,
  budget: Budget,
  known: Readonly<Record<string, unknown>>,
): Readonly<Record<string, unknown>> {
  const variables = {};
  const all = { ...known, variables };
  for (const { name, expression } of policy.variables) {
    let value: { readonly is: unknown } | undefined;
    Object.defineProperty(variables, name, {
      enumerable: true,
      get: () => (value ??= { is: evaluateWithin(budget, expression, all) }).is,
    });
  }
  return all;
}

/** Whether the match conditions hold; an objection where they cannot be told and the policy insists. */
export function conditionsHold(
  conditions: readonly NamedExpression[],
  budget: Budget,
  variables: Readonly<Record<string, unknown>>,
): boolean | CelError {
  let problem: CelError | undefined;
  for (const { expression } of conditions) {
    try {
      // A false one decides, whatever the others say.
      if (evaluateWithin(budget, expression, variables) !== true) return false;
    } catch (error) {
      if (!(error instanceof CelError)) throw error;
      problem ??= error;
    }
  }
  return problem ?? true;
}

/** What the policy has against the request; no objections: it lets it pass. `known` are the variables but `variables`. */
export function verdictOf(policy: Policy, budget: Budget, known: Readonly<Record<string, unknown>>): Verdict {
  const variables = policyVariables(policy, budget, known);
  const holds = conditionsHold(policy.conditions, budget, variables);
  if (holds === false) return { objections: [], annotations: [] };
  if (holds !== true) {
    const objections = policy.failOpen ? [] : [{ message: firstLine(holds), reason: 'Invalid' }];
    return { objections, annotations: [] };
  }
  const objections: Objection[] = [];
  for (const [expressionIndex, validation] of policy.validations.entries()) {
    const objection = judge(policy, validation, budget, variables);
    if (objection !== undefined) objections.push({ ...objection, expressionIndex });
  }
  const annotations: [string, string][] = [];
  for (const { name, text, expression } of policy.auditAnnotations) {
    let value: unknown;
    const problem = problemOf(() => (value = evaluateWithin(budget, expression, variables)));
    if (typeof value === 'string' && value !== '')
      annotations.push([name, value.slice(0, annotationLengthMax)]);
    if (problem !== undefined && !policy.failOpen) objections.push(evaluationError(text, problem));
  }
  return { objections, annotations };
}

/** Longest value of an audit annotation, characters; as in Kubernetes. */
const annotationLengthMax = 10 * 1024;

function judge(
  { failOpen }: Policy,
  validation: Validation,
  budget: Budget,
  variables: Readonly<Record<string, unknown>>,
): Objection | undefined {
  const { text, expression, reason } = validation;
  let value: unknown;
  const problem = problemOf(() => {
    value = evaluateWithin(budget, expression, variables);
    if (typeof value !== 'boolean') throw new CelError('the expression gives no bool');
  });
  if (problem !== undefined) return failOpen ? undefined : evaluationError(text, problem);
  if (value === true) return undefined;
  return { message: messageOf(validation, budget, variables), reason };
}

function problemOf(evaluate: () => unknown): CelError | undefined {
  try {
    evaluate();
    return undefined;
  } catch (error) {
    if (error instanceof CelError) return error;
    throw error;
  }
}

function evaluationError(text: string, problem: CelError): Objection {
  return { message: `expression '${text}' resulted in error: ${firstLine(problem)}`, reason: 'Invalid' };
}

export function firstLine(error: Error): string {
  return error.message.split('\n')[0] ?? '';
}

/** Longest text that an expression may make of a message, bytes; as in Kubernetes. */
const messageLengthMax = 5 * 1024;

function messageOf(
  { text, message, messageExpression }: Validation,
  budget: Budget,
  variables: Readonly<Record<string, unknown>>,
): string {
  const otherwise = message === '' ? `failed expression: ${text.trim()}` : message;
  if (messageExpression === undefined) return otherwise;
  let said: unknown;
  // Without its own words the objection still has those of the policy.
  if (problemOf(() => (said = evaluateWithin(budget, messageExpression, variables))) !== undefined) {
    return otherwise;
  }
  const usable =
    typeof said === 'string' && said.trim() !== '' && !said.includes('\n') && said.length <= messageLengthMax;
  return usable ? String(said).trim() : otherwise;
}
