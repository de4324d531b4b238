import { child, duplicate, index, invalid, mapKey, required } from '../field-errors.ts';
import { objectAt, objectsAt, stringAt, stringMapAt, stringsAt } from '../fields.ts';
import type { FieldError, Kind } from '../kind.ts';
import type { JsonObject } from '../object.ts';
import { compareQuantities, parseQuantity } from '../quantity.ts';
import { ageColumn, column, nameColumn } from './columns.ts';
import { defineKind } from './define.ts';

/** ResourceQuota and LimitRange. Admission (apiserver/quota-admission.ts) acts on both. */

const quotaScopes = [
  'BestEffort',
  'CrossNamespacePodAffinity',
  'NotBestEffort',
  'NotTerminating',
  'PriorityClass',
  'Terminating',
  'VolumeAttributesClass',
];

function validateQuota(quota: JsonObject): readonly FieldError[] {
  const spec = objectAt(quota, 'spec') ?? {};
  const errors: FieldError[] = [];
  for (const [name, text] of Object.entries(stringMapAt(spec, 'hard'))) {
    const quantity = parseQuantity(text);
    if (quantity === undefined || quantity.nanos < 0n) {
      errors.push(invalid(mapKey('spec.hard', name), text, 'must be greater than or equal to 0'));
    }
  }
  for (const scope of stringsAt(spec, 'scopes')) {
    if (!quotaScopes.includes(scope)) errors.push(invalid('spec.scopes', scope, 'unsupported scope'));
  }
  return errors;
}

function usage(object: JsonObject, wanted: (name: string) => boolean): string {
  const hard = stringMapAt(object, 'status', 'hard');
  const used = stringMapAt(object, 'status', 'used');
  return Object.keys(hard)
    .filter(wanted)
    .toSorted()
    .map((name) => `${name}: ${used[name] ?? '0'}/${hard[name] ?? '0'}`)
    .join(', ');
}

const isLimit = (name: string): boolean => name.startsWith('limits.');

export const resourceQuotaKind: Kind = defineKind({
  group: '',
  version: 'v1',
  kind: 'ResourceQuota',
  plural: 'resourcequotas',
  namespaced: true,
  schema: 'core/v1.ResourceQuota',
  shortNames: ['quota'],
  subresources: ['status'],
  columns: [
    nameColumn,
    column('Request', 'What is used of what may be requested.', (object) =>
      usage(object, (name) => !isLimit(name)),
    ),
    column('Limit', 'What is used of the limits that may be set.', (object) => usage(object, isLimit)),
    ageColumn,
  ],
  validate: validateQuota,
});

function validateLimit(limit: JsonObject, path: string): readonly FieldError[] {
  const errors: FieldError[] = [];
  const type = stringAt(limit, 'type');
  if (type === '') errors.push(required(child(path, 'type')));
  const bounds = (field: string): Readonly<Record<string, string>> => stringMapAt(limit, field);
  if (type === 'Pod') {
    for (const field of ['default', 'defaultRequest']) {
      if (Object.keys(bounds(field)).length === 0) continue;
      errors.push(invalid(child(path, field), limit[field], "may not be specified when `type` is 'Pod'"));
    }
  }
  const pairs = [
    ['min', 'max'],
    ['min', 'default'],
    ['min', 'defaultRequest'],
    ['default', 'max'],
    ['defaultRequest', 'max'],
    ['defaultRequest', 'default'],
  ] as const;
  for (const [low, high] of pairs) {
    for (const [name, text] of Object.entries(bounds(low))) {
      const least = parseQuantity(text);
      const most = parseQuantity(bounds(high)[name] ?? '');
      if (least === undefined || most === undefined || compareQuantities(least, most) <= 0) continue;
      errors.push(
        invalid(
          mapKey(child(path, low), name),
          text,
          `${low} value ${text} is greater than ${high} value ${bounds(high)[name] ?? ''}`,
        ),
      );
    }
  }
  return errors;
}

function validateLimitRange(range: JsonObject): readonly FieldError[] {
  const types = new Set<string>();
  return objectsAt(range, 'spec', 'limits').flatMap((limit, position) => {
    const path = index('spec.limits', position);
    const type = stringAt(limit, 'type');
    const errors = [...validateLimit(limit, path)];
    if (types.has(type)) errors.push(duplicate(child(path, 'type'), type));
    types.add(type);
    return errors;
  });
}

export const limitRangeKind: Kind = defineKind({
  group: '',
  version: 'v1',
  kind: 'LimitRange',
  plural: 'limitranges',
  namespaced: true,
  schema: 'core/v1.LimitRange',
  shortNames: ['limits'],
  columns: [
    nameColumn,
    column('Created At', 'When it was made.', (object) => stringAt(object, 'metadata', 'creationTimestamp')),
  ],
  setDefaults(range: JsonObject): void {
    for (const limit of objectsAt(range, 'spec', 'limits')) {
      if (limit['type'] !== 'Container') continue;
      const defaults = { ...stringMapAt(limit, 'default') };
      for (const [name, value] of Object.entries(stringMapAt(limit, 'max'))) defaults[name] ??= value;
      if (Object.keys(defaults).length > 0) limit['default'] = defaults;
      const requests = { ...stringMapAt(limit, 'defaultRequest') };
      for (const [name, value] of Object.entries(defaults)) requests[name] ??= value;
      for (const [name, value] of Object.entries(stringMapAt(limit, 'min'))) requests[name] ??= value;
      if (Object.keys(requests).length > 0) limit['defaultRequest'] = requests;
    }
  },
  validate: validateLimitRange,
});
