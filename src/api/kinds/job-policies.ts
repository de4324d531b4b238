import {
  child,
  duplicate,
  index,
  invalid,
  notSupported,
  required,
  tooLong,
  tooMany,
} from '../field-errors.ts';
import { listAt, numberAt, objectAt, objectsAt, stringAt } from '../fields.ts';
import type { FieldError } from '../kind.ts';
import { labelKeyProblems } from '../names.ts';
import type { JsonObject } from '../object.ts';
import { notNegative, problemsAt } from './field-rules.ts';
import { countIndexes, parseIndexes } from './job-indexes.ts';

/** Rules of a Job's policies: what its Pods' failures mean, and when it has succeeded. */

const rulesMax = 20;
const conditionsMax = 20;
const exitCodesMax = 255;
const indexesBytesMax = 64 * 1024;

const actions = ['Count', 'FailIndex', 'FailJob', 'Ignore'] as const;
const operators = ['In', 'NotIn'] as const;
const statuses = ['False', 'True', 'Unknown'] as const;

/** Go's form of a list of texts. */
function listed(values: readonly string[]): string {
  return `valid values: [${values.map((value) => JSON.stringify(value)).join(' ')}]`;
}

export function validateFailurePolicy(spec: JsonObject, path: string): readonly FieldError[] {
  const policy = objectAt(spec, 'podFailurePolicy');
  if (policy === undefined) return [];
  const at = child(path, 'rules');
  const rules = objectsAt(policy, 'rules');
  const names = new Set(
    ['containers', 'initContainers'].flatMap((list) =>
      objectsAt(spec, 'template', 'spec', list).map((container) => stringAt(container, 'name')),
    ),
  );
  return [
    ...(rules.length > rulesMax ? [tooMany(at, rules.length, rulesMax)] : []),
    ...rules.flatMap((rule, position) => validateFailureRule(spec, rule, index(at, position), names)),
  ];
}

function validateFailureRule(
  spec: JsonObject,
  rule: JsonObject,
  path: string,
  names: ReadonlySet<string>,
): readonly FieldError[] {
  const errors: FieldError[] = [];
  const action = stringAt(rule, 'action');
  const at = child(path, 'action');
  if (action === '') errors.push(required(at, listed(actions)));
  else if (action === 'FailIndex') {
    if (spec['backoffLimitPerIndex'] === undefined)
      errors.push(invalid(at, action, 'requires the backoffLimitPerIndex to be set'));
  } else if (!(actions as readonly string[]).includes(action)) errors.push(notSupported(at, action, actions));
  const codes = objectAt(rule, 'onExitCodes');
  const conditions = objectsAt(rule, 'onPodConditions');
  if (codes !== undefined) errors.push(...validateExitCodes(codes, child(path, 'onExitCodes'), names));
  errors.push(...validateConditions(conditions, child(path, 'onPodConditions')));
  if (codes !== undefined && conditions.length > 0)
    errors.push(wrong(path, 'specifying both OnExitCodes and OnPodConditions is not supported'));
  if (codes === undefined && conditions.length === 0)
    errors.push(wrong(path, 'specifying one of OnExitCodes and OnPodConditions is required'));
  return errors;
}

/** Of a whole object, whose value would say nothing. */
function wrong(field: string, detail: string): FieldError {
  return { type: 'FieldValueInvalid', field, message: `Invalid value: ${detail}` };
}

function validateExitCodes(
  codes: JsonObject,
  path: string,
  names: ReadonlySet<string>,
): readonly FieldError[] {
  const errors: FieldError[] = [];
  const operator = stringAt(codes, 'operator');
  const at = child(path, 'operator');
  if (operator === '') errors.push(required(at, listed(operators)));
  else if (!(operators as readonly string[]).includes(operator))
    errors.push(notSupported(at, operator, operators));
  const name = codes['containerName'];
  if (typeof name === 'string' && !names.has(name)) {
    const detail = 'must be one of the container or initContainer names in the pod template';
    errors.push(invalid(child(path, 'containerName'), name, detail));
  }
  return [
    ...errors,
    ...validateCodeValues(listAt(codes, 'values').map(Number), child(path, 'values'), operator),
  ];
}

function validateCodeValues(
  values: readonly number[],
  path: string,
  operator: string,
): readonly FieldError[] {
  const errors: FieldError[] = [];
  if (values.length === 0) errors.push(invalid(path, null, 'at least one value is required'));
  else if (values.length > exitCodesMax) errors.push(tooMany(path, values.length, exitCodesMax));
  values.forEach((value, position) => {
    const at = index(path, position);
    if (operator === 'In' && value === 0)
      errors.push(invalid(at, value, 'must not be 0 for the In operator'));
    if (values.indexOf(value) < position) errors.push(duplicate(at, value));
  });
  const isOrdered = values.every((value, position) => position === 0 || (values[position - 1] ?? 0) <= value);
  return isOrdered ? errors : [...errors, invalid(path, values, 'must be ordered')];
}

function validateConditions(conditions: readonly JsonObject[], path: string): readonly FieldError[] {
  const errors: FieldError[] = [];
  if (conditions.length > conditionsMax) errors.push(tooMany(path, conditions.length, conditionsMax));
  conditions.forEach((pattern, position) => {
    const at = index(path, position);
    errors.push(...problemsAt(child(at, 'type'), stringAt(pattern, 'type'), labelKeyProblems));
    const status = stringAt(pattern, 'status');
    if (status === '') errors.push(required(child(at, 'status'), listed(statuses)));
    else if (!(statuses as readonly string[]).includes(status))
      errors.push(notSupported(child(at, 'status'), status, statuses));
  });
  return errors;
}

export function validateSuccessPolicy(spec: JsonObject, path: string): readonly FieldError[] {
  const policy = objectAt(spec, 'successPolicy');
  if (policy === undefined) return [];
  if (stringAt(spec, 'completionMode') !== 'Indexed')
    return [invalid(path, policy, 'requires indexed completion mode')];
  const at = child(path, 'rules');
  const rules = objectsAt(policy, 'rules');
  const errors: FieldError[] = [];
  if (rules.length === 0)
    errors.push(required(at, 'at least one rules must be specified when the successPolicy is specified'));
  if (rules.length > rulesMax) errors.push(tooMany(at, rules.length, rulesMax));
  const completions = numberAt(spec, 'completions') ?? 0;
  rules.forEach((rule, position) => {
    errors.push(...validateSuccessRule(rule, index(at, position), completions));
  });
  return errors;
}

function validateSuccessRule(rule: JsonObject, path: string, completions: number): readonly FieldError[] {
  const text = rule['succeededIndexes'];
  const count = numberAt(rule, 'succeededCount');
  const errors: FieldError[] = [];
  if (text === undefined && count === undefined)
    return [required(path, 'at least one of succeededCount or succeededIndexes must be specified')];
  let total: number | undefined;
  if (typeof text === 'string') {
    const at = child(path, 'succeededIndexes');
    if (Buffer.byteLength(text) > indexesBytesMax) errors.push(tooLong(at, indexesBytesMax));
    const parsed = parseIndexes(text, completions);
    if ('problem' in parsed)
      errors.push(invalid(at, text, `error parsing succeededIndexes: ${parsed.problem}`));
    total = 'ranges' in parsed ? countIndexes(parsed.ranges) : 0;
  }
  if (count === undefined) return errors;
  const at = child(path, 'succeededCount');
  errors.push(...notNegative(rule, path, 'succeededCount'));
  if (count > completions) {
    const detail = `must be less than or equal to ${completions} (the number of specified completions)`;
    errors.push(invalid(at, count, detail));
  }
  if (total !== undefined && count > total) {
    const detail = `must be less than or equal to ${total} (the number of indexes in the specified succeededIndexes field)`;
    errors.push(invalid(at, count, detail));
  }
  return errors;
}
