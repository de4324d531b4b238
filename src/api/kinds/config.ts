import { duplicate, forbidden, invalid, mapKey, required, tooLong } from '../field-errors.ts';
import {
  boolAt,
  ensureObject,
  jsonEqual,
  listAt,
  objectAt,
  setDefault,
  stringAt,
  stringMapAt,
} from '../fields.ts';
import type { FieldError, Kind } from '../kind.ts';
import { configKeyProblems } from '../names.ts';
import type { JsonObject } from '../object.ts';
import { ageColumn, column, nameColumn } from './columns.ts';
import { defineKind } from './define.ts';

/** All values of one ConfigMap or Secret together, bytes. */
const configBytesMax = 1024 * 1024;

function dataCount(object: JsonObject): number {
  return ['data', 'binaryData'].reduce(
    (sum, field) => sum + Object.keys(objectAt(object, field) ?? {}).length,
    0,
  );
}

function validateKeys(object: JsonObject, field: string): readonly FieldError[] {
  return Object.keys(objectAt(object, field) ?? {}).flatMap((key) =>
    configKeyProblems(key).map((problem) => invalid(mapKey(field, key), key, problem)),
  );
}

/** Base64 holds three bytes in four characters. */
function decodedLength(base64: string): number {
  const padding = base64.endsWith('==') ? 2 : base64.endsWith('=') ? 1 : 0;
  return (base64.length / 4) * 3 - padding;
}

function immutableErrors(
  object: JsonObject,
  old: JsonObject,
  fields: readonly string[],
): readonly FieldError[] {
  if (!boolAt(old, 'immutable')) return [];
  const errors: FieldError[] = [];
  if (!boolAt(object, 'immutable')) {
    errors.push(forbidden('immutable', 'field is immutable when `immutable` is set'));
  }
  for (const field of fields) {
    if (jsonEqual(object[field] ?? {}, old[field] ?? {})) continue;
    errors.push(forbidden(field, 'field is immutable when `immutable` is set'));
  }
  return errors;
}

export const configMapKind: Kind = defineKind({
  group: '',
  version: 'v1',
  kind: 'ConfigMap',
  plural: 'configmaps',
  namespaced: true,
  schema: 'core/v1.ConfigMap',
  shortNames: ['cm'],
  columns: [nameColumn, column('Data', 'Number of keys.', dataCount, 'string'), ageColumn],
  validate(configMap: JsonObject): readonly FieldError[] {
    const data = stringMapAt(configMap, 'data');
    const binary = stringMapAt(configMap, 'binaryData');
    const errors = [...validateKeys(configMap, 'data'), ...validateKeys(configMap, 'binaryData')];
    for (const key of Object.keys(data)) {
      if (Object.hasOwn(binary, key)) errors.push(duplicate(mapKey('data', key), key));
    }
    const bytes =
      Object.values(data).reduce((sum, value) => sum + Buffer.byteLength(value), 0) +
      Object.values(binary).reduce((sum, value) => sum + decodedLength(value), 0);
    if (bytes > configBytesMax) errors.push(tooLong('', configBytesMax));
    return errors;
  },
  validateUpdate: (configMap, old) => immutableErrors(configMap, old, ['data', 'binaryData']),
});

/** Keys that a typed Secret must have. */
const keysOfType: Readonly<Record<string, readonly string[]>> = {
  'kubernetes.io/tls': ['tls.crt', 'tls.key'],
  'kubernetes.io/dockerconfigjson': ['.dockerconfigjson'],
  'kubernetes.io/dockercfg': ['.dockercfg'],
  'kubernetes.io/ssh-auth': ['ssh-privatekey'],
};

function validateSecret(secret: JsonObject): readonly FieldError[] {
  const errors: FieldError[] = [...validateKeys(secret, 'data')];
  const data = stringMapAt(secret, 'data');
  const type = stringAt(secret, 'type');
  for (const key of keysOfType[type] ?? []) {
    if (!Object.hasOwn(data, key)) errors.push(required(mapKey('data', key)));
  }
  if (
    type === 'kubernetes.io/basic-auth' &&
    !Object.hasOwn(data, 'username') &&
    !Object.hasOwn(data, 'password')
  ) {
    errors.push(required('data[username]'), required('data[password]'));
  }
  if (type === 'kubernetes.io/service-account-token') {
    const account = 'kubernetes.io/service-account.name';
    if (stringAt(secret, 'metadata', 'annotations', account) === '') {
      errors.push(required(mapKey('metadata.annotations', account)));
    }
  }
  const bytes = Object.values(data).reduce((sum, value) => sum + decodedLength(value), 0);
  if (bytes > configBytesMax) errors.push(tooLong('data', configBytesMax));
  return errors;
}

export const secretKind: Kind = defineKind({
  group: '',
  version: 'v1',
  kind: 'Secret',
  plural: 'secrets',
  namespaced: true,
  schema: 'core/v1.Secret',
  columns: [
    nameColumn,
    column('Type', 'What the data is for.', (object) => stringAt(object, 'type')),
    column('Data', 'Number of keys.', dataCount, 'string'),
    ageColumn,
  ],
  setDefaults(secret: JsonObject): void {
    setDefault(secret, 'type', 'Opaque');
    const plain = stringMapAt(secret, 'stringData');
    if (Object.keys(plain).length > 0) {
      // Write-only convenience: stored as data, never read back.
      const data = ensureObject(secret, 'data');
      for (const [key, value] of Object.entries(plain))
        data[key] = Buffer.from(value, 'utf8').toString('base64');
    }
    delete secret['stringData'];
  },
  validate: validateSecret,
  validateUpdate(secret: JsonObject, old: JsonObject): readonly FieldError[] {
    const errors: FieldError[] = [...immutableErrors(secret, old, ['data'])];
    const type = stringAt(secret, 'type');
    if (type !== stringAt(old, 'type')) errors.push(invalid('type', type, 'field is immutable'));
    return errors;
  },
  selectableFields: (secret) => ({ type: stringAt(secret, 'type') }),
});

export const serviceAccountKind: Kind = defineKind({
  group: '',
  version: 'v1',
  kind: 'ServiceAccount',
  plural: 'serviceaccounts',
  namespaced: true,
  schema: 'core/v1.ServiceAccount',
  shortNames: ['sa'],
  subresources: ['token'],
  columns: [
    nameColumn,
    column(
      'Secrets',
      'Number of Secrets that its Pods may use.',
      (object) => listAt(object, 'secrets').length,
      'string',
    ),
    ageColumn,
  ],
});
