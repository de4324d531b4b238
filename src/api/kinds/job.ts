import {
  boolAt,
  ensureObject,
  numberAt,
  objectAt,
  objectsAt,
  setDefault,
  stringAt,
  stringMapAt,
} from '../fields.ts';
import type { Job } from '../gen/batch-v1.ts';
import { humanDuration } from '../duration.ts';
import type { Kind } from '../kind.ts';
import type { JsonObject } from '../object.ts';
import { ageColumn, column, nameColumn } from './columns.ts';
import { defineKind } from './define.ts';
import { validateJob, validateJobUpdate } from './job-validation.ts';
import { defaultPodTemplate } from './pod-defaults.ts';
import { workloadWideColumns } from './workload-columns.ts';
import { validateJobStatus } from './workload-status.ts';

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
  for (const rule of objectsAt(spec, 'podFailurePolicy', 'rules')) {
    for (const pattern of objectsAt(rule, 'onPodConditions')) setDefault(pattern, 'status', 'True');
  }
  defaultPodTemplate(ensureObject(spec, 'template'));
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
  validateStatus: validateJobStatus,
  selectableFields: (job) => ({
    'status.successful': String(numberAt(job, 'status', 'succeeded') ?? 0),
  }),
});
