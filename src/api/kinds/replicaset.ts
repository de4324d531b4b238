import { ensureObject, objectAt, numberAt, setDefault } from '../fields.ts';
import type { ReplicaSet } from '../gen/apps-v1.ts';
import type { Kind } from '../kind.ts';
import type { JsonObject } from '../object.ts';
import { ageColumn, column, nameColumn } from './columns.ts';
import { defineKind } from './define.ts';
import { defaultPodTemplate } from './pod-defaults.ts';
import { workloadWideColumns } from './workload-columns.ts';
import { validateSelectorUpdate, validateWorkload } from './workload-validation.ts';
import { validateReplicaSetStatus } from './workload-status.ts';

function read(object: JsonObject): ReplicaSet {
  return object as unknown as ReplicaSet;
}

export const replicaSetKind: Kind = defineKind({
  group: 'apps',
  version: 'v1',
  kind: 'ReplicaSet',
  plural: 'replicasets',
  namespaced: true,
  schema: 'apps/v1.ReplicaSet',
  shortNames: ['rs'],
  categories: ['all'],
  subresources: ['status', 'scale'],
  countsGenerations: true,
  columns: [
    nameColumn,
    column('Desired', 'Pods wanted.', (object) => read(object).spec?.replicas ?? 0, 'integer'),
    column('Current', 'Pods that exist.', (object) => read(object).status?.replicas ?? 0, 'integer'),
    column('Ready', 'Pods that are ready.', (object) => read(object).status?.readyReplicas ?? 0, 'integer'),
    ageColumn,
    ...workloadWideColumns,
  ],
  setDefaults(replicaSet: JsonObject): void {
    const spec = ensureObject(replicaSet, 'spec');
    setDefault(spec, 'replicas', 1);
    defaultPodTemplate(ensureObject(spec, 'template'));
  },
  prepareForCreate(replicaSet: JsonObject): void {
    replicaSet['status'] = { replicas: 0 };
  },
  validate: (replicaSet) => validateWorkload(objectAt(replicaSet, 'spec') ?? {}),
  validateUpdate: validateSelectorUpdate,
  validateStatus: validateReplicaSetStatus,
  selectableFields: (replicaSet) => ({
    'status.replicas': String(numberAt(replicaSet, 'status', 'replicas') ?? 0),
  }),
});
