import { forbidden, notSupported } from '../field-errors.ts';
import { boolAt, numberAt, setDefault, stringAt } from '../fields.ts';
import type { FieldError, Kind } from '../kind.ts';
import type { JsonObject } from '../object.ts';
import { ageColumn, column, nameColumn } from './columns.ts';
import { defineKind } from './define.ts';

/** Priority of a Pod that only the system may have. */
const priorityMax = 1_000_000_000;

/** The classes that every cluster has. */
export const systemPriorities: Readonly<Record<string, number>> = {
  'system-cluster-critical': 2_000_000_000,
  'system-node-critical': 2_000_001_000,
};

export const priorityClassKind: Kind = defineKind({
  group: 'scheduling.k8s.io',
  version: 'v1',
  kind: 'PriorityClass',
  plural: 'priorityclasses',
  namespaced: false,
  schema: 'scheduling/v1.PriorityClass',
  shortNames: ['pc'],
  countsGenerations: true,
  columns: [
    nameColumn,
    column('Value', 'Higher is more important.', (object) => numberAt(object, 'value') ?? 0, 'integer'),
    column(
      'Global-Default',
      'Whether Pods without a class get it.',
      (object) => boolAt(object, 'globalDefault'),
      'boolean',
    ),
    ageColumn,
    column('PreemptionPolicy', 'Whether its Pods displace others.', (object) =>
      stringAt(object, 'preemptionPolicy'),
    ),
  ],
  setDefaults(object: JsonObject): void {
    setDefault(object, 'preemptionPolicy', 'PreemptLowerPriority');
    setDefault(object, 'value', 0);
  },
  validate(object: JsonObject): readonly FieldError[] {
    const errors: FieldError[] = [];
    const name = stringAt(object, 'metadata', 'name');
    const value = numberAt(object, 'value') ?? 0;
    if (name.startsWith('system-') && systemPriorities[name] !== value) {
      errors.push(
        forbidden(
          'metadata.name',
          "priority class names with 'system-' prefix are reserved for system use only",
        ),
      );
    } else if (!name.startsWith('system-') && value > priorityMax) {
      errors.push(forbidden('value', `maximum allowed value of a user defined priority is ${priorityMax}`));
    }
    const policy = stringAt(object, 'preemptionPolicy');
    const policies = ['Never', 'PreemptLowerPriority'];
    if (!policies.includes(policy)) errors.push(notSupported('preemptionPolicy', policy, policies));
    return errors;
  },
  validateUpdate(object: JsonObject, old: JsonObject): readonly FieldError[] {
    return ['value', 'preemptionPolicy'].flatMap((field) =>
      object[field] === old[field] ? [] : [forbidden(field, 'may not be changed in an update.')],
    );
  },
});
