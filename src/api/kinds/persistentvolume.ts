import { forbidden, invalid, notSupported, required } from '../field-errors.ts';
import { ensureObject, jsonEqual, objectAt, setDefault, stringAt, stringsAt } from '../fields.ts';
import type { FieldError, Kind } from '../kind.ts';
import { dnsSubdomainProblems } from '../names.ts';
import type { JsonObject } from '../object.ts';
import { parseQuantity } from '../quantity.ts';
import { typeNode } from '../schema.ts';
import { ageColumn, column, nameColumn, wideColumn } from './columns.ts';
import { defineKind } from './define.ts';
import { volumeFinalizer, protect } from './volume-finalizers.ts';
import { noBacksteps, oneOf, problemsAt } from './field-rules.ts';
import { validateNodeSelector } from './pod-placement.ts';
import { validateVolumeSource } from './pod-volumes.ts';
import { formatAccessModes, validateAccessModes } from './persistentvolumeclaim.ts';

const settings: ReadonlySet<string> = new Set([
  'accessModes',
  'capacity',
  'claimRef',
  'mountOptions',
  'nodeAffinity',
  'persistentVolumeReclaimPolicy',
  'storageClassName',
  'volumeAttributesClassName',
  'volumeMode',
]);

/** Fields of the spec that say where the data lies: `hostPath`, `local`, `nfs` and many more. */
export function volumeSourcesOf(spec: JsonObject): readonly string[] {
  const known = typeNode('core/v1.PersistentVolumeSpec')?.fields;
  return Object.keys(spec).filter((key) => known?.has(key) === true && !settings.has(key));
}

function validateVolume(volume: JsonObject, old?: JsonObject): readonly FieldError[] {
  // Statuses are written also of volumes that were accepted by other rules.
  if (old !== undefined && jsonEqual(volume['spec'], old['spec'])) return [];
  const spec = objectAt(volume, 'spec') ?? {};
  const errors: FieldError[] = [...validateAccessModes(stringsAt(spec, 'accessModes'), 'spec.accessModes')];
  const storage = stringAt(spec, 'capacity', 'storage');
  const quantity = parseQuantity(storage);
  if (storage === '') errors.push(required('spec.capacity'));
  else if (quantity === undefined || quantity.nanos <= 0n) {
    errors.push(invalid('spec.capacity[storage]', storage, 'must be greater than zero'));
  }
  const policy = stringAt(spec, 'persistentVolumeReclaimPolicy');
  const policies = ['Delete', 'Recycle', 'Retain'];
  if (!policies.includes(policy)) {
    errors.push(notSupported('spec.persistentVolumeReclaimPolicy', policy, policies));
  }
  const affinity = objectAt(spec, 'nodeAffinity');
  const at = 'spec.nodeAffinity.required';
  if (affinity !== undefined) {
    const selector = objectAt(affinity, 'required');
    if (selector === undefined) errors.push(required(at, 'must specify required node constraints'));
    else errors.push(...validateNodeSelector(selector, at));
  }
  const className = stringAt(spec, 'storageClassName');
  if (className !== '') errors.push(...problemsAt('spec.storageClassName', className, dnsSubdomainProblems));
  errors.push(...oneOf(spec, 'spec', 'volumeMode', ['Block', 'Filesystem']));
  return [...errors, ...validateSource(spec)];
}

function validateSource(spec: JsonObject): readonly FieldError[] {
  const [kind, second] = volumeSourcesOf(spec);
  if (kind === undefined) return [required('spec', 'must specify a volume type')];
  if (second !== undefined) return [forbidden(`spec.${second}`, 'may not specify more than 1 volume type')];
  const source = objectAt(spec, kind) ?? {};
  const path = `spec.${kind}`;
  const errors: FieldError[] = [...validateVolumeSource(kind, source, path)];
  if (kind === 'csi' && stringAt(source, 'volumeHandle') === '')
    errors.push(required(`${path}.volumeHandle`));
  if (kind !== 'local') return errors;
  const folder = stringAt(source, 'path');
  if (folder === '') errors.push(required(`${path}.path`));
  else errors.push(...noBacksteps(`${path}.path`, folder));
  if (objectAt(spec, 'nodeAffinity', 'required') === undefined)
    errors.push(required('spec.nodeAffinity', 'Local volume requires node affinity'));
  return errors;
}

/** Where the data lie, and who can reach them, is settled: who has bound a claim relies on it. */
function validateVolumeUpdate(volume: JsonObject, old: JsonObject): readonly FieldError[] {
  const spec = objectAt(volume, 'spec') ?? {};
  const before = objectAt(old, 'spec') ?? {};
  const errors: FieldError[] = [];
  const sources = new Set([...volumeSourcesOf(spec), ...volumeSourcesOf(before)]);
  if ([...sources].some((kind) => !jsonEqual(spec[kind], before[kind]))) {
    const detail = 'spec.persistentvolumesource is immutable after creation';
    errors.push(forbidden('spec.persistentvolumesource', detail));
  }
  if (!jsonEqual(spec['volumeMode'], before['volumeMode']))
    errors.push(invalid('volumeMode', spec['volumeMode'] ?? null, 'field is immutable'));
  const isPlaced = objectAt(before, 'nodeAffinity') !== undefined;
  if (isPlaced && !jsonEqual(spec['nodeAffinity'], before['nodeAffinity'])) {
    const detail = 'field is immutable, except for updating from beta label to GA';
    errors.push(invalid('spec.nodeAffinity', spec['nodeAffinity'] ?? null, detail));
  }
  return errors;
}

export const persistentVolumeKind: Kind = defineKind({
  group: '',
  version: 'v1',
  kind: 'PersistentVolume',
  plural: 'persistentvolumes',
  namespaced: false,
  schema: 'core/v1.PersistentVolume',
  shortNames: ['pv'],
  subresources: ['status'],
  columns: [
    nameColumn,
    column('Capacity', 'Its size.', (object) => stringAt(object, 'spec', 'capacity', 'storage')),
    column('Access Modes', 'How it can be mounted.', (object) =>
      formatAccessModes(stringsAt(object, 'spec', 'accessModes')),
    ),
    column('Reclaim Policy', 'What happens when its claim goes.', (object) =>
      stringAt(object, 'spec', 'persistentVolumeReclaimPolicy'),
    ),
    column('Status', 'Whether it has a claim.', (object) =>
      stringAt(object, 'metadata', 'deletionTimestamp') === ''
        ? stringAt(object, 'status', 'phase')
        : 'Terminating',
    ),
    column('Claim', 'The claim that has it.', (object) => {
      const claim = objectAt(object, 'spec', 'claimRef');
      return claim === undefined ? '' : `${stringAt(claim, 'namespace')}/${stringAt(claim, 'name')}`;
    }),
    column('StorageClass', 'The kind of storage.', (object) => stringAt(object, 'spec', 'storageClassName')),
    column(
      'VolumeAttributesClass',
      'Its attributes.',
      (object) => stringAt(object, 'spec', 'volumeAttributesClassName') || '<unset>',
    ),
    column('Reason', 'Why it is in this state.', (object) => stringAt(object, 'status', 'reason')),
    ageColumn,
    wideColumn('VolumeMode', 'Filesystem or Block.', (object) => stringAt(object, 'spec', 'volumeMode')),
  ],
  setDefaults(volume: JsonObject): void {
    const spec = ensureObject(volume, 'spec');
    setDefault(spec, 'persistentVolumeReclaimPolicy', 'Retain');
    setDefault(spec, 'volumeMode', 'Filesystem');
    const hostPath = objectAt(spec, 'hostPath');
    if (hostPath !== undefined) setDefault(hostPath, 'type', '');
  },
  prepareForCreate(volume: JsonObject): void {
    volume['status'] = { phase: 'Pending' };
    protect(volume, volumeFinalizer);
  },
  validate: validateVolume,
  validateUpdate: validateVolumeUpdate,
});
