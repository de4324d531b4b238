import { child, invalid, notSupported, required, tooLong } from '../field-errors.ts';
import { boolAt, jsonEqual, numberAt, objectAt, stringAt, stringMapAt } from '../fields.ts';
import type { LabelSelector } from '../gen/meta-v1.ts';
import type { FieldError } from '../kind.ts';
import { matchesLabels, selectorOf } from '../labels.ts';
import { dnsLabelProblems, dnsSubdomainProblems } from '../names.ts';
import { validateLabelSelector } from '../object-meta.ts';
import type { JsonObject } from '../object.ts';
import { notNegative } from './field-rules.ts';
import { validateFailurePolicy, validateSuccessPolicy } from './job-policies.ts';
import { validatePodTemplate } from './pod-validation.ts';

/** Rules of Jobs, and of the templates of CronJobs. */

const parallelismMax = 100_000;
const failedIndexesMax = 100_000;
/** Beyond so many completions a status that lists failed indexes would grow too large. */
const completionsSoftMax = 100_000;
const parallelismOfManyMax = 10_000;
const failedIndexesOfManyMax = 10_000;
const managedByLengthMax = 63;

const counts = [
  'parallelism',
  'completions',
  'activeDeadlineSeconds',
  'backoffLimit',
  'ttlSecondsAfterFinished',
  'backoffLimitPerIndex',
  'maxFailedIndexes',
] as const;

/** Rules that Jobs and the templates of CronJobs share. */
export function validateJobSpec(spec: JsonObject, path: string): readonly FieldError[] {
  const errors: FieldError[] = counts.flatMap((field) => [...notNegative(spec, path, field)]);
  if (spec['maxFailedIndexes'] !== undefined && spec['backoffLimitPerIndex'] === undefined)
    errors.push(required(child(path, 'backoffLimitPerIndex'), 'when maxFailedIndexes is specified'));
  errors.push(...validateManager(spec, path));
  const mode = stringAt(spec, 'completionMode');
  if (mode === 'Indexed') errors.push(...validateIndexed(spec, path));
  else {
    if (mode !== 'NonIndexed')
      errors.push(notSupported(child(path, 'completionMode'), mode, ['NonIndexed', 'Indexed']));
    for (const field of ['backoffLimitPerIndex', 'maxFailedIndexes']) {
      if (spec[field] === undefined) continue;
      errors.push(invalid(child(path, field), spec[field], 'requires indexed completion mode'));
    }
  }
  errors.push(...validateFailurePolicy(spec, child(path, 'podFailurePolicy')));
  errors.push(...validateSuccessPolicy(spec, child(path, 'successPolicy')));
  errors.push(...validateReplacement(spec, path));
  const template = objectAt(spec, 'template') ?? {};
  errors.push(...validatePodTemplate(template, child(path, 'template')));
  return [...errors, ...validateRestart(spec, child(path, 'template.spec.restartPolicy'))];
}

function validateIndexed(spec: JsonObject, path: string): readonly FieldError[] {
  const errors: FieldError[] = [];
  const completions = numberAt(spec, 'completions');
  const parallelism = numberAt(spec, 'parallelism') ?? 1;
  const failed = numberAt(spec, 'maxFailedIndexes');
  const atParallelism = child(path, 'parallelism');
  const atFailed = child(path, 'maxFailedIndexes');
  if (completions === undefined)
    errors.push(required(child(path, 'completions'), 'when completion mode is Indexed'));
  if (parallelism > parallelismMax) {
    const detail = `must be less than or equal to ${parallelismMax} when completion mode is Indexed`;
    errors.push(invalid(atParallelism, parallelism, detail));
  }
  if (failed !== undefined && completions !== undefined && failed > completions)
    errors.push(invalid(atFailed, failed, 'must be less than or equal to completions'));
  if (failed !== undefined && failed > failedIndexesMax)
    errors.push(invalid(atFailed, failed, `must be less than or equal to ${failedIndexesMax}`));
  const isMany = (completions ?? 0) > completionsSoftMax && spec['backoffLimitPerIndex'] !== undefined;
  if (!isMany) return errors;
  const when = `when completions are above ${completionsSoftMax} and used with backoff limit per index`;
  if (failed === undefined)
    errors.push(required(atFailed, `must be specified when completions is above ${completionsSoftMax}`));
  if (parallelism > parallelismOfManyMax) {
    const detail = `must be less than or equal to ${parallelismOfManyMax} ${when}`;
    errors.push(invalid(atParallelism, parallelism, detail));
  }
  if (failed !== undefined && failed > failedIndexesOfManyMax)
    errors.push(invalid(atFailed, failed, `must be less than or equal to ${failedIndexesOfManyMax} ${when}`));
  return errors;
}

/** A controller of somebody else: `example.com/name`. */
function validateManager(spec: JsonObject, path: string): readonly FieldError[] {
  const manager = spec['managedBy'];
  if (typeof manager !== 'string') return [];
  const at = child(path, 'managedBy');
  const [domain = '', ...rest] = manager.split('/');
  const name = rest.join('/');
  const isPath = rest.length > 0 && /^[A-Za-z0-9/\-._~%!$&'()*+,;=:]+$/.test(name);
  const errors: FieldError[] = [];
  if (manager === '') errors.push(required(at));
  else if (!isPath || dnsSubdomainProblems(domain).length > 0)
    errors.push(invalid(at, manager, 'must be a domain-prefixed path (such as "acme.io/foo")'));
  if (manager.length > managedByLengthMax) errors.push(tooLong(at, managedByLengthMax));
  return errors;
}

function validateReplacement(spec: JsonObject, path: string): readonly FieldError[] {
  const policy = stringAt(spec, 'podReplacementPolicy');
  // What a failure means is known only when the Pod is over.
  const supported = spec['podFailurePolicy'] === undefined ? ['Failed', 'TerminatingOrFailed'] : ['Failed'];
  if (supported.includes(policy)) return [];
  return [notSupported(child(path, 'podReplacementPolicy'), policy, supported)];
}

function validateRestart(spec: JsonObject, path: string): readonly FieldError[] {
  const policy = stringAt(spec, 'template', 'spec', 'restartPolicy');
  if (policy === 'Always' || policy === '') return [required(path, 'valid values: "OnFailure", "Never"')];
  if (policy !== 'OnFailure' && policy !== 'Never')
    return [notSupported(path, policy, ['OnFailure', 'Never'])];
  if (policy === 'Never' || spec['podFailurePolicy'] === undefined) return [];
  return [invalid(path, policy, 'only "Never" is supported when podFailurePolicy is specified')];
}

export function validateJob(job: JsonObject): readonly FieldError[] {
  const spec = objectAt(job, 'spec') ?? {};
  const errors: FieldError[] = [...validateJobSpec(spec, 'spec')];
  const selector = objectAt(spec, 'selector');
  if (selector === undefined) errors.push(required('spec.selector'));
  else errors.push(...validateLabelSelector(selector, 'spec.selector'));
  const labels = stringMapAt(spec, 'template', 'metadata', 'labels');
  if (selector !== undefined && !matchesLabels(selectorOf(selector as LabelSelector) ?? [], labels)) {
    const detail = '`selector` does not match template `labels`';
    errors.push(invalid('spec.template.metadata.labels', labels, detail));
  }
  const completions = numberAt(spec, 'completions') ?? 0;
  if (stringAt(spec, 'completionMode') !== 'Indexed' || completions === 0) return errors;
  const name = stringAt(job, 'metadata', 'name');
  const hostname = `${name}-${completions - 1}`;
  if (name !== '' && dnsLabelProblems(hostname).length > 0) {
    const detail = `will not able to create pod with invalid DNS label: ${hostname}`;
    errors.push(invalid('metadata.name', name, detail));
  }
  return errors;
}

const fixedFields = [
  'selector',
  'completionMode',
  'podFailurePolicy',
  'backoffLimitPerIndex',
  'managedBy',
  'successPolicy',
] as const;

export function validateJobUpdate(job: JsonObject, old: JsonObject): readonly FieldError[] {
  const spec = objectAt(job, 'spec') ?? {};
  const before = objectAt(old, 'spec') ?? {};
  const errors: FieldError[] = [...validateCompletionsUpdate(spec, before)];
  // Before it has begun, a queue may still decide where a Job's Pods go.
  const isHeld = boolAt(before, 'suspend') && objectAt(old, 'status')?.['startTime'] === undefined;
  const template = (of: JsonObject) =>
    isHeld ? withoutPlace(objectAt(of, 'template') ?? {}) : objectAt(of, 'template');
  if (!jsonEqual(template(spec), template(before))) errors.push(fixed('template', spec));
  for (const field of fixedFields)
    if (!jsonEqual(spec[field], before[field])) errors.push(fixed(field, spec));
  return errors;
}

function fixed(field: string, spec: JsonObject): FieldError {
  return invalid(child('spec', field), spec[field] ?? null, 'field is immutable');
}

/** Indexed Jobs grow and shrink with their parallelism. */
function validateCompletionsUpdate(spec: JsonObject, before: JsonObject): readonly FieldError[] {
  if (jsonEqual(spec['completions'], before['completions'])) return [];
  if (stringAt(spec, 'completionMode') !== 'Indexed') return [fixed('completions', spec)];
  if (spec['completions'] === undefined || spec['completions'] === spec['parallelism']) return [];
  const detail = 'can only be modified in tandem with spec.parallelism';
  return [invalid('spec.completions', spec['completions'], detail)];
}

/** A template without what says where its Pods go. */
function withoutPlace(template: JsonObject): JsonObject {
  const { labels: _labels, annotations: _annotations, ...metadata } = objectAt(template, 'metadata') ?? {};
  const {
    nodeSelector: _selector,
    tolerations: _tolerations,
    schedulingGates: _gates,
    affinity: _affinity,
    ...spec
  } = objectAt(template, 'spec') ?? {};
  const { nodeAffinity: _nodes, ...affinity } = objectAt(template, 'spec', 'affinity') ?? {};
  return { ...template, metadata, spec: Object.keys(affinity).length === 0 ? spec : { ...spec, affinity } };
}
