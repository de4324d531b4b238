import { conversionReviewVersions } from '../custom/conversion-review.ts';
import { validateStructural } from '../custom/structural.ts';
import { child, duplicate, forbidden, index, invalid, notSupported, required } from '../field-errors.ts';
import { boolAt, ensureObject, objectAt, objectsAt, setDefault, stringAt, stringsAt } from '../fields.ts';
import { parseJsonPath, plainKeys } from '../json-path.ts';
import type { FieldError, Kind } from '../kind.ts';
import { dns1035LabelProblems, dnsSubdomainProblems } from '../names.ts';
import type { JsonObject } from '../object.ts';
import { column, nameColumn } from './columns.ts';
import { defineKind } from './define.ts';
import { defaultClientConfig, validateClientConfig } from './webhook-client.ts';

/** Holds a definition until its objects are gone. */
export const cleanupFinalizer = 'customresourcecleanup.apiextensions.k8s.io';

function defaultDefinition(definition: JsonObject): void {
  const spec = ensureObject(definition, 'spec');
  const names = ensureObject(spec, 'names');
  const kind = stringAt(names, 'kind');
  if (kind !== '') {
    setDefault(names, 'singular', kind.toLowerCase());
    setDefault(names, 'listKind', `${kind}List`);
  }
  setDefault(ensureObject(spec, 'conversion'), 'strategy', 'None');
  const webhook = objectAt(spec, 'conversion', 'webhook');
  if (webhook !== undefined) defaultClientConfig(webhook);
  if (spec['preserveUnknownFields'] === false) delete spec['preserveUnknownFields'];
  for (const version of objectsAt(spec, 'versions')) {
    const scale = objectAt(version, 'subresources', 'scale');
    if (scale !== undefined && scale['labelSelectorPath'] === '') delete scale['labelSelectorPath'];
  }
}

function validateDefinition(definition: JsonObject): readonly FieldError[] {
  const spec = objectAt(definition, 'spec') ?? {};
  const errors: FieldError[] = [];
  const group = stringAt(spec, 'group');
  const plural = stringAt(spec, 'names', 'plural');
  const name = stringAt(definition, 'metadata', 'name');
  if (group === '') errors.push(required('spec.group'));
  else if (!group.includes('.')) {
    errors.push(invalid('spec.group', group, 'should be a domain with at least one dot'));
  } else errors.push(...dnsSubdomainProblems(group).map((problem) => invalid('spec.group', group, problem)));
  if (name !== `${plural}.${group}`) {
    errors.push(invalid('metadata.name', name, 'must be spec.names.plural+"."+spec.group'));
  }
  const scope = stringAt(spec, 'scope');
  if (scope === '') errors.push(required('spec.scope'));
  else if (scope !== 'Namespaced' && scope !== 'Cluster') {
    errors.push(notSupported('spec.scope', scope, ['Cluster', 'Namespaced']));
  }
  errors.push(...validateNames(objectAt(spec, 'names') ?? {}));
  errors.push(...validateVersions(objectsAt(spec, 'versions')));
  errors.push(...validateConversion(objectAt(spec, 'conversion') ?? {}));
  if (boolAt(spec, 'preserveUnknownFields')) {
    errors.push(
      invalid(
        'spec.preserveUnknownFields',
        true,
        'cannot set to true, set x-kubernetes-preserve-unknown-fields to true in spec.versions[*].schema instead',
      ),
    );
  }
  return errors;
}

function validateConversion(conversion: JsonObject): readonly FieldError[] {
  const path = 'spec.conversion';
  const strategy = stringAt(conversion, 'strategy');
  const webhook = objectAt(conversion, 'webhook');
  if (strategy !== 'Webhook') {
    const errors =
      strategy === 'None' ? [] : [notSupported(`${path}.strategy`, strategy, ['None', 'Webhook'])];
    if (webhook === undefined) return errors;
    return [...errors, forbidden(`${path}.webhook`, 'should not be set when strategy is not set to Webhook')];
  }
  if (webhook === undefined) return [required(`${path}.webhook`, 'required when strategy is set to Webhook')];
  const versions = stringsAt(webhook, 'conversionReviewVersions');
  const known = conversionReviewVersions.join(', ');
  const place = `${path}.webhook.conversionReviewVersions`;
  return [
    ...validateClientConfig(webhook, `${path}.webhook`),
    ...(versions.length === 0 ? [required(place, `must specify one of ${known}`)] : []),
    ...(versions.length > 0 && !conversionReviewVersions.some((version) => versions.includes(version))
      ? [invalid(place, [...versions], `must include at least one of ${known}`)]
      : []),
  ];
}

function validateNames(names: JsonObject): readonly FieldError[] {
  const errors: FieldError[] = [];
  for (const field of ['plural', 'singular', 'kind', 'listKind']) {
    const value = stringAt(names, field);
    const path = child('spec.names', field);
    if (value === '') errors.push(required(path));
    else {
      const problems = dns1035LabelProblems(value.toLowerCase());
      errors.push(...problems.map((problem) => invalid(path, value, problem)));
    }
  }
  if (stringAt(names, 'kind') !== '' && stringAt(names, 'kind') === stringAt(names, 'listKind')) {
    errors.push(invalid('spec.names.listKind', names['listKind'], 'kind and listKind may not be the same'));
  }
  for (const field of ['shortNames', 'categories']) {
    stringsAt(names, field).forEach((value, at) => {
      const path = index(child('spec.names', field), at);
      errors.push(...dns1035LabelProblems(value).map((problem) => invalid(path, value, problem)));
    });
  }
  return errors;
}

function validateVersions(versions: readonly JsonObject[]): readonly FieldError[] {
  const errors: FieldError[] = [];
  const names = new Set<string>();
  versions.forEach((version, at) => {
    const path = index('spec.versions', at);
    const name = stringAt(version, 'name');
    if (name === '') errors.push(required(child(path, 'name')));
    else errors.push(...dns1035LabelProblems(name).map((p) => invalid(child(path, 'name'), name, p)));
    if (names.has(name)) errors.push(duplicate(child(path, 'name'), name));
    names.add(name);
    const schema = objectAt(version, 'schema', 'openAPIV3Schema');
    const schemaPath = child(path, 'schema.openAPIV3Schema');
    if (schema === undefined) errors.push(required(schemaPath, 'schemas are required'));
    else errors.push(...validateStructural(schema, schemaPath));
    errors.push(...validateColumns(version, path), ...validateScale(version, path));
  });
  if (versions.filter((version) => boolAt(version, 'storage')).length !== 1) {
    errors.push(
      invalid('spec.versions', [...names], 'must have exactly one version marked as storage version'),
    );
  }
  return errors;
}

const columnTypes = ['boolean', 'date', 'integer', 'number', 'string'];

function validateColumns(version: JsonObject, path: string): readonly FieldError[] {
  return objectsAt(version, 'additionalPrinterColumns').flatMap((entry, at) => {
    const errors: FieldError[] = [];
    const place = index(child(path, 'additionalPrinterColumns'), at);
    if (stringAt(entry, 'name') === '') errors.push(required(child(place, 'name')));
    const type = stringAt(entry, 'type');
    if (!columnTypes.includes(type)) errors.push(notSupported(child(place, 'type'), type, columnTypes));
    const text = stringAt(entry, 'jsonPath');
    if (text === '') errors.push(required(child(place, 'jsonPath')));
    else if (parseJsonPath(text) === undefined) {
      errors.push(invalid(child(place, 'jsonPath'), text, 'must be a simple JSON path such as .spec.size'));
    }
    return errors;
  });
}

function validateScale(version: JsonObject, path: string): readonly FieldError[] {
  const scale = objectAt(version, 'subresources', 'scale');
  if (scale === undefined) return [];
  const roots = { specReplicasPath: 'spec', statusReplicasPath: 'status', labelSelectorPath: '' };
  return Object.entries(roots).flatMap(([field, root]) => {
    const text = stringAt(scale, field);
    const place = child(path, `subresources.scale.${field}`);
    if (text === '') return field === 'labelSelectorPath' ? [] : [required(place)];
    const parsed = parseJsonPath(text);
    const keys = parsed === undefined ? undefined : plainKeys(parsed);
    if (keys === undefined || keys.length < 2) {
      return [invalid(place, text, 'must be a simple json path with dot notation')];
    }
    if (root !== '' && keys[0] !== root)
      return [invalid(place, text, `should be a json path under .${root}`)];
    return [];
  });
}

function validateDefinitionUpdate(definition: JsonObject, old: JsonObject): readonly FieldError[] {
  const errors: FieldError[] = [];
  for (const path of [['group'], ['scope'], ['names', 'kind'], ['names', 'plural']]) {
    const now = stringAt(definition, 'spec', ...path);
    if (now !== stringAt(old, 'spec', ...path)) {
      errors.push(invalid(`spec.${path.join('.')}`, now, 'field is immutable'));
    }
  }
  return [...errors, ...validateStoredVersions(definition)];
}

function validateStoredVersions(definition: JsonObject): readonly FieldError[] {
  const names = new Set(
    objectsAt(definition, 'spec', 'versions').map((version) => stringAt(version, 'name')),
  );
  return stringsAt(definition, 'status', 'storedVersions').flatMap((stored, at) =>
    names.has(stored)
      ? []
      : [invalid(index('status.storedVersions', at), stored, 'must appear in spec.versions')],
  );
}

export const customResourceDefinitionKind: Kind = defineKind({
  group: 'apiextensions.k8s.io',
  version: 'v1',
  kind: 'CustomResourceDefinition',
  plural: 'customresourcedefinitions',
  namespaced: false,
  schema: 'apiextensions/v1.CustomResourceDefinition',
  shortNames: ['crd', 'crds'],
  categories: ['api-extensions'],
  subresources: ['status'],
  countsGenerations: true,
  columns: [
    nameColumn,
    column('Created At', 'When it was made.', (object) => stringAt(object, 'metadata', 'creationTimestamp')),
  ],
  setDefaults: defaultDefinition,
  prepareForCreate(definition: JsonObject): void {
    const metadata = ensureObject(definition, 'metadata');
    const finalizers = stringsAt(metadata, 'finalizers');
    if (!finalizers.includes(cleanupFinalizer)) metadata['finalizers'] = [...finalizers, cleanupFinalizer];
  },
  validate: validateDefinition,
  validateUpdate: validateDefinitionUpdate,
  validateStatus: validateStoredVersions,
});
