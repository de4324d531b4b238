import { admissionScope, type ExpressionScope } from '../cel/expression.ts';
import { child, duplicate, forbidden, index, invalid, notSupported, required } from '../field-errors.ts';
import { ensureObject, objectAt, objectsAt, setDefault, stringAt, stringsAt } from '../fields.ts';
import type { FieldError, Kind } from '../kind.ts';
import { dnsSubdomainProblems, labelKeyProblems } from '../names.ts';
import { validateLabelSelector } from '../object-meta.ts';
import type { JsonObject } from '../object.ts';
import {
  defaultMatching,
  defaultRules,
  validateExpression,
  validateFailurePolicy,
  validateMatchConditions,
  validateMatching,
  validateRule,
} from './admission-rules.ts';
import { ageColumn, column, nameColumn } from './columns.ts';
import { defineKind } from './define.ts';

const group = 'admissionregistration.k8s.io';
const reasons = ['Forbidden', 'Invalid', 'RequestEntityTooLarge', 'Unauthorized'] as const;
/** As in Kubernetes: a longer name or text of an audit annotation is refused. */
const auditKeyMax = 63;

function defaultMatchResources(resources: JsonObject): void {
  defaultMatching(resources);
  defaultRules(objectsAt(resources, 'resourceRules'));
  defaultRules(objectsAt(resources, 'excludeResourceRules'));
}

export function defaultPolicy(policy: JsonObject): void {
  const spec = ensureObject(policy, 'spec');
  setDefault(spec, 'failurePolicy', 'Fail');
  const constraints = objectAt(spec, 'matchConstraints');
  if (constraints !== undefined) defaultMatchResources(constraints);
}

export function validateMatchResources(resources: JsonObject, path: string): readonly FieldError[] {
  const rules = (field: string): readonly FieldError[] =>
    objectsAt(resources, field).flatMap((rule, at) => validateRule(rule, index(child(path, field), at)));
  return [...validateMatching(resources, path), ...rules('resourceRules'), ...rules('excludeResourceRules')];
}

/** What the expressions of a policy may name. `variables` are those of the policy. */
export function policyScope(policy: JsonObject): ExpressionScope {
  const hasParams = objectAt(policy, 'spec', 'paramKind') !== undefined;
  const scope = admissionScope({
    ...{ authorizer: true, params: hasParams, variables: true, namespaceObject: true },
  });
  if (stringAt(policy, 'kind') !== 'MutatingAdmissionPolicy') return scope;
  return { ...scope, key: `${scope.key} structs`, structs: true };
}

/** What policies of both sorts have: constraints, parameters, variables and conditions. */
export function validatePolicyFrame(policy: JsonObject): readonly FieldError[] {
  const spec = objectAt(policy, 'spec') ?? {};
  const conditionScope = admissionScope({ authorizer: true, params: spec['paramKind'] !== undefined });
  return [
    ...validateFailurePolicy(spec, 'spec'),
    ...validateParamKind(spec),
    ...validateConstraints(spec),
    ...validateVariables(spec, policyScope(policy)),
    ...validateMatchConditions(spec, 'spec', conditionScope),
  ];
}

function validatePolicy(policy: JsonObject): readonly FieldError[] {
  const spec = objectAt(policy, 'spec') ?? {};
  const scope = policyScope(policy);
  const errors: FieldError[] = [...validatePolicyFrame(policy)];
  const validations = objectsAt(spec, 'validations');
  const annotations = objectsAt(spec, 'auditAnnotations');
  if (validations.length + annotations.length === 0) {
    const detail = 'validations or auditAnnotations must be non-empty; at least one is required';
    errors.push(required('spec.validations', detail), required('spec.auditAnnotations', detail));
  }
  validations.forEach((validation, at) => {
    errors.push(...validateValidation(validation, index('spec.validations', at), scope));
  });
  errors.push(...validateAuditAnnotations(annotations, scope));
  return errors;
}

function validateConstraints(spec: JsonObject): readonly FieldError[] {
  const constraints = objectAt(spec, 'matchConstraints');
  if (constraints === undefined) return [required('spec.matchConstraints')];
  const errors = [...validateMatchResources(constraints, 'spec.matchConstraints')];
  if (objectsAt(constraints, 'resourceRules').length === 0) {
    errors.push(required('spec.matchConstraints.resourceRules'));
  }
  return errors;
}

function validateParamKind(spec: JsonObject): readonly FieldError[] {
  const paramKind = objectAt(spec, 'paramKind');
  if (paramKind === undefined) return [];
  const errors: FieldError[] = [];
  const apiVersion = stringAt(paramKind, 'apiVersion');
  if (apiVersion === '') errors.push(required('spec.paramKind.apiVersion'));
  else if (!/^([^/]+\/)?[^/]+$/.test(apiVersion)) {
    errors.push(invalid('spec.paramKind.apiVersion', apiVersion, 'must be GROUP/VERSION or VERSION'));
  }
  if (stringAt(paramKind, 'kind') === '') errors.push(required('spec.paramKind.kind'));
  return errors;
}

function validateVariables(spec: JsonObject, scope: ExpressionScope): readonly FieldError[] {
  const names = new Set<string>();
  return objectsAt(spec, 'variables').flatMap((variable, at) => {
    const path = index('spec.variables', at);
    const name = stringAt(variable, 'name');
    const errors: FieldError[] = [];
    if (name === '') errors.push(required(child(path, 'name')));
    else if (!/^[_a-zA-Z][_a-zA-Z0-9]*$/.test(name)) {
      errors.push(invalid(child(path, 'name'), name, 'name is not a valid CEL identifier'));
    }
    if (names.has(name)) errors.push(duplicate(child(path, 'name'), name));
    const expression = stringAt(variable, 'expression');
    errors.push(...validateExpression(expression, child(path, 'expression'), scope));
    // A variable sees only those above it, so none can be about itself.
    for (const [, other = ''] of expression.matchAll(/\bvariables\.([_a-zA-Z][_a-zA-Z0-9]*)/g)) {
      if (names.has(other)) continue;
      errors.push(
        invalid(
          child(path, 'expression'),
          expression,
          `compilation failed: undefined field '${other}' of variables`,
        ),
      );
    }
    names.add(name);
    return errors;
  });
}

function validateValidation(
  validation: JsonObject,
  path: string,
  scope: ExpressionScope,
): readonly FieldError[] {
  const errors: FieldError[] = [];
  errors.push(
    ...validateExpression(stringAt(validation, 'expression'), child(path, 'expression'), scope, ['bool']),
  );
  const { messageExpression, message } = validation;
  if (typeof messageExpression === 'string') {
    errors.push(
      ...validateExpression(messageExpression, child(path, 'messageExpression'), scope, ['string']),
    );
  }
  if (typeof message === 'string') {
    if (message.trim() === '') {
      errors.push(invalid(child(path, 'message'), message, 'message must be non-empty if specified'));
    } else if (/[\r\n]/.test(message.trim())) {
      errors.push(invalid(child(path, 'message'), message, 'message must not contain line breaks'));
    }
  } else if (stringAt(validation, 'expression').includes('\n')) {
    const detail = 'message must be specified if expression contains line breaks';
    errors.push(required(child(path, 'message'), detail));
  }
  const reason = stringAt(validation, 'reason');
  if (reason !== '' && !(reasons as readonly string[]).includes(reason)) {
    errors.push(notSupported(child(path, 'reason'), reason, reasons));
  }
  return errors;
}

function validateAuditAnnotations(
  annotations: readonly JsonObject[],
  scope: ExpressionScope,
): readonly FieldError[] {
  const keys = new Set<string>();
  return annotations.flatMap((annotation, at) => {
    const path = index('spec.auditAnnotations', at);
    const key = stringAt(annotation, 'key');
    const errors: FieldError[] = [];
    if (key === '') errors.push(required(child(path, 'key')));
    else if (key.length > auditKeyMax) {
      errors.push(invalid(child(path, 'key'), key, `must be no more than ${auditKeyMax} characters`));
    } else errors.push(...labelKeyProblems(key).map((p) => invalid(child(path, 'key'), key, p)));
    if (keys.has(key)) errors.push(duplicate(child(path, 'key'), key));
    keys.add(key);
    const expression = stringAt(annotation, 'valueExpression');
    errors.push(...validateExpression(expression, child(path, 'valueExpression'), scope, ['string', 'null']));
    return errors;
  });
}

const actions = ['Audit', 'Deny', 'Warn'] as const;

/** What bindings of both sorts have. */
export function validateBindingFrame(binding: JsonObject): readonly FieldError[] {
  const spec = objectAt(binding, 'spec') ?? {};
  const errors: FieldError[] = [];
  const policy = stringAt(spec, 'policyName');
  if (policy === '') errors.push(required('spec.policyName'));
  else errors.push(...dnsSubdomainProblems(policy).map((p) => invalid('spec.policyName', policy, p)));
  errors.push(...validateParamRef(objectAt(spec, 'paramRef')));
  const resources = objectAt(spec, 'matchResources');
  if (resources !== undefined) errors.push(...validateMatchResources(resources, 'spec.matchResources'));
  return errors;
}

function validateBinding(binding: JsonObject): readonly FieldError[] {
  const spec = objectAt(binding, 'spec') ?? {};
  const errors: FieldError[] = [...validateBindingFrame(binding)];
  const given = stringsAt(spec, 'validationActions');
  if (given.length === 0) errors.push(required('spec.validationActions'));
  const seen = new Set<string>();
  given.forEach((action, at) => {
    const path = index('spec.validationActions', at);
    if (!(actions as readonly string[]).includes(action)) errors.push(notSupported(path, action, actions));
    if (seen.has(action)) errors.push(duplicate(path, action));
    seen.add(action);
  });
  if (seen.has('Deny') && seen.has('Warn')) {
    errors.push(
      invalid(
        'spec.validationActions',
        [...given],
        'must not contain both Deny and Warn (repeating the same validation failure information in the API response and headers serves no purpose)',
      ),
    );
  }
  return errors;
}

function validateParamRef(ref: JsonObject | undefined): readonly FieldError[] {
  if (ref === undefined) return [];
  const errors: FieldError[] = [];
  const selector = objectAt(ref, 'selector');
  const name = stringAt(ref, 'name');
  if (name !== '' && selector !== undefined) {
    errors.push(forbidden('spec.paramRef.name', 'name and selector are mutually exclusive'));
  } else if (name === '' && selector === undefined) {
    errors.push(required('spec.paramRef', 'one of name or selector must be specified'));
  }
  errors.push(...validateLabelSelector(selector, 'spec.paramRef.selector'));
  const action = stringAt(ref, 'parameterNotFoundAction');
  if (action === '') errors.push(required('spec.paramRef.parameterNotFoundAction'));
  else if (action !== 'Allow' && action !== 'Deny') {
    errors.push(notSupported('spec.paramRef.parameterNotFoundAction', action, ['Allow', 'Deny']));
  }
  return errors;
}

export function paramKindText(policy: JsonObject): string {
  const kind = objectAt(policy, 'spec', 'paramKind');
  return kind === undefined ? '<unset>' : `${stringAt(kind, 'apiVersion')}/${stringAt(kind, 'kind')}`;
}

export function paramRefText(binding: JsonObject): string {
  const ref = objectAt(binding, 'spec', 'paramRef');
  if (ref === undefined) return '<unset>';
  const namespace = stringAt(ref, 'namespace');
  if (objectAt(ref, 'selector') !== undefined) return `${namespace || '*'}/<selector>`;
  return `${namespace || '*'}/${stringAt(ref, 'name')}`;
}

export function defaultBinding(binding: JsonObject): void {
  const resources = objectAt(binding, 'spec', 'matchResources');
  if (resources !== undefined) defaultMatchResources(resources);
}

export const admissionPolicyKinds: readonly Kind[] = [
  defineKind({
    group,
    version: 'v1',
    kind: 'ValidatingAdmissionPolicy',
    plural: 'validatingadmissionpolicies',
    namespaced: false,
    schema: 'admissionregistration/v1.ValidatingAdmissionPolicy',
    categories: ['api-extensions'],
    subresources: ['status'],
    countsGenerations: true,
    columns: [
      nameColumn,
      column(
        'Validations',
        'How many it has.',
        (object) => objectsAt(object, 'spec', 'validations').length,
        'integer',
      ),
      column('ParamKind', 'The kind of its parameters.', paramKindText),
      ageColumn,
    ],
    setDefaults: defaultPolicy,
    validate: validatePolicy,
  }),
  defineKind({
    group,
    version: 'v1',
    kind: 'ValidatingAdmissionPolicyBinding',
    plural: 'validatingadmissionpolicybindings',
    namespaced: false,
    schema: 'admissionregistration/v1.ValidatingAdmissionPolicyBinding',
    categories: ['api-extensions'],
    countsGenerations: true,
    columns: [
      nameColumn,
      column('PolicyName', 'The policy that it puts to use.', (object) =>
        stringAt(object, 'spec', 'policyName'),
      ),
      column('ParamRef', 'Where the parameters are.', paramRefText),
      ageColumn,
    ],
    setDefaults: defaultBinding,
    validate: validateBinding,
  }),
];
