import { child, forbidden, index, invalid, notSupported, required } from '../field-errors.ts';
import { compileExpression } from '../cel/expression.ts';
import { objectAt, objectsAt, stringAt } from '../fields.ts';
import type { FieldError, Kind } from '../kind.ts';
import type { JsonObject } from '../object.ts';
import { validateExpression } from './admission-rules.ts';
import {
  defaultBinding,
  defaultPolicy,
  paramKindText,
  paramRefText,
  policyScope,
  validateBindingFrame,
  validatePolicyFrame,
} from './admissionpolicy.ts';
import { ageColumn, column, nameColumn } from './columns.ts';
import { defineKind } from './define.ts';

const shared = {
  group: 'admissionregistration.k8s.io',
  version: 'v1',
  namespaced: false,
  categories: ['api-extensions'],
  countsGenerations: true,
} as const;

/** Where each patch type has its expression, and what that gives: as Kubernetes names it and as our evaluator does. */
const patchTypes = {
  ApplyConfiguration: { field: 'applyConfiguration', gives: 'Object', type: /^(?:map<|dyn$)/ },
  JSONPatch: { field: 'jsonPatch', gives: 'list(JSONPatch)', type: /^(?:list<|dyn$)/ },
} as const;

function validateMutatingPolicy(policy: JsonObject): readonly FieldError[] {
  const errors: FieldError[] = [...validatePolicyFrame(policy)];
  const mutations = objectsAt(policy, 'spec', 'mutations');
  if (mutations.length === 0) {
    errors.push(required('spec.mutations', 'mutations must contain at least one item'));
  }
  mutations.forEach((mutation, at) => {
    errors.push(...validateMutation(policy, mutation, index('spec.mutations', at)));
  });
  const reinvocation = stringAt(policy, 'spec', 'reinvocationPolicy');
  if (reinvocation === '') errors.push(required('spec.reinvocationPolicy'));
  else if (reinvocation !== 'Never' && reinvocation !== 'IfNeeded') {
    errors.push(notSupported('spec.reinvocationPolicy', reinvocation, ['IfNeeded', 'Never']));
  }
  return errors;
}

function validateMutation(policy: JsonObject, mutation: JsonObject, path: string): readonly FieldError[] {
  const type = stringAt(mutation, 'patchType');
  if (type === '') return [required(child(path, 'patchType'))];
  if (type !== 'ApplyConfiguration' && type !== 'JSONPatch') {
    return [notSupported(child(path, 'patchType'), type, ['ApplyConfiguration', 'JSONPatch'])];
  }
  const { field, gives, type: wanted } = patchTypes[type];
  const other = patchTypes[type === 'JSONPatch' ? 'ApplyConfiguration' : 'JSONPatch'].field;
  const errors: FieldError[] = [];
  if (mutation[other] !== undefined) {
    errors.push(forbidden(child(path, other), `must not be set when patchType is ${type}`));
  }
  const holder = objectAt(mutation, field);
  if (holder === undefined) return [...errors, required(child(path, field))];
  const place = child(child(path, field), 'expression');
  const text = stringAt(holder, 'expression');
  const found = validateExpression(text, place, policyScope(policy));
  if (found.length > 0) return [...errors, ...found];
  const compiled = compileExpression(text, policyScope(policy));
  const isWanted = typeof compiled !== 'string' && wanted.test(compiled.type);
  return isWanted ? errors : [...errors, invalid(place, text, `must evaluate to ${gives}`)];
}

export const mutatingPolicyKinds: readonly Kind[] = [
  defineKind({
    ...shared,
    kind: 'MutatingAdmissionPolicy',
    plural: 'mutatingadmissionpolicies',
    schema: 'admissionregistration/v1.MutatingAdmissionPolicy',
    columns: [
      nameColumn,
      column(
        'Mutations',
        'How many it has.',
        (object) => objectsAt(object, 'spec', 'mutations').length,
        'integer',
      ),
      column('ParamKind', 'The kind of its parameters.', paramKindText),
      ageColumn,
    ],
    setDefaults: defaultPolicy,
    validate: validateMutatingPolicy,
  }),
  defineKind({
    ...shared,
    kind: 'MutatingAdmissionPolicyBinding',
    plural: 'mutatingadmissionpolicybindings',
    schema: 'admissionregistration/v1.MutatingAdmissionPolicyBinding',
    columns: [
      nameColumn,
      column('PolicyName', 'The policy that it puts to use.', (object) =>
        stringAt(object, 'spec', 'policyName'),
      ),
      column('ParamRef', 'Where the parameters are.', paramRefText),
      ageColumn,
    ],
    setDefaults: defaultBinding,
    validate: validateBindingFrame,
  }),
];
