import { child, forbidden, index, invalid, required, tooLong } from './field-errors.ts';
import { jsonEqual, objectAt, objectsAt, stringAt, stringMapAt, stringsAt } from './fields.ts';
import type { FieldError } from './kind.ts';
import {
  dns1035LabelProblems,
  dnsLabelProblems,
  dnsSubdomainProblems,
  labelKeyProblems,
  labelValueProblems,
  pathSegmentProblems,
} from './names.ts';
import type { JsonObject } from './object.ts';

/** Rules of metav1.ObjectMeta that every kind shares. */

export type NameRule = 'subdomain' | 'label' | 'label1035' | 'pathSegment';

const nameRules: Readonly<Record<NameRule, (name: string) => readonly string[]>> = {
  subdomain: dnsSubdomainProblems,
  label: dnsLabelProblems,
  label1035: dns1035LabelProblems,
  pathSegment: pathSegmentProblems,
};

/** All annotations of an object together, bytes. */
export const annotationBytesMax = 256 * 1024;

export function validateObjectMeta(
  object: JsonObject,
  rules: { readonly namespaced: boolean; readonly name: NameRule },
): readonly FieldError[] {
  const path = 'metadata';
  const meta = objectAt(object, path) ?? {};
  const errors: FieldError[] = [];
  const name = stringAt(meta, 'name');
  const generateName = stringAt(meta, 'generateName');
  const namespace = stringAt(meta, 'namespace');
  const nameProblems = nameRules[rules.name];
  if (generateName !== '') {
    // A trailing hyphen is what the random part attaches to.
    const probe = generateName.endsWith('-') ? `${generateName.slice(0, -1)}a` : generateName;
    errors.push(
      ...nameProblems(probe).map((problem) => invalid('metadata.generateName', generateName, problem)),
    );
  }
  if (name === '') errors.push(required('metadata.name', 'name or generateName is required'));
  else errors.push(...nameProblems(name).map((problem) => invalid('metadata.name', name, problem)));
  if (rules.namespaced) {
    if (namespace === '') errors.push(required('metadata.namespace'));
    else errors.push(...dnsLabelProblems(namespace).map((p) => invalid('metadata.namespace', namespace, p)));
  } else if (namespace !== '') {
    errors.push(forbidden('metadata.namespace', 'not allowed on this type'));
  }
  return [...errors, ...validateMetaTexts(object)];
}

/** What may change of metadata during an object's life; its names do not. */
export function validateMetaTexts(object: JsonObject): readonly FieldError[] {
  const meta = objectAt(object, 'metadata') ?? {};
  return [
    ...validateLabels(stringMapAt(meta, 'labels'), 'metadata.labels'),
    ...validateAnnotations(stringMapAt(meta, 'annotations'), 'metadata.annotations'),
    ...validateOwners(meta),
    ...validateFinalizers(meta),
  ];
}

export function validateLabels(
  labels: Readonly<Record<string, string>>,
  path: string,
): readonly FieldError[] {
  return Object.entries(labels).flatMap(([key, value]) => [
    ...labelKeyProblems(key).map((problem) => invalid(path, key, problem)),
    ...labelValueProblems(value).map((problem) => invalid(path, value, problem)),
  ]);
}

export function validateAnnotations(
  annotations: Readonly<Record<string, string>>,
  path: string,
): readonly FieldError[] {
  const errors = Object.keys(annotations).flatMap((key) =>
    labelKeyProblems(key.toLowerCase()).map((problem) => invalid(path, key, problem)),
  );
  const bytes = Object.entries(annotations).reduce(
    (sum, [key, value]) => sum + Buffer.byteLength(key) + Buffer.byteLength(value),
    0,
  );
  if (bytes > annotationBytesMax) errors.push(tooLong(path, annotationBytesMax));
  return errors;
}

function validateOwners(meta: JsonObject): readonly FieldError[] {
  const errors: FieldError[] = [];
  let controllers = 0;
  objectsAt(meta, 'ownerReferences').forEach((owner, position) => {
    const path = index('metadata.ownerReferences', position);
    if (stringAt(owner, 'apiVersion') === '') {
      errors.push(invalid(child(path, 'apiVersion'), '', 'version must not be empty'));
    }
    for (const field of ['kind', 'name', 'uid']) {
      if (stringAt(owner, field) === '') errors.push(invalid(child(path, field), '', 'must not be empty'));
    }
    if (owner['controller'] === true) controllers++;
  });
  if (controllers > 1) {
    errors.push(
      invalid('metadata.ownerReferences', null, 'Only one reference can have Controller set to true'),
    );
  }
  return errors;
}

const plainFinalizers: ReadonlySet<string> = new Set([
  'orphan',
  'foregroundDeletion',
  'kubernetes',
  'customresourcecleanup.apiextensions.k8s.io',
]);

function validateFinalizers(meta: JsonObject): readonly FieldError[] {
  const errors: FieldError[] = [];
  stringsAt(meta, 'finalizers').forEach((finalizer, position) => {
    const path = index('metadata.finalizers', position);
    errors.push(...labelKeyProblems(finalizer).map((problem) => invalid(path, finalizer, problem)));
    if (!finalizer.includes('/') && !plainFinalizers.has(finalizer)) {
      errors.push(
        invalid(path, finalizer, 'name is neither a standard finalizer name nor is it fully qualified'),
      );
    }
  });
  return errors;
}

const immutableMetaFields = ['name', 'namespace', 'uid', 'creationTimestamp', 'deletionTimestamp'] as const;

/** Between old and new: identity never changes, and nothing is added to keep alive what is being deleted. */
export function validateObjectMetaUpdate(object: JsonObject, old: JsonObject): readonly FieldError[] {
  const errors: FieldError[] = [];
  const meta = objectAt(object, 'metadata') ?? {};
  const oldMeta = objectAt(old, 'metadata') ?? {};
  for (const field of immutableMetaFields) {
    if (jsonEqual(meta[field], oldMeta[field])) continue;
    errors.push(invalid(`metadata.${field}`, meta[field] ?? null, 'field is immutable'));
  }
  if (oldMeta['deletionTimestamp'] !== undefined) {
    const before = new Set(stringsAt(oldMeta, 'finalizers'));
    const added = stringsAt(meta, 'finalizers').filter((finalizer) => !before.has(finalizer));
    if (added.length > 0) {
      errors.push(
        forbidden(
          'metadata.finalizers',
          `no new finalizers can be added if the object is being deleted, found new finalizers ${JSON.stringify(added)}`,
        ),
      );
    }
  }
  return errors;
}

/** A LabelSelector object under `path`. */
export function validateLabelSelector(selector: JsonObject | undefined, path: string): readonly FieldError[] {
  if (selector === undefined) return [];
  const errors: FieldError[] = [
    ...validateLabels(stringMapAt(selector, 'matchLabels'), child(path, 'matchLabels')),
  ];
  objectsAt(selector, 'matchExpressions').forEach((expression, position) => {
    const at = index(child(path, 'matchExpressions'), position);
    const operator = stringAt(expression, 'operator');
    const values = stringsAt(expression, 'values');
    if (operator === 'In' || operator === 'NotIn') {
      if (values.length === 0) {
        errors.push(required(child(at, 'values'), "must be specified when `operator` is 'In' or 'NotIn'"));
      }
    } else if (operator === 'Exists' || operator === 'DoesNotExist') {
      if (values.length > 0) {
        errors.push(
          forbidden(
            child(at, 'values'),
            "may not be specified when `operator` is 'Exists' or 'DoesNotExist'",
          ),
        );
      }
    } else {
      errors.push(invalid(child(at, 'operator'), operator, 'not a valid selector operator'));
    }
    const key = stringAt(expression, 'key');
    errors.push(...labelKeyProblems(key).map((problem) => invalid(child(at, 'key'), key, problem)));
    values.forEach((value, valuePosition) => {
      const valuePath = index(child(at, 'values'), valuePosition);
      errors.push(...labelValueProblems(value).map((problem) => invalid(valuePath, value, problem)));
    });
  });
  return errors;
}
