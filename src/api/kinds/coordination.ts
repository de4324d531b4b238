import { invalid } from '../field-errors.ts';
import { numberAt, stringAt } from '../fields.ts';
import type { FieldError, Kind } from '../kind.ts';
import type { JsonObject } from '../object.ts';
import { ageColumn, column, nameColumn } from './columns.ts';
import { defineKind } from './define.ts';

function validateLease(lease: JsonObject): readonly FieldError[] {
  const errors: FieldError[] = [];
  const duration = numberAt(lease, 'spec', 'leaseDurationSeconds');
  if (duration !== undefined && duration <= 0) {
    errors.push(invalid('spec.leaseDurationSeconds', duration, 'must be greater than 0'));
  }
  const transitions = numberAt(lease, 'spec', 'leaseTransitions');
  if (transitions !== undefined && transitions < 0) {
    errors.push(invalid('spec.leaseTransitions', transitions, 'must be greater than or equal to 0'));
  }
  return errors;
}

export const coordinationKinds: readonly Kind[] = [
  defineKind({
    group: 'coordination.k8s.io',
    version: 'v1',
    kind: 'Lease',
    plural: 'leases',
    namespaced: true,
    schema: 'coordination/v1.Lease',
    columns: [
      nameColumn,
      column('Holder', 'Who holds it.', (object) => stringAt(object, 'spec', 'holderIdentity')),
      ageColumn,
    ],
    validate: validateLease,
  }),
];
