import { child, forbidden, invalid, notSupported, required } from '../field-errors.ts';
import {
  ensureObject,
  jsonEqual,
  objectAt,
  setDefault,
  stringAt,
  stringMapAt,
  stringsAt,
} from '../fields.ts';
import type { FieldError, Kind } from '../kind.ts';
import { dnsSubdomainProblems } from '../names.ts';
import { validateAnnotations, validateLabels, validateLabelSelector } from '../object-meta.ts';
import type { JsonObject } from '../object.ts';
import { parseQuantity } from '../quantity.ts';
import { ageColumn, column, nameColumn, wideColumn } from './columns.ts';
import { defineKind } from './define.ts';
import { claimFinalizer, protect } from './volume-finalizers.ts';
import { oneOf, problemsAt } from './field-rules.ts';

export const accessModes: Readonly<Record<string, string>> = {
  ReadWriteOnce: 'RWO',
  ReadOnlyMany: 'ROX',
  ReadWriteMany: 'RWX',
  ReadWriteOncePod: 'RWOP',
};

/** "RWO,ROX": as kubectl shows access modes. */
export function formatAccessModes(modes: readonly string[]): string {
  return Object.entries(accessModes)
    .filter(([mode]) => modes.includes(mode))
    .map(([, short]) => short)
    .join(',');
}

export function validateAccessModes(modes: readonly string[], path: string): readonly FieldError[] {
  if (modes.length === 0) return [required(path, 'at least 1 access mode is required')];
  const errors = modes
    .filter((mode) => accessModes[mode] === undefined)
    .map((mode) => notSupported(path, mode, Object.keys(accessModes)));
  if (modes.includes('ReadWriteOncePod') && modes.length > 1) {
    errors.push(forbidden(path, 'may not use ReadWriteOncePod with other access modes'));
  }
  return errors;
}

export function defaultClaimSpec(spec: JsonObject): void {
  setDefault(spec, 'volumeMode', 'Filesystem');
}

function validateClaimSpec(spec: JsonObject, path: string): readonly FieldError[] {
  const at = child(path, 'accessModes');
  const errors: FieldError[] = [...validateAccessModes(stringsAt(spec, 'accessModes'), at)];
  errors.push(...validateLabelSelector(objectAt(spec, 'selector'), child(path, 'selector')));
  const storage = stringAt(spec, 'resources', 'requests', 'storage');
  const quantity = parseQuantity(storage);
  if (storage === '') errors.push(required(child(path, 'resources[storage]')));
  else if (quantity === undefined || quantity.nanos <= 0n) {
    errors.push(invalid(child(path, 'resources.requests[storage]'), storage, 'must be greater than zero'));
  }
  const className = stringAt(spec, 'storageClassName');
  if (className !== '')
    errors.push(...problemsAt(child(path, 'storageClassName'), className, dnsSubdomainProblems));
  return [...errors, ...oneOf(spec, path, 'volumeMode', ['Block', 'Filesystem'])];
}

/** The template of a claim that is made for one Pod: `ephemeral` volumes. */
export function validateClaimTemplate(template: JsonObject, path: string): readonly FieldError[] {
  const at = child(path, 'metadata');
  const { labels: _labels, annotations: _annotations, ...others } = objectAt(template, 'metadata') ?? {};
  return [
    ...validateAnnotations(stringMapAt(template, 'metadata', 'annotations'), child(at, 'annotations')),
    ...validateLabels(stringMapAt(template, 'metadata', 'labels'), child(at, 'labels')),
    ...Object.keys(others).map((field) => forbidden(child(at, field), 'cannot be set')),
    ...validateClaimSpec(objectAt(template, 'spec') ?? {}, child(path, 'spec')),
  ];
}

function validateClaimUpdate(claim: JsonObject, old: JsonObject): readonly FieldError[] {
  const fixed = (object: JsonObject): JsonObject => {
    const {
      resources: _resources,
      volumeAttributesClassName: _class,
      ...rest
    } = objectAt(object, 'spec') ?? {};
    return rest;
  };
  const before = fixed(old);
  // Binding is one change for the better: a claim gets its volume, and its class where it left it open.
  if (stringAt(before, 'volumeName') === '') {
    delete before['volumeName'];
    const now = fixed(claim);
    delete now['volumeName'];
    if (before['storageClassName'] === undefined) delete now['storageClassName'];
    if (jsonEqual(now, before)) return [];
  } else if (jsonEqual(fixed(claim), before)) return [];
  return [
    forbidden(
      'spec',
      'spec is immutable after creation except resources.requests and volumeAttributesClassName for bound claims',
    ),
  ];
}

export const persistentVolumeClaimKind: Kind = defineKind({
  group: '',
  version: 'v1',
  kind: 'PersistentVolumeClaim',
  plural: 'persistentvolumeclaims',
  namespaced: true,
  schema: 'core/v1.PersistentVolumeClaim',
  shortNames: ['pvc'],
  subresources: ['status'],
  columns: [
    nameColumn,
    column('Status', 'Whether it has a volume.', (object) =>
      stringAt(object, 'metadata', 'deletionTimestamp') === ''
        ? stringAt(object, 'status', 'phase')
        : 'Terminating',
    ),
    column('Volume', 'The volume that it has.', (object) => stringAt(object, 'spec', 'volumeName')),
    column('Capacity', 'Size of the volume.', (object) => stringAt(object, 'status', 'capacity', 'storage')),
    column('Access Modes', 'How the volume can be mounted.', (object) =>
      formatAccessModes(stringsAt(object, 'status', 'accessModes')),
    ),
    column('StorageClass', 'The kind of storage asked for.', (object) =>
      stringAt(object, 'spec', 'storageClassName'),
    ),
    column(
      'VolumeAttributesClass',
      'Attributes asked for.',
      (object) => stringAt(object, 'spec', 'volumeAttributesClassName') || '<unset>',
    ),
    ageColumn,
    wideColumn('VolumeMode', 'Filesystem or Block.', (object) => stringAt(object, 'spec', 'volumeMode')),
  ],
  setDefaults(claim: JsonObject): void {
    defaultClaimSpec(ensureObject(claim, 'spec'));
  },
  prepareForCreate(claim: JsonObject): void {
    claim['status'] = { phase: 'Pending' };
    protect(claim, claimFinalizer);
  },
  validate: (claim) => validateClaimSpec(objectAt(claim, 'spec') ?? {}, 'spec'),
  validateUpdate: validateClaimUpdate,
});
