import { rootTypeOf } from '../apply/typed-value.ts';
import { addTypes, type CelTypes } from '../cel/schema-types.ts';
import { createTypeChecker } from '../cel/type-check.ts';
import { objectAt, objectsAt, stringAt, stringsAt } from '../fields.ts';
import type { Kind } from '../kind.ts';
import { policyScope } from '../kinds/admissionpolicy.ts';
import type { JsonObject } from '../object.ts';
import { apiVersionOfKind } from '../registry.ts';

/** The expressions of a ValidatingAdmissionPolicy held against the kinds that it is about (status.typeChecking). */

/** As in Kubernetes: of a policy for more kinds than these only so many are looked at. */
const kindsMax = 10;

type Located = { readonly fieldRef: string; readonly text: string };

export type ExpressionWarning = { readonly fieldRef: string; readonly warning: string };

/** One warning for each expression that cannot work for some kind. `kinds`: all that are served. */
export function policyWarnings(policy: JsonObject, kinds: readonly Kind[]): readonly ExpressionWarning[] {
  const params = paramKindOf(policy, kinds);
  const concerned = concernedKinds(policy, kinds);
  const problems = concerned.map((kind) => ({ kind, found: problemsOf(policy, kind, params) }));
  return expressionsOf(policy).flatMap(({ fieldRef }) => {
    const told = problems.flatMap(({ kind, found }) => {
      const problem = found.get(fieldRef);
      return problem === undefined ? [] : [`${apiVersionOfKind(kind)}, Kind=${kind.kind}: ${problem}`];
    });
    return told.length === 0 ? [] : [{ fieldRef, warning: told.join('\n') }];
  });
}

/** Kinds that a rule names; what it leaves open with `*` could be anything. */
function concernedKinds(policy: JsonObject, kinds: readonly Kind[]): readonly Kind[] {
  const rules = objectsAt(policy, 'spec', 'matchConstraints', 'resourceRules');
  const names = (rule: JsonObject, field: string, value: string): boolean =>
    stringsAt(rule, field).includes(value);
  const isNamed = (kind: Kind): boolean =>
    rules.some(
      (rule) =>
        names(rule, 'apiGroups', kind.group) &&
        names(rule, 'apiVersions', kind.version) &&
        names(rule, 'resources', kind.plural),
    );
  return kinds.filter(isNamed).slice(0, kindsMax);
}

function paramKindOf(policy: JsonObject, kinds: readonly Kind[]): Kind | undefined {
  const paramKind = objectAt(policy, 'spec', 'paramKind');
  return kinds.find(
    (kind) =>
      apiVersionOfKind(kind) === stringAt(paramKind, 'apiVersion') &&
      kind.kind === stringAt(paramKind, 'kind'),
  );
}

/** By `fieldRef`. */
function problemsOf(policy: JsonObject, kind: Kind, params: Kind | undefined): ReadonlyMap<string, string> {
  const scope = policyScope(policy);
  const types: CelTypes = new Map();
  const object = addTypes(types, rootTypeOf(kind), kind.kind);
  const known: Record<string, string> = {
    object,
    oldObject: object,
    namespaceObject: addTypes(types, 'core/v1.Namespace', ''),
    ...(params === undefined ? {} : { params: addTypes(types, rootTypeOf(params), params.kind) }),
  };
  types.set('variables', variableTypes(policy, createTypeChecker(scope, types, known)));
  const check = createTypeChecker(scope, types, { ...known, variables: 'variables' });
  const problems = new Map<string, string>();
  for (const { fieldRef, text } of expressionsOf(policy)) {
    const finding = check(text);
    if ('problem' in finding) problems.set(fieldRef, finding.problem);
  }
  return problems;
}

/** Each may use those before it, which count as `dyn` here. */
function variableTypes(
  policy: JsonObject,
  check: ReturnType<typeof createTypeChecker>,
): Readonly<Record<string, string>> {
  const variables = objectsAt(policy, 'spec', 'variables').map((variable): [string, string] => {
    const finding = check(stringAt(variable, 'expression'));
    return [stringAt(variable, 'name'), 'type' in finding ? finding.type : 'dyn'];
  });
  return Object.fromEntries(variables);
}

function expressionsOf(policy: JsonObject): readonly Located[] {
  const of = (list: string, field: string): readonly Located[] =>
    objectsAt(policy, 'spec', list).flatMap((entry, at) => {
      const text = stringAt(entry, field);
      return text === '' ? [] : [{ fieldRef: `spec.${list}[${at}].${field}`, text }];
    });
  return [
    ...of('variables', 'expression'),
    ...of('validations', 'expression'),
    ...of('validations', 'messageExpression'),
    ...of('auditAnnotations', 'valueExpression'),
  ];
}
