import { child, forbidden, invalid, notSupported } from '../field-errors.ts';
import { ensureObject, numberAt, objectAt, setDefault, stringAt } from '../fields.ts';
import type { Deployment } from '../gen/apps-v1.ts';
import type { FieldError, Kind } from '../kind.ts';
import type { Json, JsonObject } from '../object.ts';
import { ageColumn, column, nameColumn } from './columns.ts';
import { defineKind } from './define.ts';
import { defaultPodTemplate } from './pod-defaults.ts';
import { workloadWideColumns } from './workload-columns.ts';
import {
  notNegative,
  validateCountOrPercent,
  validateSelectorUpdate,
  validateWorkload,
} from './workload-validation.ts';
import { validateDeploymentStatus } from './workload-status.ts';

function defaultDeployment(deployment: JsonObject): void {
  const spec = ensureObject(deployment, 'spec');
  setDefault(spec, 'replicas', 1);
  const strategy = ensureObject(spec, 'strategy');
  setDefault(strategy, 'type', 'RollingUpdate');
  if (strategy['type'] === 'RollingUpdate') {
    const rolling = ensureObject(strategy, 'rollingUpdate');
    setDefault(rolling, 'maxUnavailable', '25%');
    setDefault(rolling, 'maxSurge', '25%');
  }
  setDefault(spec, 'revisionHistoryLimit', 10);
  setDefault(spec, 'progressDeadlineSeconds', 600);
  defaultPodTemplate(ensureObject(spec, 'template'));
}

function validateDeployment(deployment: JsonObject): readonly FieldError[] {
  const spec = objectAt(deployment, 'spec') ?? {};
  const errors: FieldError[] = [
    ...validateWorkload(spec),
    ...notNegative(spec, 'revisionHistoryLimit'),
    ...notNegative(spec, 'progressDeadlineSeconds'),
    ...validateStrategy(objectAt(spec, 'strategy') ?? {}),
  ];
  const deadline = numberAt(spec, 'progressDeadlineSeconds');
  if (deadline !== undefined && deadline <= (numberAt(spec, 'minReadySeconds') ?? 0)) {
    errors.push(invalid('spec.progressDeadlineSeconds', deadline, 'must be greater than minReadySeconds'));
  }
  return errors;
}

function validateStrategy(strategy: JsonObject): readonly FieldError[] {
  const path = 'spec.strategy';
  const type = stringAt(strategy, 'type');
  const rolling = objectAt(strategy, 'rollingUpdate');
  switch (type) {
    case 'Recreate':
      if (rolling === undefined) return [];
      return [
        forbidden(child(path, 'rollingUpdate'), "may not be specified when strategy `type` is 'Recreate'"),
      ];
    case 'RollingUpdate': {
      const at = child(path, 'rollingUpdate');
      const { maxUnavailable, maxSurge } = rolling ?? {};
      const errors = [
        ...validateCountOrPercent(maxUnavailable, child(at, 'maxUnavailable'), 100),
        ...validateCountOrPercent(maxSurge, child(at, 'maxSurge'), undefined),
      ];
      if (isZero(maxUnavailable) && isZero(maxSurge)) {
        errors.push(
          invalid(child(at, 'maxUnavailable'), maxUnavailable, 'may not be 0 when `maxSurge` is 0'),
        );
      }
      return errors;
    }
    default:
      return [notSupported(child(path, 'type'), type, ['Recreate', 'RollingUpdate'])];
  }
}

function isZero(value: Json | undefined): boolean {
  return value === 0 || value === '0%';
}

function read(object: JsonObject): Deployment {
  return object as unknown as Deployment;
}

export const deploymentKind: Kind = defineKind({
  group: 'apps',
  version: 'v1',
  kind: 'Deployment',
  plural: 'deployments',
  namespaced: true,
  schema: 'apps/v1.Deployment',
  shortNames: ['deploy'],
  categories: ['all'],
  subresources: ['status', 'scale'],
  countsGenerations: true,
  columns: [
    nameColumn,
    column('Ready', 'Pods that are ready, of those wanted.', (object) => {
      const { spec, status } = read(object);
      return `${status?.readyReplicas ?? 0}/${spec?.replicas ?? 0}`;
    }),
    column(
      'Up-to-date',
      'Pods made from the newest template.',
      (object) => read(object).status?.updatedReplicas ?? 0,
      'string',
    ),
    column(
      'Available',
      'Pods ready for at least minReadySeconds.',
      (object) => read(object).status?.availableReplicas ?? 0,
      'string',
    ),
    ageColumn,
    ...workloadWideColumns,
  ],
  setDefaults: defaultDeployment,
  validate: validateDeployment,
  validateUpdate: validateSelectorUpdate,
  validateStatus: validateDeploymentStatus,
});
