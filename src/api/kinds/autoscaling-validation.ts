import { child, forbidden, index, invalid, notSupported, required } from '../field-errors.ts';
import { listAt, numberAt, objectAt, objectsAt, stringAt } from '../fields.ts';
import type { FieldError } from '../kind.ts';
import { pathSegmentProblems } from '../names.ts';
import type { JsonObject } from '../object.ts';
import { parseQuantity } from '../quantity.ts';

/** Rules of a HorizontalPodAutoscaler in the form of autoscaling/v2. Spec: Kubernetes, "Horizontal Pod Autoscaling". */
export function validateScaler(object: JsonObject): readonly FieldError[] {
  const spec = objectAt(object, 'spec') ?? {};
  const errors: FieldError[] = [];
  const least = numberAt(spec, 'minReplicas') ?? 1;
  const most = numberAt(spec, 'maxReplicas') ?? 0;
  if (least < 1) errors.push(invalid('spec.minReplicas', least, 'must be greater than or equal to 1'));
  if (most < 1) errors.push(invalid('spec.maxReplicas', most, 'must be greater than 0'));
  if (most < least) {
    errors.push(invalid('spec.maxReplicas', most, 'must be greater than or equal to `minReplicas`'));
  }
  errors.push(...validateReference(objectAt(spec, 'scaleTargetRef'), 'spec.scaleTargetRef'));
  objectsAt(spec, 'metrics').forEach((metric, position) => {
    errors.push(...validateMetric(metric, index('spec.metrics', position)));
  });
  for (const direction of ['scaleUp', 'scaleDown']) {
    const rules = objectAt(spec, 'behavior', direction);
    if (rules !== undefined) errors.push(...validateRules(rules, `spec.behavior.${direction}`));
  }
  return errors;
}

function validateReference(reference: JsonObject | undefined, path: string): readonly FieldError[] {
  return ['kind', 'name'].flatMap((field) => {
    const value = stringAt(reference, field);
    if (value === '') return [required(child(path, field))];
    return pathSegmentProblems(value).map((problem) => invalid(child(path, field), value, problem));
  });
}

/** The field of each type of metric. */
const sources: Readonly<Record<string, string>> = {
  ContainerResource: 'containerResource',
  External: 'external',
  Object: 'object',
  Pods: 'pods',
  Resource: 'resource',
};

function validateMetric(metric: JsonObject, path: string): readonly FieldError[] {
  const type = stringAt(metric, 'type');
  const expected = sources[type];
  if (type === '') return [required(child(path, 'type'), 'must specify a metric source type')];
  if (expected === undefined) return [notSupported(child(path, 'type'), type, Object.keys(sources))];
  const errors: FieldError[] = Object.values(sources)
    .filter((field) => field !== expected && metric[field] !== undefined)
    .map((field) => forbidden(child(path, field), 'must populate the given metric source only'));
  const source = objectAt(metric, expected);
  const at = child(path, expected);
  if (source === undefined) {
    return [required(at, 'must populate information for the given metric source'), ...errors];
  }
  return [...validateSource(type, source, at), ...errors];
}

function validateSource(type: string, source: JsonObject, at: string): readonly FieldError[] {
  const errors: FieldError[] = [];
  const isResource = type === 'Resource' || type === 'ContainerResource';
  if (isResource && stringAt(source, 'name') === '')
    errors.push(required(child(at, 'name'), 'must specify a resource name'));
  if (type === 'ContainerResource' && stringAt(source, 'container') === '')
    errors.push(required(child(at, 'container'), 'must specify a container'));
  if (type === 'Object')
    errors.push(...validateReference(objectAt(source, 'describedObject'), child(at, 'describedObject')));
  if (!isResource && stringAt(source, 'metric', 'name') === '')
    errors.push(required(child(at, 'metric.name'), 'must specify a metric name'));
  const target = objectAt(source, 'target') ?? {};
  const targetAt = child(at, 'target');
  errors.push(...validateTarget(target, targetAt));
  const has = (field: string): boolean => target[field] !== undefined;
  if (isResource) {
    if (!has('averageUtilization') && !has('averageValue')) {
      const detail = 'must set either a target raw value or a target utilization';
      errors.push(required(child(targetAt, 'averageUtilization'), detail));
    } else if (has('averageUtilization') && has('averageValue')) {
      const detail = 'may not set both a target raw value and a target utilization';
      errors.push(forbidden(child(targetAt, 'averageValue'), detail));
    }
  } else if (type === 'Pods') {
    if (!has('averageValue'))
      errors.push(required(child(targetAt, 'averageValue'), 'must specify a positive target averageValue'));
  } else if (!has('value') && !has('averageValue')) {
    const detail = 'must set either a target value for metric or a per-pod target';
    errors.push(required(child(targetAt, 'averageValue'), detail));
  } else if (type === 'External' && has('value') && has('averageValue')) {
    const detail = 'may not set both a target value for metric and a per-pod target';
    errors.push(forbidden(child(targetAt, 'value'), detail));
  }
  return errors;
}

const targetTypes: readonly string[] = ['Utilization', 'Value', 'AverageValue'];

function validateTarget(target: JsonObject, path: string): readonly FieldError[] {
  const errors: FieldError[] = [];
  const type = stringAt(target, 'type');
  if (type === '') errors.push(required(child(path, 'type'), 'must specify a metric target type'));
  else if (!targetTypes.includes(type))
    errors.push(invalid(child(path, 'type'), type, 'must be either Utilization, Value, or AverageValue'));
  for (const field of ['value', 'averageValue']) {
    const text = stringAt(target, field);
    const quantity = parseQuantity(text);
    if (quantity !== undefined && quantity.nanos <= 0n)
      errors.push(invalid(child(path, field), text, 'must be positive'));
  }
  const utilization = numberAt(target, 'averageUtilization');
  if (utilization !== undefined && utilization < 1)
    errors.push(invalid(child(path, 'averageUtilization'), utilization, 'must be greater than 0'));
  return errors;
}

const stabilizationSecondsMax = 3600;
const periodSecondsMax = 1800;

function validateRules(rules: JsonObject, path: string): readonly FieldError[] {
  const errors: FieldError[] = [];
  const window = numberAt(rules, 'stabilizationWindowSeconds') ?? 0;
  const windowAt = child(path, 'stabilizationWindowSeconds');
  if (window < 0) errors.push(invalid(windowAt, window, 'must be greater than or equal to zero'));
  if (window > stabilizationSecondsMax)
    errors.push(invalid(windowAt, window, `must be less than or equal to ${stabilizationSecondsMax}`));
  const select = rules['selectPolicy'];
  const selects = ['Disabled', 'Max', 'Min'];
  if (select !== undefined && !selects.some((known) => known === select))
    errors.push(notSupported(child(path, 'selectPolicy'), select, selects));
  const policiesAt = child(path, 'policies');
  // Left out they are Kubernetes' own; an empty list would let nothing ever change.
  if (rules['policies'] !== undefined && listAt(rules, 'policies').length === 0)
    errors.push(required(policiesAt, 'must specify at least one Policy'));
  objectsAt(rules, 'policies').forEach((policy, position) => {
    const at = index(policiesAt, position);
    const type = stringAt(policy, 'type');
    if (type !== 'Pods' && type !== 'Percent')
      errors.push(notSupported(child(at, 'type'), type, ['Percent', 'Pods']));
    for (const field of ['value', 'periodSeconds']) {
      const number = numberAt(policy, field) ?? 0;
      if (number <= 0) errors.push(invalid(child(at, field), number, 'must be greater than zero'));
    }
    const period = numberAt(policy, 'periodSeconds') ?? 0;
    if (period > periodSecondsMax) {
      const detail = `must be less than or equal to ${periodSecondsMax}`;
      errors.push(invalid(child(at, 'periodSeconds'), period, detail));
    }
  });
  return errors;
}
