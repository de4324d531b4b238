import { invalid, required } from '../field-errors.ts';
import { ensureObject, numberAt, objectAt, objectsAt, setDefault, stringAt, stringMapAt } from '../fields.ts';
import type { FieldError, Kind } from '../kind.ts';
import { validateLabels } from '../object-meta.ts';
import type { JsonObject } from '../object.ts';
import { ageColumn, column, formatLabels, nameColumn, wideColumn } from './columns.ts';
import { defineKind } from './define.ts';
import { defaultPodTemplate } from './pod-defaults.ts';
import { validatePodTemplate } from './pod-validation.ts';
import { notNegative } from './workload-validation.ts';
import { validateReplicaSetStatus } from './workload-status.ts';

function containerTexts(object: JsonObject, field: 'name' | 'image'): string {
  return objectsAt(object, 'spec', 'template', 'spec', 'containers')
    .map((container) => stringAt(container, field))
    .join(',');
}

function validateReplicationController(object: JsonObject): readonly FieldError[] {
  const spec = objectAt(object, 'spec') ?? {};
  const errors: FieldError[] = [...notNegative(spec, 'replicas'), ...notNegative(spec, 'minReadySeconds')];
  const selector = stringMapAt(spec, 'selector');
  errors.push(...validateLabels(selector, 'spec.selector'));
  if (Object.keys(selector).length === 0) errors.push(required('spec.selector'));
  const template = objectAt(spec, 'template');
  if (template === undefined) return [...errors, required('spec.template')];
  const labels = stringMapAt(template, 'metadata', 'labels');
  if (Object.entries(selector).some(([key, value]) => labels[key] !== value)) {
    errors.push(
      invalid('spec.template.metadata.labels', labels, '`selector` does not match template `labels`'),
    );
  }
  errors.push(...validatePodTemplate(template, 'spec.template'));
  return errors;
}

export const replicationControllerKind: Kind = defineKind({
  group: '',
  version: 'v1',
  kind: 'ReplicationController',
  plural: 'replicationcontrollers',
  namespaced: true,
  schema: 'core/v1.ReplicationController',
  shortNames: ['rc'],
  categories: ['all'],
  subresources: ['status', 'scale'],
  countsGenerations: true,
  columns: [
    nameColumn,
    column('Desired', 'Pods wanted.', (object) => numberAt(object, 'spec', 'replicas') ?? 0, 'integer'),
    column('Current', 'Pods that exist.', (object) => numberAt(object, 'status', 'replicas') ?? 0, 'integer'),
    column(
      'Ready',
      'Pods that are ready.',
      (object) => numberAt(object, 'status', 'readyReplicas') ?? 0,
      'integer',
    ),
    ageColumn,
    wideColumn('Containers', "Names of the template's containers.", (object) =>
      containerTexts(object, 'name'),
    ),
    wideColumn('Images', "Images of the template's containers.", (object) => containerTexts(object, 'image')),
    wideColumn('Selector', 'Labels of the Pods that belong to it.', (object) =>
      formatLabels(stringMapAt(object, 'spec', 'selector')),
    ),
  ],
  setDefaults(object: JsonObject): void {
    const spec = ensureObject(object, 'spec');
    setDefault(spec, 'replicas', 1);
    const labels = { ...stringMapAt(spec, 'template', 'metadata', 'labels') };
    if (Object.keys(labels).length > 0) {
      if (Object.keys(stringMapAt(spec, 'selector')).length === 0) spec['selector'] = { ...labels };
      const metadata = ensureObject(object, 'metadata');
      if (Object.keys(stringMapAt(metadata, 'labels')).length === 0) metadata['labels'] = { ...labels };
    }
    if (objectAt(spec, 'template') !== undefined) defaultPodTemplate(ensureObject(spec, 'template'));
  },
  prepareForCreate(object: JsonObject): void {
    object['status'] = { replicas: 0 };
  },
  validate: validateReplicationController,
  validateStatus: validateReplicaSetStatus,
  selectableFields: (object) => ({
    'status.replicas': String(numberAt(object, 'status', 'replicas') ?? 0),
  }),
});
