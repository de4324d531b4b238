import { isTimeZone, parseCron } from '../cron.ts';
import { ageOf } from '../duration.ts';
import { invalid, notSupported, required } from '../field-errors.ts';
import { ensureObject, listAt, numberAt, objectAt, objectsAt, setDefault, stringAt } from '../fields.ts';
import type { FieldError, Kind } from '../kind.ts';
import type { JsonObject } from '../object.ts';
import { ageColumn, column, nameColumn, noneText, wideColumn } from './columns.ts';
import { defineKind } from './define.ts';
import { defaultJobSpec } from './job.ts';
import { validateJobSpec } from './job-validation.ts';

/** Names of Jobs are this name, a hyphen and ten digits, and must fit a label. */
const nameLengthMax = 52;

function validateCronJob(cronJob: JsonObject): readonly FieldError[] {
  const errors: FieldError[] = [];
  const spec = objectAt(cronJob, 'spec') ?? {};
  const name = stringAt(cronJob, 'metadata', 'name');
  if (name.length > nameLengthMax) {
    errors.push(invalid('metadata.name', name, 'must be no more than 52 characters'));
  }
  const schedule = stringAt(spec, 'schedule');
  if (schedule === '') errors.push(required('spec.schedule'));
  else if (schedule.includes('TZ=')) {
    errors.push(
      invalid('spec.schedule', schedule, 'cannot use TZ or CRON_TZ in schedule, use timeZone field instead'),
    );
  } else {
    const parsed = parseCron(schedule);
    if (typeof parsed === 'string') errors.push(invalid('spec.schedule', schedule, parsed));
  }
  const zone = spec['timeZone'];
  if (typeof zone === 'string') {
    if (zone === '') errors.push(invalid('spec.timeZone', zone, 'timeZone must be nil or non-empty string'));
    else if (zone === 'Local') {
      errors.push(
        invalid(
          'spec.timeZone',
          zone,
          'timeZone must be an explicit time zone as defined in https://www.iana.org/time-zones',
        ),
      );
    } else if (!isTimeZone(zone)) errors.push(invalid('spec.timeZone', zone, `unknown time zone ${zone}`));
  }
  for (const field of ['startingDeadlineSeconds', 'successfulJobsHistoryLimit', 'failedJobsHistoryLimit']) {
    const value = numberAt(spec, field);
    if (value !== undefined && value < 0) {
      errors.push(invalid(`spec.${field}`, value, 'must be greater than or equal to 0'));
    }
  }
  const policy = stringAt(spec, 'concurrencyPolicy');
  const policies = ['Allow', 'Forbid', 'Replace'];
  if (!policies.includes(policy)) errors.push(notSupported('spec.concurrencyPolicy', policy, policies));
  return [...errors, ...validateJobTemplate(objectAt(spec, 'jobTemplate', 'spec') ?? {})];
}

/** A selector of one Job would fit no other one, so each gets its own. */
function validateJobTemplate(spec: JsonObject): readonly FieldError[] {
  const path = 'spec.jobTemplate.spec';
  const errors: FieldError[] = [...validateJobSpec(spec, path)];
  if (spec['selector'] !== undefined)
    errors.push(invalid(`${path}.selector`, spec['selector'], '`selector` will be auto-generated'));
  if (spec['manualSelector'] === true)
    errors.push(notSupported(`${path}.manualSelector`, true, ['nil', 'false']));
  return errors;
}

function containerTexts(object: JsonObject, field: 'name' | 'image'): string {
  return objectsAt(object, 'spec', 'jobTemplate', 'spec', 'template', 'spec', 'containers')
    .map((container) => stringAt(container, field))
    .join(',');
}

export const cronJobKind: Kind = defineKind({
  group: 'batch',
  version: 'v1',
  kind: 'CronJob',
  plural: 'cronjobs',
  namespaced: true,
  schema: 'batch/v1.CronJob',
  shortNames: ['cj'],
  categories: ['all'],
  subresources: ['status'],
  countsGenerations: true,
  columns: [
    nameColumn,
    column('Schedule', 'When its Jobs start.', (object) => stringAt(object, 'spec', 'schedule')),
    column(
      'Timezone',
      'Where the schedule is read.',
      (object) => stringAt(object, 'spec', 'timeZone') || noneText,
    ),
    column(
      'Suspend',
      'Whether it pauses.',
      (object) => (objectAt(object, 'spec')?.['suspend'] === true ? 'True' : 'False'),
      'boolean',
    ),
    column('Active', 'Jobs that run now.', (object) => listAt(object, 'status', 'active').length, 'integer'),
    column('Last Schedule', 'Time since its last Job.', (object, nowMs) => {
      const last = stringAt(object, 'status', 'lastScheduleTime');
      return last === '' ? noneText : ageOf(last, nowMs);
    }),
    ageColumn,
    wideColumn('Containers', "Names of the template's containers.", (object) =>
      containerTexts(object, 'name'),
    ),
    wideColumn('Images', "Images of the template's containers.", (object) => containerTexts(object, 'image')),
    wideColumn('Selector', 'CronJobs have none.', () => noneText),
  ],
  setDefaults(cronJob: JsonObject): void {
    const spec = ensureObject(cronJob, 'spec');
    setDefault(spec, 'concurrencyPolicy', 'Allow');
    setDefault(spec, 'suspend', false);
    setDefault(spec, 'successfulJobsHistoryLimit', 3);
    setDefault(spec, 'failedJobsHistoryLimit', 1);
    const template = ensureObject(spec, 'jobTemplate');
    ensureObject(template, 'metadata');
    const job = ensureObject(template, 'spec');
    // The defaults of a Job's counts come when the Job is made, as in Kubernetes.
    const given = { ...job };
    defaultJobSpec(job);
    for (const field of [
      'completionMode',
      'completions',
      'parallelism',
      'backoffLimit',
      'suspend',
      'podReplacementPolicy',
    ]) {
      if (given[field] === undefined) delete job[field];
    }
  },
  validate(cronJob: JsonObject): readonly FieldError[] {
    const probe = structuredClone(cronJob);
    const job = objectAt(probe, 'spec', 'jobTemplate', 'spec');
    if (job !== undefined) defaultJobSpec(job);
    return validateCronJob(probe);
  },
});
