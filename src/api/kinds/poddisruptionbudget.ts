import { invalid, notSupported } from '../field-errors.ts';
import { numberAt, objectAt, stringAt } from '../fields.ts';
import type { FieldError, Kind } from '../kind.ts';
import { validateLabelSelector } from '../object-meta.ts';
import type { Json, JsonObject } from '../object.ts';
import { ageColumn, column, nameColumn } from './columns.ts';
import { defineKind } from './define.ts';
import { validateCountOrPercent } from './workload-validation.ts';
import { validateBudgetStatus } from './workload-status.ts';

function text(value: Json | undefined): string {
  return typeof value === 'string' || typeof value === 'number' ? String(value) : 'N/A';
}

function validateBudget(budget: JsonObject): readonly FieldError[] {
  const spec = objectAt(budget, 'spec') ?? {};
  const errors: FieldError[] = [];
  if (spec['minAvailable'] !== undefined && spec['maxUnavailable'] !== undefined) {
    errors.push(invalid('spec', spec, 'minAvailable and maxUnavailable cannot be both set'));
  }
  for (const field of ['minAvailable', 'maxUnavailable']) {
    errors.push(...validateCountOrPercent(spec[field], `spec.${field}`, 100));
  }
  const policy = stringAt(spec, 'unhealthyPodEvictionPolicy');
  const policies = ['AlwaysAllow', 'IfHealthyBudget'];
  if (policy !== '' && !policies.includes(policy)) {
    errors.push(notSupported('spec.unhealthyPodEvictionPolicy', policy, policies));
  }
  errors.push(...validateLabelSelector(objectAt(spec, 'selector'), 'spec.selector'));
  return errors;
}

export const podDisruptionBudgetKind: Kind = defineKind({
  group: 'policy',
  version: 'v1',
  kind: 'PodDisruptionBudget',
  plural: 'poddisruptionbudgets',
  namespaced: true,
  schema: 'policy/v1.PodDisruptionBudget',
  shortNames: ['pdb'],
  subresources: ['status'],
  countsGenerations: true,
  columns: [
    nameColumn,
    column('Min Available', 'Pods that must stay.', (object) =>
      text(objectAt(object, 'spec')?.['minAvailable']),
    ),
    column('Max Unavailable', 'Pods that may be missing.', (object) =>
      text(objectAt(object, 'spec')?.['maxUnavailable']),
    ),
    column(
      'Allowed Disruptions',
      'Pods that may be evicted now.',
      (object) => numberAt(object, 'status', 'disruptionsAllowed') ?? 0,
      'integer',
    ),
    ageColumn,
  ],
  validate: validateBudget,
  validateStatus: validateBudgetStatus,
});

export const policyKinds: readonly Kind[] = [podDisruptionBudgetKind];
