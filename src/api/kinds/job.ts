import { child, invalid, notSupported, required } from '../field-errors.ts';
import {
  boolAt,
  ensureObject,
  jsonEqual,
  numberAt,
  objectAt,
  objectsAt,
  setDefault,
  stringAt,
  stringMapAt,
} from '../fields.ts';
import type { Job } from '../gen/batch-v1.ts';
import type { LabelSelector } from '../gen/meta-v1.ts';
import { humanDuration } from '../duration.ts';
import type { FieldError, Kind } from '../kind.ts';
import { matchesLabels, selectorOf } from '../labels.ts';
import type { JsonObject } from '../object.ts';
import { ageColumn, column, nameColumn } from './columns.ts';
import { defineKind } from './define.ts';
import { defaultPodTemplate } from './pod-defaults.ts';
import { validatePodTemplate } from './pod-validation.ts';
import { workloadWideColumns } from './workload-columns.ts';

export const jobUidLabel = 'batch.kubernetes.io/controller-uid';
export const jobNameLabel = 'batch.kubernetes.io/job-name';

export function defaultJobSpec(spec: JsonObject): void {
  setDefault(spec, 'completionMode', 'NonIndexed');
  if (spec['completions'] === undefined && spec['parallelism'] === undefined) spec['completions'] = 1;
  setDefault(spec, 'parallelism', 1);
  if (spec['backoffLimitPerIndex'] === undefined) setDefault(spec, 'backoffLimit', 6);
  else setDefault(spec, 'backoffLimit', 2_147_483_647);
  setDefault(spec, 'suspend', false);
  setDefault(
    spec,
    'podReplacementPolicy',
    spec['podFailurePolicy'] === undefined ? 'TerminatingOrFailed' : 'Failed',
  );
  defaultPodTemplate(ensureObject(spec, 'template'));
}

/** What the Job controller does not do. */
const refusedFields = [
  'podFailurePolicy',
  'successPolicy',
  'backoffLimitPerIndex',
  'maxFailedIndexes',
  'managedBy',
] as const;

/** Rules that Jobs and the templates of CronJobs share. */
export function validateJobSpec(spec: JsonObject, path: string): readonly FieldError[] {
  const errors: FieldError[] = [];
  for (const field of [
    'parallelism',
    'completions',
    'activeDeadlineSeconds',
    'backoffLimit',
    'ttlSecondsAfterFinished',
    'backoffLimitPerIndex',
    'maxFailedIndexes',
  ]) {
    const value = numberAt(spec, field);
    if (value !== undefined && value < 0) {
      errors.push(invalid(child(path, field), value, 'must be greater than or equal to 0'));
    }
  }
  const mode = stringAt(spec, 'completionMode');
  if (mode !== 'NonIndexed' && mode !== 'Indexed') {
    errors.push(notSupported(child(path, 'completionMode'), mode, ['NonIndexed', 'Indexed']));
  }
  if (mode === 'Indexed' && spec['completions'] === undefined) {
    errors.push(required(child(path, 'completions'), "when completion mode is 'Indexed'"));
  }
  const replacement = stringAt(spec, 'podReplacementPolicy');
  if (replacement !== 'Failed' && replacement !== 'TerminatingOrFailed') {
    errors.push(
      notSupported(child(path, 'podReplacementPolicy'), replacement, ['Failed', 'TerminatingOrFailed']),
    );
  }
  for (const field of refusedFields) {
    if (spec[field] === undefined) continue;
    // Accepted and ignored would be a Job that does something else than its manifest says.
    errors.push(
      invalid(child(path, field), spec[field], 'this server does not act on this field; leave it out'),
    );
  }
  const template = objectAt(spec, 'template') ?? {};
  errors.push(...validatePodTemplate(template, child(path, 'template')));
  const restart = stringAt(template, 'spec', 'restartPolicy');
  if (restart !== 'OnFailure' && restart !== 'Never') {
    errors.push(notSupported(child(path, 'template.spec.restartPolicy'), restart, ['OnFailure', 'Never']));
  }
  return errors;
}

function validateJob(job: JsonObject): readonly FieldError[] {
  const spec = objectAt(job, 'spec') ?? {};
  const errors: FieldError[] = [...validateJobSpec(spec, 'spec')];
  const selector = objectAt(spec, 'selector');
  if (selector === undefined) return [...errors, required('spec.selector')];
  const labels = stringMapAt(spec, 'template', 'metadata', 'labels');
  if (!matchesLabels(selectorOf(selector as LabelSelector) ?? [], labels)) {
    errors.push(
      invalid('spec.template.metadata.labels', labels, '`selector` does not match template `labels`'),
    );
  }
  return errors;
}

/** A Job that may still be unpaused can have its template scheduled differently; nothing else of it changes. */
function validateJobUpdate(job: JsonObject, old: JsonObject): readonly FieldError[] {
  const errors: FieldError[] = [];
  const spec = objectAt(job, 'spec') ?? {};
  const before = objectAt(old, 'spec') ?? {};
  const elastic = stringAt(spec, 'completionMode') === 'Indexed';
  for (const field of ['selector', 'completionMode', 'template', ...(elastic ? [] : ['completions'])]) {
    if (jsonEqual(spec[field], before[field])) continue;
    if (field === 'template' && boolAt(before, 'suspend')) continue;
    errors.push(invalid(child('spec', field), spec[field] ?? null, 'field is immutable'));
  }
  return errors;
}

/** The labels and the selector by which a Job knows its Pods, from its own uid. */
function giveSelector(job: JsonObject): void {
  const spec = ensureObject(job, 'spec');
  const uid = stringAt(job, 'metadata', 'uid');
  if (boolAt(spec, 'manualSelector') || uid === '') return;
  const labels = ensureObject(ensureObject(ensureObject(spec, 'template'), 'metadata'), 'labels');
  const name = stringAt(job, 'metadata', 'name');
  Object.assign(labels, {
    [jobUidLabel]: uid,
    'controller-uid': uid,
    [jobNameLabel]: name,
    'job-name': name,
  });
  if (objectAt(spec, 'selector') === undefined) spec['selector'] = { matchLabels: { [jobUidLabel]: uid } };
}

function read(object: JsonObject): Job {
  return object as unknown as Job;
}

function conditionOf(object: JsonObject, type: string): boolean {
  return objectsAt(object, 'status', 'conditions').some(
    (condition) => condition['type'] === type && condition['status'] === 'True',
  );
}

/** One word for how the Job is doing. */
function statusText(object: JsonObject): string {
  if (conditionOf(object, 'Complete')) return 'Complete';
  if (conditionOf(object, 'Failed')) return 'Failed';
  if (stringAt(object, 'metadata', 'deletionTimestamp') !== '') return 'Terminating';
  if (conditionOf(object, 'Suspended')) return 'Suspended';
  if (conditionOf(object, 'FailureTarget')) return 'FailureTarget';
  return conditionOf(object, 'SuccessCriteriaMet') ? 'SuccessCriteriaMet' : 'Running';
}

export const jobKind: Kind = defineKind({
  group: 'batch',
  version: 'v1',
  kind: 'Job',
  plural: 'jobs',
  namespaced: true,
  schema: 'batch/v1.Job',
  categories: ['all'],
  subresources: ['status'],
  countsGenerations: true,
  columns: [
    nameColumn,
    column('Status', 'How it is doing.', statusText),
    column('Completions', 'Pods that succeeded, of those needed.', (object) => {
      const { spec, status } = read(object);
      const done = status?.succeeded ?? 0;
      if (spec?.completions !== undefined) return `${done}/${spec.completions}`;
      const parallelism = spec?.parallelism ?? 0;
      return parallelism > 1 ? `${done}/1 of ${parallelism}` : `${done}/1`;
    }),
    column('Duration', 'How long it ran, or has been running.', (object, nowMs) => {
      const { status } = read(object);
      if (status?.startTime === undefined) return '';
      const end = status.completionTime === undefined ? nowMs : Date.parse(status.completionTime);
      return humanDuration(end - Date.parse(status.startTime));
    }),
    ageColumn,
    ...workloadWideColumns,
  ],
  setDefaults(job: JsonObject): void {
    const spec = ensureObject(job, 'spec');
    defaultJobSpec(spec);
    const metadata = ensureObject(job, 'metadata');
    const labels = stringMapAt(spec, 'template', 'metadata', 'labels');
    if (Object.keys(stringMapAt(metadata, 'labels')).length === 0 && Object.keys(labels).length > 0) {
      metadata['labels'] = { ...labels };
    }
  },
  prepareForCreate: giveSelector,
  validate: validateJob,
  validateUpdate: validateJobUpdate,
  selectableFields: (job) => ({
    'status.successful': String(numberAt(job, 'status', 'succeeded') ?? 0),
  }),
});
