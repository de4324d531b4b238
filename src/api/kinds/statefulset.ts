import { child, forbidden, invalid, notSupported } from '../field-errors.ts';
import { ensureObject, jsonEqual, numberAt, objectAt, objectsAt, setDefault, stringAt } from '../fields.ts';
import type { StatefulSet } from '../gen/apps-v1.ts';
import type { FieldError, Kind } from '../kind.ts';
import type { JsonObject } from '../object.ts';
import { ageColumn, column, nameColumn } from './columns.ts';
import { defineKind } from './define.ts';
import { defaultClaimSpec } from './persistentvolumeclaim.ts';
import { defaultPodTemplate } from './pod-defaults.ts';
import { workloadWideColumns } from './workload-columns.ts';
import { notNegative, validateCountOrPercent, validateWorkload } from './workload-validation.ts';
import { validateStatefulSetStatus } from './workload-status.ts';

function defaultStatefulSet(set: JsonObject): void {
  const spec = ensureObject(set, 'spec');
  setDefault(spec, 'replicas', 1);
  setDefault(spec, 'podManagementPolicy', 'OrderedReady');
  const strategy = ensureObject(spec, 'updateStrategy');
  setDefault(strategy, 'type', 'RollingUpdate');
  if (strategy['type'] === 'RollingUpdate') {
    setDefault(ensureObject(strategy, 'rollingUpdate'), 'partition', 0);
  }
  setDefault(spec, 'revisionHistoryLimit', 10);
  const retention = ensureObject(spec, 'persistentVolumeClaimRetentionPolicy');
  setDefault(retention, 'whenDeleted', 'Retain');
  setDefault(retention, 'whenScaled', 'Retain');
  for (const claim of objectsAt(spec, 'volumeClaimTemplates')) {
    setDefault(claim, 'apiVersion', 'v1');
    setDefault(claim, 'kind', 'PersistentVolumeClaim');
    defaultClaimSpec(ensureObject(claim, 'spec'));
    setDefault(ensureObject(claim, 'status'), 'phase', 'Pending');
  }
  defaultPodTemplate(ensureObject(spec, 'template'));
}

/** As its Pods will be: each claim is a volume of that name, which the template's containers may mount. */
function withClaims(spec: JsonObject): JsonObject {
  const template = objectAt(spec, 'template') ?? {};
  const podSpec = objectAt(template, 'spec') ?? {};
  const claims = objectsAt(spec, 'volumeClaimTemplates').map((claim) => stringAt(claim, 'metadata', 'name'));
  const others = objectsAt(podSpec, 'volumes').filter((volume) => !claims.includes(stringAt(volume, 'name')));
  const volumes = [
    ...others,
    ...claims.map((name) => ({ name, persistentVolumeClaim: { claimName: name } })),
  ];
  return { ...spec, template: { ...template, spec: { ...podSpec, volumes } } };
}

function validateStatefulSet(set: JsonObject): readonly FieldError[] {
  const spec = objectAt(set, 'spec') ?? {};
  const errors: FieldError[] = [
    ...validateWorkload(withClaims(spec)),
    ...notNegative(spec, 'revisionHistoryLimit'),
  ];
  const policy = stringAt(spec, 'podManagementPolicy');
  if (policy !== 'OrderedReady' && policy !== 'Parallel') {
    errors.push(invalid('spec.podManagementPolicy', policy, "must be 'OrderedReady' or 'Parallel'"));
  }
  errors.push(...validateStrategy(objectAt(spec, 'updateStrategy') ?? {}));
  for (const field of ['whenDeleted', 'whenScaled']) {
    const value = stringAt(spec, 'persistentVolumeClaimRetentionPolicy', field);
    if (value !== 'Retain' && value !== 'Delete') {
      const path = `spec.persistentVolumeClaimRetentionPolicy.${field}`;
      errors.push(notSupported(path, value, ['Retain', 'Delete']));
    }
  }
  const start = numberAt(spec, 'ordinals', 'start');
  if (start !== undefined && start < 0) {
    errors.push(invalid('spec.ordinals.start', start, 'must be greater than or equal to 0'));
  }
  return errors;
}

function validateStrategy(strategy: JsonObject): readonly FieldError[] {
  const path = 'spec.updateStrategy';
  const type = stringAt(strategy, 'type');
  const rolling = objectAt(strategy, 'rollingUpdate');
  switch (type) {
    case 'OnDelete':
      if (rolling === undefined) return [];
      return [
        invalid(child(path, 'rollingUpdate'), rolling, "only allowed for updateStrategy 'RollingUpdate'"),
      ];
    case 'RollingUpdate': {
      const at = child(path, 'rollingUpdate');
      const partition = numberAt(rolling, 'partition') ?? 0;
      return [
        ...(partition < 0
          ? [invalid(child(at, 'partition'), partition, 'must be greater than or equal to 0')]
          : []),
        ...validateCountOrPercent(rolling?.['maxUnavailable'], child(at, 'maxUnavailable'), 100),
      ];
    }
    default:
      return [invalid(child(path, 'type'), type, "must be 'RollingUpdate' or 'OnDelete'")];
  }
}

const changeableFields = [
  'replicas',
  'ordinals',
  'template',
  'updateStrategy',
  'revisionHistoryLimit',
  'persistentVolumeClaimRetentionPolicy',
  'minReadySeconds',
] as const;

function validateStatefulSetUpdate(set: JsonObject, old: JsonObject): readonly FieldError[] {
  const fixed = (object: JsonObject): JsonObject => {
    const spec = { ...objectAt(object, 'spec') };
    for (const field of changeableFields) delete spec[field];
    return spec;
  };
  if (jsonEqual(fixed(set), fixed(old))) return [];
  return [
    forbidden(
      'spec',
      "updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', 'updateStrategy', 'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are forbidden",
    ),
  ];
}

function read(object: JsonObject): StatefulSet {
  return object as unknown as StatefulSet;
}

export const statefulSetKind: Kind = defineKind({
  group: 'apps',
  version: 'v1',
  kind: 'StatefulSet',
  plural: 'statefulsets',
  namespaced: true,
  schema: 'apps/v1.StatefulSet',
  shortNames: ['sts'],
  categories: ['all'],
  subresources: ['status', 'scale'],
  countsGenerations: true,
  columns: [
    nameColumn,
    column('Ready', 'Pods that are ready, of those wanted.', (object) => {
      const { spec, status } = read(object);
      return `${status?.readyReplicas ?? 0}/${spec?.replicas ?? 0}`;
    }),
    ageColumn,
    ...workloadWideColumns.slice(0, 2),
  ],
  setDefaults: defaultStatefulSet,
  prepareForCreate(set: JsonObject): void {
    set['status'] = { replicas: 0, availableReplicas: 0 };
  },
  validate: validateStatefulSet,
  validateUpdate: validateStatefulSetUpdate,
  validateStatus: validateStatefulSetStatus,
});
