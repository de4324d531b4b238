import { child, invalid, notSupported, required } from '../field-errors.ts';
import { jsonEqual, numberAt, objectAt, stringAt, stringMapAt } from '../fields.ts';
import type { LabelSelector } from '../gen/meta-v1.ts';
import type { FieldError } from '../kind.ts';
import { formatSelector, matchesLabels, selectorOf } from '../labels.ts';
import { validateLabelSelector } from '../object-meta.ts';
import type { Json, JsonObject } from '../object.ts';
import { validatePodTemplate } from './pod-validation.ts';

/** Selector, template and replicas: the rules that Deployments and ReplicaSets share. */
export function validateWorkload(spec: JsonObject): readonly FieldError[] {
  const errors: FieldError[] = [...notNegative(spec, 'replicas'), ...notNegative(spec, 'minReadySeconds')];
  const selector = objectAt(spec, 'selector');
  const template = objectAt(spec, 'template') ?? {};
  if (selector === undefined) errors.push(required('spec.selector'));
  else {
    errors.push(...validateLabelSelector(selector, 'spec.selector'));
    const conditions = selectorOf(selector as LabelSelector) ?? [];
    if (conditions.length === 0) {
      errors.push(invalid('spec.selector', {}, 'empty selector is invalid for deployment'));
    } else {
      const labels = stringMapAt(template, 'metadata', 'labels');
      if (!matchesLabels(conditions, labels)) {
        errors.push(
          invalid('spec.template.metadata.labels', labels, '`selector` does not match template `labels`'),
        );
      }
    }
  }
  errors.push(...validatePodTemplate(template, 'spec.template'));
  const restartPolicy = stringAt(template, 'spec', 'restartPolicy');
  if (restartPolicy === 'OnFailure' || restartPolicy === 'Never') {
    errors.push(notSupported('spec.template.spec.restartPolicy', restartPolicy, ['Always']));
  }
  if (objectAt(template, 'spec')?.['activeDeadlineSeconds'] !== undefined) {
    errors.push({
      type: 'FieldValueForbidden',
      field: 'spec.template.spec.activeDeadlineSeconds',
      message: 'Forbidden: activeDeadlineSeconds in a Deployment or ReplicaSet is not Supported',
    });
  }
  return errors;
}

export function notNegative(spec: JsonObject, field: string): readonly FieldError[] {
  const value = numberAt(spec, field);
  if (value === undefined || value >= 0) return [];
  return [invalid(child('spec', field), value, 'must be greater than or equal to 0')];
}

/** The selector says which Pods are owned, so it is fixed for the object's life. */
export function validateSelectorUpdate(object: JsonObject, old: JsonObject): readonly FieldError[] {
  const now = objectAt(object, 'spec', 'selector');
  if (jsonEqual(now, objectAt(old, 'spec', 'selector'))) return [];
  return [invalid('spec.selector', now ?? null, 'field is immutable')];
}

/** The text form of a workload's selector. */
export function selectorText(object: JsonObject): string {
  return formatSelector(selectorOf(objectAt(object, 'spec', 'selector') as LabelSelector | undefined) ?? []);
}

/** A count or a percentage: `1`, `"25%"`. `percentMax` bounds the percentage where more makes no sense. */
export function validateCountOrPercent(
  value: Json | undefined,
  path: string,
  percentMax: number | undefined,
): readonly FieldError[] {
  if (typeof value === 'number') {
    return value >= 0 ? [] : [invalid(path, value, 'must be greater than or equal to 0')];
  }
  if (typeof value !== 'string') return [];
  const found = /^(\d+)%$/.exec(value);
  if (found === null) {
    return [
      invalid(
        path,
        value,
        "a valid percent string must be a numeric string followed by an ending '%' (e.g. '1%',  or '93%', regex used for validation is '[0-9]+%')",
      ),
    ];
  }
  if (percentMax === undefined || Number(found[1]) <= percentMax) return [];
  return [invalid(path, value, `must not be greater than ${percentMax}%`)];
}
