/**
 * Writes `src/api/gen/<group>-<version>.ts` (wire types) and `src/api/gen/schema.ts` (the same facts as data) from the
 * model tables that @kubernetes/client-node ships: field names, types and which fields are required.
 *
 * Run by hand when the Kubernetes version moves: `npm ci && npm run generate` in this folder. The output is committed,
 * so that a reader can see it and an install stays small.
 *
 * List and patch markers are not in those tables; they are kept by hand in `src/api/list-markers.ts`.
 */
import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const here = dirname(fileURLToPath(import.meta.url));
const models = join(here, 'node_modules/@kubernetes/client-node/dist/gen/models');
const out = join(here, '../../src/api/gen');

/** The roots to emit, by group and version. Everything that they refer to follows. */
const roots: Readonly<Record<string, readonly string[]>> = {
  'meta/v1': ['V1ObjectMeta', 'V1ListMeta', 'V1Status', 'V1DeleteOptions', 'V1LabelSelector', 'V1Condition'],
  'core/v1': [
    'V1Namespace', 'V1Node', 'V1Pod', 'V1PodTemplate', 'V1Service', 'V1Endpoints', 'V1ConfigMap', 'V1Secret', 'V1ServiceAccount', 'CoreV1Event',
    'V1PersistentVolume', 'V1PersistentVolumeClaim', 'V1ReplicationController', 'V1LimitRange', 'V1ResourceQuota', 'V1Binding', 'V1ComponentStatus',
  ],
  'apps/v1': ['V1Deployment', 'V1ReplicaSet', 'V1StatefulSet', 'V1DaemonSet', 'V1ControllerRevision'],
  'batch/v1': ['V1Job', 'V1CronJob'],
  'discovery/v1': ['V1EndpointSlice'],
  'networking/v1': ['V1Ingress', 'V1IngressClass', 'V1NetworkPolicy', 'V1ServiceCIDR', 'V1IPAddress'],
  'coordination/v1': ['V1Lease'],
  'rbac/v1': ['V1Role', 'V1ClusterRole', 'V1RoleBinding', 'V1ClusterRoleBinding'],
  'events/v1': ['EventsV1Event'],
  'policy/v1': ['V1PodDisruptionBudget', 'V1Eviction'],
  'autoscaling/v1': ['V1HorizontalPodAutoscaler', 'V1Scale'],
  'autoscaling/v2': ['V2HorizontalPodAutoscaler'],
  'storage/v1': ['V1StorageClass', 'V1VolumeAttachment', 'V1CSIDriver', 'V1CSINode', 'V1CSIStorageCapacity'],
  'scheduling/v1': ['V1PriorityClass'],
  'node/v1': ['V1RuntimeClass'],
  'admissionregistration/v1': [
    'V1MutatingWebhookConfiguration', 'V1ValidatingWebhookConfiguration', 'V1ValidatingAdmissionPolicy', 'V1ValidatingAdmissionPolicyBinding',
    'V1MutatingAdmissionPolicy', 'V1MutatingAdmissionPolicyBinding',
  ],
  'apiextensions/v1': ['V1CustomResourceDefinition'],
  'apiregistration/v1': ['V1APIService'],
  'authentication/v1': ['V1TokenReview', 'AuthenticationV1TokenRequest', 'V1SelfSubjectReview'],
  'authorization/v1': ['V1SubjectAccessReview', 'V1SelfSubjectAccessReview', 'V1LocalSubjectAccessReview', 'V1SelfSubjectRulesReview'],
  'certificates/v1': ['V1CertificateSigningRequest'],
  'flowcontrol/v1': ['V1FlowSchema', 'V1PriorityLevelConfiguration'],
};

/** Types that two groups use but no root of `meta/v1` reaches, or whose model name carries a group prefix. */
const home: Readonly<Record<string, string>> = {
  V1OwnerReference: 'meta/v1', V1ManagedFieldsEntry: 'meta/v1', V1Preconditions: 'meta/v1', V1StatusDetails: 'meta/v1', V1StatusCause: 'meta/v1',
  V1LabelSelectorRequirement: 'meta/v1', V1FieldSelectorRequirement: 'meta/v1', V1GroupVersionKind: 'meta/v1',
  V1TypedLocalObjectReference: 'core/v1', V1ObjectReference: 'core/v1', V1LocalObjectReference: 'core/v1', V1SecretReference: 'core/v1',
  V1NodeSelector: 'core/v1', V1NodeSelectorTerm: 'core/v1', V1NodeSelectorRequirement: 'core/v1', V1Toleration: 'core/v1',
  V1TopologySelectorTerm: 'core/v1', V1TopologySelectorLabelRequirement: 'core/v1', V1PodTemplateSpec: 'core/v1',
  V1PersistentVolumeClaimTemplate: 'core/v1', V1PersistentVolumeSpec: 'core/v1', V1PersistentVolumeClaim: 'core/v1',
};

type ModelField = { readonly name: string; readonly type: string; readonly format: string; readonly required: boolean; readonly nullable: boolean };
const readModel = (model: string): readonly ModelField[] => {
  const js = readFileSync(join(models, `${model}.js`), 'utf8');
  const dts = readFileSync(join(models, `${model}.d.ts`), 'utf8');
  const table = /attributeTypeMap = (\[[\s\S]*?\]);\n/.exec(js)?.[1];
  if (table === undefined) throw new Error(`${model}: no attributeTypeMap`);
  const rows = JSON.parse(table) as readonly { name: string; baseName: string; type: string; format: string }[];
  return rows.map((row) => ({
    name: row.baseName,
    type: row.type,
    format: row.format,
    required: new RegExp(`^\\s*'${row.name}': `, 'm').test(dts),
    nullable: false,
  }));
};

const known = new Set(readdirSync(models).filter((file) => file.endsWith('.js')).map((file) => file.slice(0, -3)));
const kindName = (model: string): string =>
  model.replace(/^(Core|Events|Discovery|Authentication|Storage|Rbac|Admissionregistration|Apiextensions|Apiregistration|Flowcontrol|Autoscaling)?V\d+(alpha\d+|beta\d+)?/, '');

/** `string`, `int32`, `[core/v1.Container]`, `{quantity}` …: see `src/api/schema.ts` for the grammar. */
const owner = new Map<string, string>();
const order: string[] = [];
const visit = (model: string, group: string): void => {
  if (owner.has(model)) return;
  owner.set(model, home[model] ?? group);
  order.push(model);
  for (const field of readModel(model)) for (const ref of refsOf(field.type)) visit(ref, home[ref] ?? owner.get(model) ?? group);
};
const refsOf = (type: string): readonly string[] => [...type.matchAll(/[A-Za-z0-9]+/g)].map((match) => match[0]).filter((word) => known.has(word));
for (const [group, names] of Object.entries(roots)) for (const name of names) visit(name, group);

const anyJson = new Set(['V1beta1JSON', 'any', 'object']);
const scalar = (type: string, format: string): string => {
  if (type === 'Date') return 'time';
  if (type === 'V1MicroTime') return 'microTime';
  if (type === 'IntOrString') return 'intOrString';
  if (type === 'boolean') return 'bool';
  if (type === 'number') return format === 'int64' ? 'int64' : format === 'double' ? 'double' : 'int32';
  if (type === 'string') return format === 'byte' ? 'bytes' : 'string';
  if (anyJson.has(type)) return 'any';
  throw new Error(`unknown scalar ${type} ${format}`);
};
const quantityMaps = new Set(['limits', 'requests', 'capacity', 'allocatable', 'hard', 'used', 'allocatedResources', 'overhead', 'podFixed', 'default', 'defaultRequest', 'max', 'min', 'maxLimitRequestRatio']);
const quantityFields = new Set(['sizeLimit', 'divisor', 'averageValue', 'value', 'capacity', 'maximumVolumeSize']);
const quantityOwners = new Set(['V1EmptyDirVolumeSource.sizeLimit', 'V1ResourceFieldSelector.divisor', 'V2MetricTarget.averageValue', 'V2MetricTarget.value', 'V2MetricValueStatus.averageValue', 'V2MetricValueStatus.value', 'V1CSIStorageCapacity.capacity', 'V1CSIStorageCapacity.maximumVolumeSize']);
const schemaType = (model: string, field: string, type: string, format: string): string => {
  const list = /^Array<(.*)>$/.exec(type);
  if (list?.[1] !== undefined) return `[${schemaType(model, field, list[1], format)}]`;
  const map = /^\{ \[key: string\]: (.*); \}$/.exec(type);
  if (map?.[1] !== undefined) {
    if (map[1] === 'string' && quantityMaps.has(field) && !(model === 'V1FlexPersistentVolumeSource')) return '{quantity}';
    return `{${schemaType(model, field, map[1], format)}}`;
  }
  if (type === 'V1MicroTime') return 'microTime';
  if (type === 'string' && quantityFields.has(field) && quantityOwners.has(`${model}.${field}`)) return 'quantity';
  if (known.has(type) && owner.has(type)) return `${owner.get(type)}.${kindName(type)}`;
  return scalar(type, format);
};

const tsOf = (schema: string, group: string): string => {
  if (schema.startsWith('[')) return `readonly ${wrap(tsOf(schema.slice(1, -1), group))}[]`;
  if (schema.startsWith('{')) return `{ readonly [key: string]: ${tsOf(schema.slice(1, -1), group)} }`;
  const dot = schema.lastIndexOf('.');
  if (dot !== -1) return schema.slice(dot + 1) === 'JSONSchemaProps' ? 'JSONSchemaProps' : schema.slice(dot + 1);
  switch (schema) {
    case 'string': case 'bytes': case 'time': case 'microTime': case 'quantity': return 'string';
    case 'int32': case 'int64': case 'double': return 'number';
    case 'bool': return 'boolean';
    case 'intOrString': return 'number | string';
    default: return 'unknown';
  }
};
const wrap = (type: string): string => (type.includes('|') || type.startsWith('readonly') ? `(${type})` : type);

rmSync(out, { recursive: true, force: true });
mkdirSync(out, { recursive: true });
const header = '// Written by tools/generate-api from the model tables of @kubernetes/client-node. Do not edit by hand.\n';
const schemas: string[] = [];
const groups = [...new Set(owner.values())].toSorted();
for (const group of groups) {
  const members = order.filter((model) => owner.get(model) === group && model !== 'V1MicroTime').toSorted((a, b) => (kindName(a) < kindName(b) ? -1 : 1));
  const imports = new Map<string, Set<string>>();
  const types: string[] = [];
  for (const model of members) {
    const fields = readModel(model);
    const lines = fields.map((field) => {
      const schema = schemaType(model, field.name, field.type, field.format);
      const ref = /[a-z]+\/v\d\.\w+/.exec(schema)?.[0];
      if (ref !== undefined) {
        const [refGroup, refName] = ref.split('.') as [string, string];
        if (refGroup !== group) imports.set(refGroup, (imports.get(refGroup) ?? new Set()).add(refName));
      }
      const key = /^[A-Za-z_]\w*$/.test(field.name) ? field.name : `'${field.name}'`;
      return { key, schema, required: field.required, ts: tsOf(schema, group) };
    });
    types.push(`export type ${kindName(model)} = {\n${lines.map((line) => `  readonly ${line.key}${line.required ? '' : '?'}: ${line.ts}${line.required || line.ts === 'unknown' ? '' : ' | undefined'};`).join('\n')}\n};\n`);
    schemas.push(`  '${group}.${kindName(model)}': {${lines.map((line) => ` ${line.key}: '${line.schema}${line.required ? '!' : ''}'`).join(',')} },`);
  }
  const importLines = [...imports].toSorted().map(([from, names]) => `import type { ${[...names].toSorted().join(', ')} } from './${from.replace('/', '-')}.ts';\n`);
  writeFileSync(join(out, `${group.replace('/', '-')}.ts`), `${header}${importLines.join('')}\n${types.join('\n')}`);
}
writeFileSync(
  join(out, 'schema.ts'),
  `${header}/** Type name ("core/v1.Service") to its fields. The grammar of a field is documented in src/api/schema.ts. */\nexport const schemaTable: Readonly<Record<string, Readonly<Record<string, string>>>> = {\n${schemas.toSorted().join('\n')}\n};\n`,
);
