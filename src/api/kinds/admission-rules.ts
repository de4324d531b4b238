import { compileExpression, type ExpressionScope } from '../cel/expression.ts';
import { child, duplicate, index, invalid, notSupported, required, tooMany } from '../field-errors.ts';
import { objectAt, objectsAt, setDefault, stringAt, stringsAt } from '../fields.ts';
import type { FieldError } from '../kind.ts';
import { labelKeyProblems } from '../names.ts';
import { validateLabelSelector } from '../object-meta.ts';
import type { JsonObject } from '../object.ts';

/** What webhooks and admission policies share: rules, selectors and match conditions. */

const operations = ['CREATE', 'UPDATE', 'DELETE', 'CONNECT', '*'] as const;
const scopes = ['*', 'Cluster', 'Namespaced'] as const;
/** As in Kubernetes: conditions of one webhook or policy. */
const matchConditionsMax = 64;

/** Defaults of a rule: without a scope it is about both. */
export function defaultRules(rules: readonly JsonObject[]): void {
  for (const rule of rules) setDefault(rule, 'scope', '*');
}

/** The fields that say what a webhook or a policy is about, beside its rules. */
export function defaultMatching(holder: JsonObject): void {
  setDefault(holder, 'matchPolicy', 'Equivalent');
  setDefault(holder, 'namespaceSelector', {});
  setDefault(holder, 'objectSelector', {});
}

export function validateMatching(holder: JsonObject, path: string): readonly FieldError[] {
  const policy = stringAt(holder, 'matchPolicy');
  return [
    ...(policy === '' || policy === 'Exact' || policy === 'Equivalent'
      ? []
      : [notSupported(child(path, 'matchPolicy'), policy, ['Equivalent', 'Exact'])]),
    ...validateLabelSelector(objectAt(holder, 'namespaceSelector'), child(path, 'namespaceSelector')),
    ...validateLabelSelector(objectAt(holder, 'objectSelector'), child(path, 'objectSelector')),
  ];
}

export function validateFailurePolicy(holder: JsonObject, path: string): readonly FieldError[] {
  const policy = stringAt(holder, 'failurePolicy');
  return policy === '' || policy === 'Fail' || policy === 'Ignore'
    ? []
    : [notSupported(child(path, 'failurePolicy'), policy, ['Fail', 'Ignore'])];
}

/** One rule: operations, groups, versions, resources, scope. */
export function validateRule(rule: JsonObject, path: string): readonly FieldError[] {
  const errors: FieldError[] = [];
  const given = stringsAt(rule, 'operations');
  if (given.length === 0) errors.push(required(child(path, 'operations')));
  errors.push(...validateStar(given, child(path, 'operations'), 'operations'));
  given.forEach((operation, at) => {
    if ((operations as readonly string[]).includes(operation)) return;
    errors.push(notSupported(index(child(path, 'operations'), at), operation, operations));
  });
  for (const [field, what] of [
    ['apiGroups', 'groups'],
    ['apiVersions', 'versions'],
  ] as const) {
    const values = stringsAt(rule, field);
    if (values.length === 0) errors.push(required(child(path, field)));
    errors.push(...validateStar(values, child(path, field), `other ${what}`));
    values.forEach((value, at) => {
      if (field === 'apiVersions' && value === '') errors.push(required(index(child(path, field), at)));
    });
  }
  errors.push(...validateResources(stringsAt(rule, 'resources'), child(path, 'resources')));
  const scope = stringAt(rule, 'scope');
  if (scope !== '' && !(scopes as readonly string[]).includes(scope)) {
    errors.push(notSupported(child(path, 'scope'), scope, scopes));
  }
  return errors;
}

function validateStar(values: readonly string[], path: string, what: string): readonly FieldError[] {
  if (values.length < 2 || !values.includes('*')) return [];
  return [invalid(path, [...values], `if '*' is present, must not specify ${what}`)];
}

/** `pods`, `pods/log`, or with a star on either side: a star must not stand beside what it covers. */
function validateResources(values: readonly string[], path: string): readonly FieldError[] {
  if (values.length === 0) return [required(path)];
  const errors: FieldError[] = [];
  const wholes = new Set(values.filter((value) => value.endsWith('/*')).map((value) => value.slice(0, -2)));
  const everySubresource = new Set(
    values.filter((value) => value.startsWith('*/')).map((value) => value.slice(2)),
  );
  values.forEach((value, at) => {
    const place = index(path, at);
    const [resource = '', subresource] = value.split('/', 2);
    if (value === '') errors.push(required(place));
    else if (subresource !== undefined && subresource !== '*' && wholes.has(resource)) {
      errors.push(invalid(place, value, `if '${resource}/*' is present, must not specify ${value}`));
    } else if (subresource !== undefined && resource !== '*' && everySubresource.has(subresource)) {
      errors.push(invalid(place, value, `if '*/${subresource}' is present, must not specify ${value}`));
    }
  });
  if (values.length > 1 && values.includes('*/*')) {
    errors.push(invalid(path, [...values], "if '*/*' is present, must not specify other resources"));
  }
  const plain = values.filter((value) => !value.includes('/'));
  if (values.includes('*') && plain.length > 1) {
    errors.push(
      invalid(path, [...values], "if '*' is present, must not specify other resources without subresources"),
    );
  }
  return errors;
}

export function validateMatchConditions(
  holder: JsonObject,
  path: string,
  scope: ExpressionScope,
): readonly FieldError[] {
  const conditions = objectsAt(holder, 'matchConditions');
  const place = child(path, 'matchConditions');
  const errors: FieldError[] = [];
  if (conditions.length > matchConditionsMax) {
    errors.push(tooMany(place, conditions.length, matchConditionsMax));
  }
  const names = new Set<string>();
  conditions.forEach((condition, at) => {
    const name = stringAt(condition, 'name');
    const namePath = child(index(place, at), 'name');
    if (name === '') errors.push(required(namePath));
    else errors.push(...labelKeyProblems(name).map((problem) => invalid(namePath, name, problem)));
    if (name !== '' && names.has(name)) errors.push(duplicate(namePath, name));
    names.add(name);
    errors.push(
      ...validateExpression(stringAt(condition, 'expression'), child(index(place, at), 'expression'), scope, [
        'bool',
      ]),
    );
  });
  return errors;
}

/** An expression that must be there and give one of `types`, if any are named. What is only known when it runs fits. */
export function validateExpression(
  text: string,
  path: string,
  scope: ExpressionScope,
  types?: readonly string[],
): readonly FieldError[] {
  if (text.trim() === '') return [required(path)];
  const compiled = compileExpression(text, scope);
  if (typeof compiled === 'string') return [invalid(path, text, `compilation failed: ${compiled}`)];
  if (types === undefined || compiled.type === 'dyn' || types.includes(compiled.type)) return [];
  return [invalid(path, text, `must evaluate to ${types.join(' or ')}`)];
}
