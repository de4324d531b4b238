import { child, forbidden, index, invalid, required } from '../field-errors.ts';
import {
  boolAt,
  ensureObject,
  jsonEqual,
  objectAt,
  objectsAt,
  stringAt,
  stringMapAt,
  stringsAt,
} from '../fields.ts';
import type { Node } from '../gen/core-v1.ts';
import type { FieldError, Kind } from '../kind.ts';
import { cidrProblems, labelKeyProblems, labelValueProblems } from '../names.ts';
import type { JsonObject } from '../object.ts';
import { ageColumn, column, nameColumn, orNone, wideColumn } from './columns.ts';
import { oneOf } from './field-rules.ts';
import { defineKind } from './define.ts';

function read(object: JsonObject): Node {
  return object as unknown as Node;
}

function statusText(object: JsonObject): string {
  const node = read(object);
  const ready = (node.status?.conditions ?? []).find((condition) => condition.type === 'Ready');
  const state = ready === undefined ? 'Unknown' : ready.status === 'True' ? 'Ready' : 'NotReady';
  return node.spec?.unschedulable === true ? `${state},SchedulingDisabled` : state;
}

const rolePrefix = 'node-role.kubernetes.io/';
const roleLabel = 'kubernetes.io/role';

function rolesText(object: JsonObject): string {
  const labels = stringMapAt(object, 'metadata', 'labels');
  const roles = new Set<string>();
  for (const [key, value] of Object.entries(labels)) {
    if (key.startsWith(rolePrefix)) roles.add(key.slice(rolePrefix.length));
    else if (key === roleLabel && value !== '') roles.add(value);
  }
  roles.delete('');
  return orNone([...roles].toSorted().join(','));
}

function address(object: JsonObject, type: string): string {
  return orNone((read(object).status?.addresses ?? []).find((entry) => entry.type === type)?.address ?? '');
}

function orUnknown(text: string | undefined): string {
  return text === undefined || text === '' ? '<unknown>' : text;
}

function validateNode(node: JsonObject): readonly FieldError[] {
  const errors: FieldError[] = [];
  const cidrs = stringsAt(node, 'spec', 'podCIDRs');
  cidrs.forEach((cidr, position) => {
    const at = index('spec.podCIDRs', position);
    errors.push(...cidrProblems(cidr).map((problem) => invalid(at, cidr, problem)));
  });
  if (new Set(cidrs.map((cidr) => cidr.includes(':'))).size < cidrs.length) {
    errors.push(invalid('spec.podCIDRs', cidrs, 'may specify no more than one CIDR for each IP family'));
  }
  objectsAt(node, 'spec', 'taints').forEach((taint, position) => {
    const at = index('spec.taints', position);
    const key = stringAt(taint, 'key');
    const value = stringAt(taint, 'value');
    errors.push(...labelKeyProblems(key).map((problem) => invalid(child(at, 'key'), key, problem)));
    errors.push(...labelValueProblems(value).map((problem) => invalid(child(at, 'value'), value, problem)));
    if (stringAt(taint, 'effect') === '') errors.push(required(child(at, 'effect')));
    errors.push(...oneOf(taint, at, 'effect', ['NoSchedule', 'PreferNoSchedule', 'NoExecute']));
  });
  return errors;
}

/** An address range, once given to a node, stays its own. */
function validateNodeUpdate(node: JsonObject, old: JsonObject): readonly FieldError[] {
  const before = stringsAt(old, 'spec', 'podCIDRs');
  const now = stringsAt(node, 'spec', 'podCIDRs');
  const errors: FieldError[] = [];
  if (before.length > 0 && !jsonEqual([...before], [...now])) {
    errors.push(forbidden('spec.podCIDRs', 'node updates may not change podCIDR except from "" to valid'));
  }
  const provider = stringAt(old, 'spec', 'providerID');
  if (provider !== '' && provider !== stringAt(node, 'spec', 'providerID')) {
    errors.push(
      forbidden('spec.providerID', 'node updates may not change providerID except from "" to valid'),
    );
  }
  return errors;
}

export const nodeKind: Kind = defineKind({
  group: '',
  version: 'v1',
  kind: 'Node',
  plural: 'nodes',
  namespaced: false,
  schema: 'core/v1.Node',
  shortNames: ['no'],
  subresources: ['status', 'proxy'],
  columns: [
    nameColumn,
    column('Status', 'Whether the node can run Pods.', statusText),
    column('Roles', 'What the node is for.', rolesText),
    ageColumn,
    column(
      'Version',
      "The node agent's version.",
      (object) => read(object).status?.nodeInfo?.kubeletVersion ?? '',
    ),
    wideColumn('Internal-IP', 'Address inside the cluster.', (object) => address(object, 'InternalIP')),
    wideColumn('External-IP', 'Address outside the cluster.', (object) => address(object, 'ExternalIP')),
    wideColumn('OS-Image', 'Operating system.', (object) =>
      orUnknown(read(object).status?.nodeInfo?.osImage),
    ),
    wideColumn('Kernel-Version', 'Kernel.', (object) =>
      orUnknown(read(object).status?.nodeInfo?.kernelVersion),
    ),
    wideColumn('Container-Runtime', 'Container runtime and its version.', (object) =>
      orUnknown(read(object).status?.nodeInfo?.containerRuntimeVersion),
    ),
  ],
  setDefaults(node: JsonObject): void {
    const spec = ensureObject(node, 'spec');
    const [first] = stringsAt(spec, 'podCIDRs');
    const single = stringAt(spec, 'podCIDR');
    if (single !== '' && first === undefined) spec['podCIDRs'] = [single];
    else if (first !== undefined && single === '') spec['podCIDR'] = first;
  },
  createsWithStatus: true,
  validate: validateNode,
  validateUpdate: validateNodeUpdate,
  selectableFields: (node) => ({
    'spec.unschedulable': String(boolAt(objectAt(node, 'spec'), 'unschedulable')),
  }),
});
