import { admissionScope } from '../cel/expression.ts';
import { child, duplicate, index, invalid, notSupported, required } from '../field-errors.ts';
import { numberAt, objectsAt, setDefault, stringAt, stringsAt } from '../fields.ts';
import type { FieldError, Kind } from '../kind.ts';
import { dns1035LabelProblems, dnsSubdomainProblems } from '../names.ts';
import type { JsonObject } from '../object.ts';
import {
  defaultMatching,
  defaultRules,
  validateFailurePolicy,
  validateMatchConditions,
  validateMatching,
  validateRule,
} from './admission-rules.ts';
import { ageColumn, column, nameColumn } from './columns.ts';
import { defineKind } from './define.ts';
import { defaultClientConfig, validateClientConfig } from './webhook-client.ts';

/** The versions of AdmissionReview that are spoken. */
export const reviewVersions = ['v1', 'v1beta1'] as const;

function defaultWebhooks(configuration: JsonObject, mutating: boolean): void {
  for (const webhook of objectsAt(configuration, 'webhooks')) {
    setDefault(webhook, 'failurePolicy', 'Fail');
    setDefault(webhook, 'timeoutSeconds', 10);
    defaultMatching(webhook);
    if (mutating) setDefault(webhook, 'reinvocationPolicy', 'Never');
    defaultRules(objectsAt(webhook, 'rules'));
    defaultClientConfig(webhook);
  }
}

function validateWebhooks(configuration: JsonObject): readonly FieldError[] {
  const names = new Set<string>();
  return objectsAt(configuration, 'webhooks').flatMap((webhook, at) => {
    const path = index('webhooks', at);
    const name = stringAt(webhook, 'name');
    const errors = [...validateWebhook(webhook, path)];
    if (name !== '' && names.has(name)) errors.push(duplicate(child(path, 'name'), name));
    names.add(name);
    return errors;
  });
}

function validateWebhook(webhook: JsonObject, path: string): readonly FieldError[] {
  const errors: FieldError[] = [
    ...validateName(stringAt(webhook, 'name'), child(path, 'name')),
    ...objectsAt(webhook, 'rules').flatMap((rule, at) => validateRule(rule, index(child(path, 'rules'), at))),
    ...validateFailurePolicy(webhook, path),
    ...validateMatching(webhook, path),
    ...validateClientConfig(webhook, path),
    ...validateReviewVersions(webhook, path),
    ...validateMatchConditions(webhook, path, admissionScope({ authorizer: true })),
  ];
  const sideEffects = stringAt(webhook, 'sideEffects');
  if (sideEffects === '') {
    errors.push(required(child(path, 'sideEffects'), 'must specify one of None, NoneOnDryRun'));
  } else if (sideEffects !== 'None' && sideEffects !== 'NoneOnDryRun') {
    errors.push(notSupported(child(path, 'sideEffects'), sideEffects, ['None', 'NoneOnDryRun']));
  }
  const seconds = numberAt(webhook, 'timeoutSeconds') ?? 10;
  if (seconds < 1 || seconds > 30) {
    errors.push(
      invalid(child(path, 'timeoutSeconds'), seconds, 'the timeout value must be between 1 and 30 seconds'),
    );
  }
  const reinvocation = stringAt(webhook, 'reinvocationPolicy');
  if (reinvocation !== '' && reinvocation !== 'Never' && reinvocation !== 'IfNeeded') {
    errors.push(notSupported(child(path, 'reinvocationPolicy'), reinvocation, ['IfNeeded', 'Never']));
  }
  return errors;
}

function validateName(name: string, path: string): readonly FieldError[] {
  if (name === '') return [required(path)];
  const problems = dnsSubdomainProblems(name);
  if (problems.length > 0) return problems.map((problem) => invalid(path, name, problem));
  if (name.split('.').length >= 3) return [];
  return [invalid(path, name, 'should be a domain with at least three segments separated by dots')];
}

function validateReviewVersions(webhook: JsonObject, path: string): readonly FieldError[] {
  const place = child(path, 'admissionReviewVersions');
  const versions = stringsAt(webhook, 'admissionReviewVersions');
  const known = reviewVersions.join(', ');
  if (versions.length === 0) return [required(place, `must specify one of ${known}`)];
  const errors: FieldError[] = [];
  const seen = new Set<string>();
  versions.forEach((version, at) => {
    if (seen.has(version)) errors.push(invalid(index(place, at), version, 'duplicate version'));
    seen.add(version);
    errors.push(...dns1035LabelProblems(version).map((p) => invalid(index(place, at), version, p)));
  });
  if (!reviewVersions.some((version) => seen.has(version))) {
    errors.push(invalid(place, [...versions], `must include at least one of ${known}`));
  }
  return errors;
}

function configurationKind(kind: string, plural: string, mutating: boolean): Kind {
  return defineKind({
    group: 'admissionregistration.k8s.io',
    version: 'v1',
    kind,
    plural,
    namespaced: false,
    schema: `admissionregistration/v1.${kind}`,
    categories: ['api-extensions'],
    countsGenerations: true,
    columns: [
      nameColumn,
      column('Webhooks', 'How many it has.', (object) => objectsAt(object, 'webhooks').length, 'integer'),
      ageColumn,
    ],
    setDefaults: (configuration) => defaultWebhooks(configuration, mutating),
    validate: validateWebhooks,
  });
}

export const webhookConfigurationKinds: readonly Kind[] = [
  configurationKind('MutatingWebhookConfiguration', 'mutatingwebhookconfigurations', true),
  configurationKind('ValidatingWebhookConfiguration', 'validatingwebhookconfigurations', false),
];
