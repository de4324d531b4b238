import { child, duplicate, forbidden, index, invalid, required, tooLong } from '../field-errors.ts';
import { boolAt, listAt, objectAt, stringAt } from '../fields.ts';
import type { FieldError } from '../kind.ts';
import { dnsLabelProblems, dnsSubdomainProblems } from '../names.ts';
import { isJsonObject, type JsonObject } from '../object.ts';
import { parseQuantity } from '../quantity.ts';
import { descendingPath, inRange, noBacksteps, oneOf, problemsAt } from './field-rules.ts';
import { validateClaimTemplate } from './persistentvolumeclaim.ts';
import {
  validateDownwardFiles,
  validateKeyItems,
  validateMode,
  validateProjected,
} from './pod-volume-files.ts';

/** Rules of a Pod's volumes. */

export type PodSubject = {
  /** Templates are filled in further before they become Pods: some rules wait for that. */
  readonly kind: 'pod' | 'template';
  /** Of a Pod: the claims of ephemeral volumes are called after it. */
  readonly name: string;
};

type SourceRules = (source: JsonObject, path: string, subject: PodSubject) => readonly FieldError[];

function needs(...fields: readonly string[]): SourceRules {
  return (source, path) =>
    fields.flatMap((field) => {
      const value = source[field];
      const isMissing = value === undefined || value === '' || (Array.isArray(value) && value.length === 0);
      return isMissing ? [required(child(path, field))] : [];
    });
}

/** Which disk of several a volume begins at. */
const partition: SourceRules = (source, path) => inRange(source, path, 'partition', { least: 0, most: 255 });

function all(...rules: readonly SourceRules[]): SourceRules {
  return (source, path, subject) => rules.flatMap((rule) => rule(source, path, subject));
}

const validateEmptyDir: SourceRules = (source, path) => {
  const limit = parseQuantity(stringAt(source, 'sizeLimit'));
  if (limit === undefined || limit.nanos >= 0n) return [];
  return [forbidden(child(path, 'sizeLimit'), 'SizeLimit field must be a valid resource quantity')];
};

const hostPathTypes = [
  '',
  'BlockDevice',
  'CharDevice',
  'Directory',
  'DirectoryOrCreate',
  'File',
  'FileOrCreate',
  'Socket',
] as const;

const validateHostPath: SourceRules = (source, path) => {
  const host = stringAt(source, 'path');
  if (host === '') return [required(child(path, 'path'))];
  return [...noBacksteps(child(path, 'path'), host), ...oneOf(source, path, 'type', hostPathTypes)];
};

const validateNfs: SourceRules = (source, path, subject) => {
  const errors = [...needs('server', 'path')(source, path, subject)];
  const folder = stringAt(source, 'path');
  if (!folder.startsWith('/')) errors.push(invalid(child(path, 'path'), folder, 'must be an absolute path'));
  return errors;
};

const validateIscsi: SourceRules = (source, path, subject) => {
  const errors = [...needs('targetPortal', 'iqn')(source, path, subject)];
  const iqn = stringAt(source, 'iqn');
  if (iqn !== '' && !/^(?:iqn|eui|naa)/.test(iqn)) {
    errors.push(invalid(child(path, 'iqn'), iqn, 'must be valid format starting with iqn, eui, or naa'));
  }
  errors.push(...inRange(source, path, 'lun', { least: 0, most: 255 }));
  const authenticates = boolAt(source, 'chapAuthDiscovery') || boolAt(source, 'chapAuthSession');
  if (authenticates && source['secretRef'] === undefined) errors.push(required(child(path, 'secretRef')));
  return errors;
};

const validateFibreChannel: SourceRules = (source, path) => {
  const names = listAt(source, 'targetWWNs');
  const ids = listAt(source, 'wwids');
  const at = child(path, 'targetWWNs');
  const errors: FieldError[] = [];
  if (names.length === 0 && ids.length === 0)
    errors.push(required(at, 'must specify either targetWWNs or wwids, but not both'));
  if (names.length > 0 && ids.length > 0)
    errors.push(invalid(at, names, 'targetWWNs and wwids can not be specified simultaneously'));
  if (names.length > 0 && source['lun'] === undefined)
    errors.push(required(child(path, 'lun'), 'lun is required if targetWWNs is specified'));
  return [...errors, ...inRange(source, path, 'lun', { least: 0, most: 255 })];
};

const validateFlocker: SourceRules = (source, path) => {
  const name = stringAt(source, 'datasetName');
  const id = stringAt(source, 'datasetUUID');
  if (name === '' && id === '') return [required(path, 'one of datasetName and datasetUUID is required')];
  if (name !== '' && id !== '') {
    const detail = 'datasetName and datasetUUID can not be specified simultaneously';
    return [invalid(path, 'resource', detail)];
  }
  return name.includes('/') ? [invalid(child(path, 'datasetName'), name, "must not contain '/'")] : [];
};

const driverNameLengthMax = 63;

const validateCsi: SourceRules = (source, path) => {
  const at = child(path, 'driver');
  const driver = stringAt(source, 'driver');
  const errors: FieldError[] = [];
  if (driver === '') errors.push(required(at));
  if (driver.length > driverNameLengthMax) errors.push(tooLong(at, driverNameLengthMax));
  errors.push(...dnsSubdomainProblems(driver.toLowerCase()).map((problem) => invalid(at, driver, problem)));
  const secret = objectAt(source, 'nodePublishSecretRef');
  if (secret === undefined) return errors;
  const name = stringAt(secret, 'name');
  if (name === '') return [...errors, required(child(path, 'nodePublishSecretRef.name'))];
  return [...errors, ...problemsAt(child(path, 'name'), name, dnsSubdomainProblems)];
};

const validateEphemeral: SourceRules = (source, path) => {
  const template = objectAt(source, 'volumeClaimTemplate');
  const at = child(path, 'volumeClaimTemplate');
  return template === undefined ? [required(at)] : validateClaimTemplate(template, at);
};

const pullPolicies = ['Always', 'IfNotPresent', 'Never'] as const;

const validateImage: SourceRules = (source, path, subject) => {
  const isMissing = subject.kind === 'pod' && stringAt(source, 'reference') === '';
  return [
    ...(isMissing ? [required(child(path, 'reference'))] : []),
    ...oneOf(source, path, 'pullPolicy', pullPolicies),
  ];
};

const validateConfigMap: SourceRules = (source, path, subject) => [
  ...needs('name')(source, path, subject),
  ...validateMode(source, path, 'defaultMode'),
  ...validateKeyItems(source, path),
];

const validateSecret: SourceRules = (source, path, subject) => [
  ...needs('secretName')(source, path, subject),
  ...validateMode(source, path, 'defaultMode'),
  ...validateKeyItems(source, path),
];

const validateGitRepo: SourceRules = (source, path, subject) => [
  ...needs('repository')(source, path, subject),
  ...descendingPath(child(path, 'directory'), stringAt(source, 'directory')),
];

const validateAzureDisk: SourceRules = (source, path, subject) => [
  ...needs('diskName', 'diskURI')(source, path, subject),
  ...oneOf(source, path, 'cachingMode', ['None', 'ReadOnly', 'ReadWrite']),
  ...oneOf(source, path, 'kind', ['Dedicated', 'Managed', 'Shared']),
];

/** Every kind of volume with its rules; those that no node of ours can mount are validated all the same. */
const sourceRules: Readonly<Record<string, SourceRules>> = {
  emptyDir: validateEmptyDir,
  hostPath: validateHostPath,
  gitRepo: validateGitRepo,
  gcePersistentDisk: all(needs('pdName'), partition),
  awsElasticBlockStore: all(needs('volumeID'), partition),
  secret: validateSecret,
  nfs: validateNfs,
  iscsi: validateIscsi,
  glusterfs: needs('endpoints', 'path'),
  flocker: validateFlocker,
  persistentVolumeClaim: needs('claimName'),
  rbd: needs('monitors', 'image'),
  cinder: needs('volumeID'),
  cephfs: needs('monitors'),
  quobyte: needs('registry', 'volume'),
  downwardAPI: (source, path) => [
    ...validateMode(source, path, 'defaultMode'),
    // Kubernetes tells of the files at the volume, without their place in the list.
    ...validateDownwardFiles(source, path),
  ],
  fc: validateFibreChannel,
  flexVolume: needs('driver'),
  configMap: validateConfigMap,
  azureFile: needs('secretName', 'shareName'),
  vsphereVolume: needs('volumePath'),
  photonPersistentDisk: needs('pdID'),
  portworxVolume: needs('volumeID'),
  azureDisk: validateAzureDisk,
  storageos: needs('volumeName'),
  projected: validateProjected,
  scaleIO: needs('gateway', 'system', 'volumeName'),
  csi: validateCsi,
  ephemeral: validateEphemeral,
  image: validateImage,
};

/** Rules of the source of a PersistentVolume, which has the fields of a Pod's volume of that kind. */
export function validateVolumeSource(kind: string, source: JsonObject, path: string): readonly FieldError[] {
  return sourceRules[kind]?.(source, path, { kind: 'template', name: '' }) ?? [];
}

/** `usable` collects the volumes without fault, which alone can be mounted. */
export function validateVolumes(
  volumes: readonly JsonObject[],
  path: string,
  subject: PodSubject,
  usable: Map<string, JsonObject>,
): readonly FieldError[] {
  const made = new Set(
    volumes.flatMap((volume) =>
      volume['ephemeral'] === undefined || subject.name === ''
        ? []
        : [`${subject.name}-${stringAt(volume, 'name')}`],
    ),
  );
  return volumes.flatMap((volume, position) => {
    const at = index(path, position);
    const name = stringAt(volume, 'name');
    const errors: FieldError[] = [...validateSources(volume, at, subject)];
    if (name === '') errors.push(required(child(at, 'name')));
    else errors.push(...problemsAt(child(at, 'name'), name, dnsLabelProblems));
    if (usable.has(name)) errors.push(duplicate(child(at, 'name'), name));
    if (errors.length === 0) usable.set(name, volume);
    const claim = stringAt(volume, 'persistentVolumeClaim', 'claimName');
    if (claim !== '' && made.has(claim)) {
      const detail = 'must not reference a PVC that gets created for an ephemeral volume';
      errors.push(invalid(child(at, 'persistentVolumeClaim.claimName'), claim, detail));
    }
    return errors;
  });
}

function validateSources(volume: JsonObject, path: string, subject: PodSubject): readonly FieldError[] {
  const [kind, ...others] = Object.keys(sourceRules).filter((key) => isJsonObject(volume[key]));
  if (kind === undefined) return [required(path, 'must specify a volume type')];
  const errors = [...(sourceRules[kind]?.(objectAt(volume, kind) ?? {}, child(path, kind), subject) ?? [])];
  errors.push(...others.map((key) => forbidden(child(path, key), 'may not specify more than 1 volume type')));
  if (kind === 'ephemeral' && subject.name !== '') {
    const claim = `${subject.name}-${stringAt(volume, 'name')}`;
    const problems = dnsSubdomainProblems(claim);
    errors.push(
      ...problems.map((problem) =>
        invalid(
          child(path, 'name'),
          stringAt(volume, 'name'),
          `PVC name ${JSON.stringify(claim)}: ${problem}`,
        ),
      ),
    );
  }
  return errors;
}
