import { forbidden, notSupported, required } from '../field-errors.ts';
import {
  boolAt,
  jsonEqual,
  listAt,
  objectAt,
  objectsAt,
  setDefault,
  stringAt,
  stringsAt,
  ensureObject,
} from '../fields.ts';
import type { FieldError, Kind } from '../kind.ts';
import type { JsonObject } from '../object.ts';
import { ageColumn, column, nameColumn, orNone, wideColumn } from './columns.ts';
import { defineKind } from './define.ts';

/** storage.k8s.io: objects for drivers and provisioners that run in the cluster; this server provisions nothing itself. */

function fixed(...fields: readonly string[]) {
  return (object: JsonObject, old: JsonObject): readonly FieldError[] =>
    fields.flatMap((field) =>
      jsonEqual(object[field], old[field]) ? [] : [forbidden(field, `updates to ${field} are forbidden.`)],
    );
}

const storageClassKind: Kind = defineKind({
  group: 'storage.k8s.io',
  version: 'v1',
  kind: 'StorageClass',
  plural: 'storageclasses',
  namespaced: false,
  schema: 'storage/v1.StorageClass',
  shortNames: ['sc'],
  columns: [
    {
      ...nameColumn,
      cell(object): string {
        const marker = objectAt(object, 'metadata', 'annotations')?.[
          'storageclass.kubernetes.io/is-default-class'
        ];
        return `${stringAt(object, 'metadata', 'name')}${marker === 'true' ? ' (default)' : ''}`;
      },
    },
    column('Provisioner', 'Who makes its volumes.', (object) => stringAt(object, 'provisioner')),
    column('ReclaimPolicy', 'What happens to a volume when its claim goes.', (object) =>
      stringAt(object, 'reclaimPolicy'),
    ),
    column('VolumeBindingMode', 'When a volume is made.', (object) => stringAt(object, 'volumeBindingMode')),
    column(
      'AllowVolumeExpansion',
      'Whether claims may grow.',
      (object) => boolAt(object, 'allowVolumeExpansion'),
      'string',
    ),
    ageColumn,
  ],
  setDefaults(object: JsonObject): void {
    setDefault(object, 'reclaimPolicy', 'Delete');
    setDefault(object, 'volumeBindingMode', 'Immediate');
  },
  validate(object: JsonObject): readonly FieldError[] {
    const errors: FieldError[] = [];
    if (stringAt(object, 'provisioner') === '') errors.push(required('provisioner'));
    const policy = stringAt(object, 'reclaimPolicy');
    if (policy !== 'Delete' && policy !== 'Retain') {
      errors.push(notSupported('reclaimPolicy', policy, ['Delete', 'Retain']));
    }
    const mode = stringAt(object, 'volumeBindingMode');
    if (mode !== 'Immediate' && mode !== 'WaitForFirstConsumer') {
      errors.push(notSupported('volumeBindingMode', mode, ['Immediate', 'WaitForFirstConsumer']));
    }
    return errors;
  },
  validateUpdate: fixed('parameters', 'provisioner', 'reclaimPolicy', 'volumeBindingMode'),
});

const csiDriverKind: Kind = defineKind({
  group: 'storage.k8s.io',
  version: 'v1',
  kind: 'CSIDriver',
  plural: 'csidrivers',
  namespaced: false,
  schema: 'storage/v1.CSIDriver',
  countsGenerations: true,
  columns: [
    nameColumn,
    column(
      'AttachRequired',
      'Whether volumes are attached first.',
      (object) => boolAt(object, 'spec', 'attachRequired'),
      'boolean',
    ),
    column(
      'PodInfoOnMount',
      'Whether the driver is told of the Pod.',
      (object) => boolAt(object, 'spec', 'podInfoOnMount'),
      'boolean',
    ),
    column(
      'StorageCapacity',
      'Whether capacity is published.',
      (object) => boolAt(object, 'spec', 'storageCapacity'),
      'boolean',
    ),
    column('Modes', 'How its volumes are made.', (object) =>
      orNone(stringsAt(object, 'spec', 'volumeLifecycleModes').join(',')),
    ),
    ageColumn,
  ],
  setDefaults(object: JsonObject): void {
    const spec = ensureObject(object, 'spec');
    setDefault(spec, 'attachRequired', true);
    setDefault(spec, 'fsGroupPolicy', 'ReadWriteOnceWithFSType');
    setDefault(spec, 'podInfoOnMount', false);
    setDefault(spec, 'requiresRepublish', false);
    setDefault(spec, 'seLinuxMount', false);
    setDefault(spec, 'storageCapacity', false);
    if (listAt(spec, 'volumeLifecycleModes').length === 0) spec['volumeLifecycleModes'] = ['Persistent'];
  },
});

const csiNodeKind: Kind = defineKind({
  group: 'storage.k8s.io',
  version: 'v1',
  kind: 'CSINode',
  plural: 'csinodes',
  namespaced: false,
  schema: 'storage/v1.CSINode',
  columns: [
    nameColumn,
    column(
      'Drivers',
      'Drivers on the node.',
      (object) => objectsAt(object, 'spec', 'drivers').length,
      'integer',
    ),
    ageColumn,
  ],
});

const csiStorageCapacityKind: Kind = defineKind({
  group: 'storage.k8s.io',
  version: 'v1',
  kind: 'CSIStorageCapacity',
  plural: 'csistoragecapacities',
  namespaced: true,
  schema: 'storage/v1.CSIStorageCapacity',
  columns: [
    nameColumn,
    wideColumn('StorageClassName', 'What it is the capacity of.', (object) =>
      stringAt(object, 'storageClassName'),
    ),
    wideColumn('Capacity', 'What is left.', (object) => stringAt(object, 'capacity')),
  ],
  validate: (object) => (stringAt(object, 'storageClassName') === '' ? [required('storageClassName')] : []),
  validateUpdate: fixed('storageClassName', 'nodeTopology'),
});

const volumeAttachmentKind: Kind = defineKind({
  group: 'storage.k8s.io',
  version: 'v1',
  kind: 'VolumeAttachment',
  plural: 'volumeattachments',
  namespaced: false,
  schema: 'storage/v1.VolumeAttachment',
  subresources: ['status'],
  columns: [
    nameColumn,
    column('Attacher', 'The driver.', (object) => stringAt(object, 'spec', 'attacher')),
    column('PV', 'The volume.', (object) => stringAt(object, 'spec', 'source', 'persistentVolumeName')),
    column('Node', 'Where it is attached.', (object) => stringAt(object, 'spec', 'nodeName')),
    column('Attached', 'Whether it is.', (object) => boolAt(object, 'status', 'attached'), 'boolean'),
    ageColumn,
  ],
  validate(object: JsonObject): readonly FieldError[] {
    return ['attacher', 'nodeName'].flatMap((field) =>
      stringAt(object, 'spec', field) === '' ? [required(`spec.${field}`)] : [],
    );
  },
});

export const storageKinds: readonly Kind[] = [
  csiDriverKind,
  csiNodeKind,
  csiStorageCapacityKind,
  storageClassKind,
  volumeAttachmentKind,
];
