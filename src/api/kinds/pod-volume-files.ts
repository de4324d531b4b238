import { child, forbidden, index, invalid, required } from '../field-errors.ts';
import { numberAt, objectAt, objectsAt, stringAt } from '../fields.ts';
import type { FieldError } from '../kind.ts';
import type { JsonObject } from '../object.ts';
import { validateFieldRef, validateResourceFieldRef } from './container-env.ts';
import { volumeFilePath } from './field-rules.ts';

/** Rules of volumes whose files come from the API: keys of objects, fields of the Pod, tokens. */

const modeMax = 0o777;

/** Permissions of a file; octal in YAML, decimal in JSON. */
export function validateMode(object: JsonObject, path: string, field: string): readonly FieldError[] {
  const mode = numberAt(object, field);
  if (mode === undefined || (mode >= 0 && mode <= modeMax)) return [];
  const detail = 'must be a number between 0 and 0777 (octal), both inclusive';
  return [invalid(child(path, field), mode, detail)];
}

/** `items` of a ConfigMap or Secret: which key becomes which file. */
export function validateKeyItems(source: JsonObject, path: string): readonly FieldError[] {
  return objectsAt(source, 'items').flatMap((item, position) => {
    const at = index(child(path, 'items'), position);
    const file = stringAt(item, 'path');
    return [
      ...(stringAt(item, 'key') === '' ? [required(child(at, 'key'))] : []),
      ...(file === '' ? [required(child(at, 'path'))] : []),
      ...volumeFilePath(child(at, 'path'), file),
      ...validateMode(item, at, 'mode'),
    ];
  });
}

/** `items` of the downward API. `path` is the volume's: Kubernetes does not say which entry is wrong. */
export function validateDownwardFiles(source: JsonObject, path: string): readonly FieldError[] {
  return objectsAt(source, 'items').flatMap((item) => {
    const errors: FieldError[] = [];
    const file = stringAt(item, 'path');
    if (file === '') errors.push(required(child(path, 'path')));
    errors.push(...volumeFilePath(child(path, 'path'), file));
    const field = objectAt(item, 'fieldRef');
    const resource = objectAt(item, 'resourceFieldRef');
    if (field !== undefined) {
      errors.push(...validateFieldRef(field, child(path, 'fieldRef'), 'file'));
      const detail = 'fieldRef and resourceFieldRef can not be specified simultaneously';
      if (resource !== undefined) errors.push(invalid(path, 'resource', detail));
    } else if (resource !== undefined) {
      errors.push(...validateResourceFieldRef(resource, child(path, 'resourceFieldRef'), 'file'));
    } else errors.push(required(path, 'one of fieldRef and resourceFieldRef is required'));
    return [...errors, ...validateMode(item, path, 'mode')];
  });
}

const projections = [
  'secret',
  'configMap',
  'downwardAPI',
  'serviceAccountToken',
  'clusterTrustBundle',
  'podCertificate',
] as const;

export function validateProjected(volume: JsonObject, path: string): readonly FieldError[] {
  const errors: FieldError[] = [...validateMode(volume, path, 'defaultMode')];
  const files = new Set<string>();
  objectsAt(volume, 'sources').forEach((source, position) => {
    const at = index(child(path, 'sources'), position);
    errors.push(...validateProjection(source, at, path));
    errors.push(...conflictingFiles(source, path, files));
    if (projections.filter((kind) => source[kind] !== undefined).length > 1)
      errors.push(forbidden(at, 'may not specify more than 1 volume type per source'));
  });
  return errors;
}

function validateProjection(source: JsonObject, at: string, volume: string): readonly FieldError[] {
  const errors: FieldError[] = [];
  for (const kind of ['secret', 'configMap']) {
    const object = objectAt(source, kind);
    if (object === undefined) continue;
    if (stringAt(object, 'name') === '') errors.push(required(child(child(at, kind), 'name')));
    errors.push(...validateKeyItems(object, child(at, kind)));
  }
  const downward = objectAt(source, 'downwardAPI');
  if (downward !== undefined) errors.push(...validateDownwardFiles(downward, child(at, 'downwardAPI')));
  const token = objectAt(source, 'serviceAccountToken');
  if (token !== undefined)
    errors.push(...validateToken(token, child(at, 'serviceAccountToken'), child(volume, 'path')));
  return errors;
}

const tokenSecondsMin = 600;
const tokenSecondsMax = 2 ** 32;

/** `atFile`: where Kubernetes tells of the token's file, which is not below its source. */
function validateToken(token: JsonObject, path: string, atFile: string): readonly FieldError[] {
  const errors: FieldError[] = [];
  const at = child(path, 'expirationSeconds');
  const seconds = numberAt(token, 'expirationSeconds') ?? tokenSecondsMin;
  if (seconds < tokenSecondsMin)
    errors.push(invalid(at, seconds, 'may not specify a duration less than 10 minutes'));
  if (seconds > tokenSecondsMax)
    errors.push(invalid(at, seconds, 'may not specify a duration larger than 2^32 seconds'));
  const file = stringAt(token, 'path');
  return [...errors, ...(file === '' ? [required(atFile)] : volumeFilePath(atFile, file))];
}

/** Two sources that write one file. */
function conflictingFiles(source: JsonObject, path: string, files: Set<string>): readonly FieldError[] {
  const errors: FieldError[] = [];
  for (const kind of ['secret', 'configMap', 'downwardAPI']) {
    for (const item of objectsAt(source, kind, 'items')) {
      const file = stringAt(item, 'path');
      if (file === '') continue;
      const shown = kind === 'downwardAPI' ? file : stringAt(source, kind, 'name');
      if (files.has(file)) errors.push(invalid(path, shown, 'conflicting duplicate paths'));
      files.add(file);
    }
  }
  return errors;
}
