import { child, invalid, required } from '../field-errors.ts';
import { ensureObject, numberAt, objectAt, setDefault, stringAt, stringMapAt } from '../fields.ts';
import type { DaemonSet } from '../gen/apps-v1.ts';
import type { FieldError, Kind } from '../kind.ts';
import type { Json, JsonObject } from '../object.ts';
import { ageColumn, column, formatLabels, nameColumn } from './columns.ts';
import { defineKind } from './define.ts';
import { defaultPodTemplate } from './pod-defaults.ts';
import { workloadWideColumns } from './workload-columns.ts';
import {
  notNegative,
  validateCountOrPercent,
  validateSelectorUpdate,
  validateWorkload,
} from './workload-validation.ts';
import { validateDaemonSetStatus } from './workload-status.ts';

function defaultDaemonSet(set: JsonObject): void {
  const spec = ensureObject(set, 'spec');
  const strategy = ensureObject(spec, 'updateStrategy');
  setDefault(strategy, 'type', 'RollingUpdate');
  if (strategy['type'] === 'RollingUpdate') {
    const rolling = ensureObject(strategy, 'rollingUpdate');
    setDefault(rolling, 'maxUnavailable', 1);
    setDefault(rolling, 'maxSurge', 0);
  }
  setDefault(spec, 'revisionHistoryLimit', 10);
  defaultPodTemplate(ensureObject(spec, 'template'));
}

function isZero(value: Json | undefined): boolean {
  return value === 0 || value === '0%' || value === undefined;
}

function validateDaemonSet(set: JsonObject): readonly FieldError[] {
  const spec = objectAt(set, 'spec') ?? {};
  const errors: FieldError[] = [...validateWorkload(spec), ...notNegative(spec, 'revisionHistoryLimit')];
  const strategy = objectAt(spec, 'updateStrategy') ?? {};
  const path = 'spec.updateStrategy';
  const type = stringAt(strategy, 'type');
  if (type === 'OnDelete') return errors;
  if (type !== 'RollingUpdate') {
    errors.push(invalid(child(path, 'type'), type, "must be 'RollingUpdate' or 'OnDelete'"));
    return errors;
  }
  const rolling = objectAt(strategy, 'rollingUpdate');
  const at = child(path, 'rollingUpdate');
  if (rolling === undefined) return [...errors, required(at)];
  const { maxUnavailable, maxSurge } = rolling;
  errors.push(
    ...validateCountOrPercent(maxUnavailable, child(at, 'maxUnavailable'), 100),
    ...validateCountOrPercent(maxSurge, child(at, 'maxSurge'), 100),
  );
  if (isZero(maxUnavailable) && isZero(maxSurge)) {
    errors.push(required(child(at, 'maxUnavailable'), 'cannot be 0 when maxSurge is 0'));
  } else if (!isZero(maxUnavailable) && !isZero(maxSurge)) {
    errors.push(invalid(child(at, 'maxSurge'), maxSurge, 'may not be set when maxUnavailable is non-zero'));
  }
  return errors;
}

function count(name: string, description: string, field: keyof NonNullable<DaemonSet['status']>) {
  return column(name, description, (object) => numberAt(object, 'status', field) ?? 0, 'integer');
}

export const daemonSetKind: Kind = defineKind({
  group: 'apps',
  version: 'v1',
  kind: 'DaemonSet',
  plural: 'daemonsets',
  namespaced: true,
  schema: 'apps/v1.DaemonSet',
  shortNames: ['ds'],
  categories: ['all'],
  subresources: ['status'],
  countsGenerations: true,
  columns: [
    nameColumn,
    count('Desired', 'Nodes that should run its Pod.', 'desiredNumberScheduled'),
    count('Current', 'Nodes that have its Pod.', 'currentNumberScheduled'),
    count('Ready', 'Nodes on which its Pod is ready.', 'numberReady'),
    count('Up-to-date', 'Nodes with a Pod of the newest template.', 'updatedNumberScheduled'),
    count('Available', 'Nodes on which its Pod is available.', 'numberAvailable'),
    column('Node Selector', 'Labels of the nodes that it runs on.', (object) => {
      return formatLabels(stringMapAt(object, 'spec', 'template', 'spec', 'nodeSelector'));
    }),
    ageColumn,
    ...workloadWideColumns,
  ],
  setDefaults: defaultDaemonSet,
  prepareForCreate(set: JsonObject): void {
    set['status'] = {
      currentNumberScheduled: 0,
      numberMisscheduled: 0,
      desiredNumberScheduled: 0,
      numberReady: 0,
    };
  },
  validate: validateDaemonSet,
  validateUpdate: validateSelectorUpdate,
  validateStatus: validateDaemonSetStatus,
});
