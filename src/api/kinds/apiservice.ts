import { child, invalid, required } from '../field-errors.ts';
import { boolAt, numberAt, objectAt, objectsAt, setDefault, stringAt } from '../fields.ts';
import type { FieldError, Kind } from '../kind.ts';
import { dns1035LabelProblems, dnsSubdomainProblems, portNumberProblems } from '../names.ts';
import type { JsonObject } from '../object.ts';
import { ageColumn, column, nameColumn } from './columns.ts';
import { defineKind } from './define.ts';
import { validateBundle } from './webhook-client.ts';

const groupPriorityMax = 20_000;
const versionPriorityMax = 1000;

function validateApiService(object: JsonObject): readonly FieldError[] {
  const spec = objectAt(object, 'spec') ?? {};
  const group = stringAt(spec, 'group');
  const version = stringAt(spec, 'version');
  const name = stringAt(object, 'metadata', 'name');
  const errors: FieldError[] = [];
  if (name !== `${version}.${group}`) {
    errors.push(invalid('metadata.name', name, 'must be `spec.version+"."+spec.group`'));
  }
  if (group !== '') errors.push(...dnsSubdomainProblems(group).map((p) => invalid('spec.group', group, p)));
  else if (version !== 'v1')
    errors.push(required('spec.group', 'only v1 may have an empty group and it better be legacy kube'));
  if (version === '') errors.push(required('spec.version'));
  else errors.push(...dns1035LabelProblems(version).map((p) => invalid('spec.version', version, p)));
  errors.push(...validatePriority(spec, 'groupPriorityMinimum', groupPriorityMax));
  errors.push(...validatePriority(spec, 'versionPriority', versionPriorityMax));
  errors.push(...validateReach(spec));
  return errors;
}

function validatePriority(spec: JsonObject, field: string, max: number): readonly FieldError[] {
  const value = numberAt(spec, field) ?? 0;
  if (value > 0 && value <= max) return [];
  return [invalid(child('spec', field), value, `must be positive and less than ${max}`)];
}

function validateReach(spec: JsonObject): readonly FieldError[] {
  const service = objectAt(spec, 'service');
  const bundle = stringAt(spec, 'caBundle');
  const skips = boolAt(spec, 'insecureSkipTLSVerify');
  const errors: FieldError[] = [];
  if (service === undefined) {
    if (bundle !== '')
      errors.push(invalid('spec.caBundle', '<bundle>', 'local APIServices may not have a caBundle'));
    if (skips) {
      errors.push(
        invalid('spec.insecureSkipTLSVerify', true, 'local APIServices may not have insecureSkipTLSVerify'),
      );
    }
    return errors;
  }
  for (const field of ['namespace', 'name']) {
    if (stringAt(service, field) === '') errors.push(required(child('spec.service', field)));
  }
  const port = service['port'] ?? 443;
  errors.push(...portNumberProblems(port).map((p) => invalid('spec.service.port', port, p)));
  if (bundle !== '') errors.push(...validateBundle(bundle, 'spec.caBundle'));
  if (skips && bundle !== '') {
    errors.push(invalid('spec.insecureSkipTLSVerify', true, 'may not be true if caBundle is present'));
  }
  return errors;
}

function serviceText(object: JsonObject): string {
  const service = objectAt(object, 'spec', 'service');
  return service === undefined ? 'Local' : `${stringAt(service, 'namespace')}/${stringAt(service, 'name')}`;
}

function availableText(object: JsonObject): string {
  const condition = objectsAt(object, 'status', 'conditions').find(({ type }) => type === 'Available');
  if (condition === undefined) return 'Unknown';
  const status = stringAt(condition, 'status');
  return status === 'True' ? status : `${status} (${stringAt(condition, 'reason')})`;
}

export const apiServiceKind: Kind = defineKind({
  group: 'apiregistration.k8s.io',
  version: 'v1',
  kind: 'APIService',
  plural: 'apiservices',
  namespaced: false,
  schema: 'apiregistration/v1.APIService',
  nameRule: 'pathSegment',
  categories: ['api-extensions'],
  subresources: ['status'],
  columns: [
    nameColumn,
    column('Service', 'Who serves it.', serviceText),
    column('Available', 'Whether it answers.', availableText),
    ageColumn,
  ],
  setDefaults(object: JsonObject): void {
    const service = objectAt(object, 'spec', 'service');
    if (service !== undefined) setDefault(service, 'port', 443);
  },
  validate: validateApiService,
});

/** The condition of one that this server serves itself. */
export const localCondition = {
  type: 'Available',
  status: 'True',
  reason: 'Local',
  message: 'Local APIServices are always available',
} as const;
