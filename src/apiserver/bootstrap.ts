import { randomUUID, X509Certificate } from 'node:crypto';
import { jsonEqual, objectAt, stringsAt } from '../api/fields.ts';
import {
  type FlowControlObject,
  mandatoryFlowSchemas,
  mandatoryPriorityLevels,
  suggestedFlowSchemas,
  suggestedPriorityLevels,
} from '../api/kinds/flowcontrol-objects.ts';
import type { AggregationRule, ClusterRole, PolicyRule } from '../api/gen/rbac-v1.ts';
import type { Json, JsonObject } from '../api/object.ts';
import { systemPriorities } from '../api/kinds/scheduling.ts';
import { serviceCidrFinalizer, serviceCidrKind } from '../api/kinds/servicecidr.ts';
import { kindNamed } from '../api/registry.ts';
import { aggregatedRules } from '../api/role-aggregation.ts';
import { assert } from '../base/assert.ts';
import { rfc3339 } from '../base/clock.ts';
import { cidrAddress, formatIp, parseCidr } from '../base/ip.ts';
import type { Entry } from '../store/store.ts';
import { type BootstrapRole, bootstrapBindings, bootstrapRoles } from './bootstrap-roles.ts';
import { ensureLocal } from './aggregation/run.ts';
import type { ApiContext } from './context.ts';
import { companionsOf } from './namespaces.ts';
import { keyOfObject, parseEntry, templateOf } from './objects.ts';

/** An object that must be there before anybody asks. */
type Wanted = {
  readonly group: string;
  readonly kind: string;
  readonly namespace: string;
  readonly name: string;
  readonly labels?: Readonly<Record<string, string>>;
  readonly finalizers?: readonly string[];
  readonly rest: JsonObject;
  /** Fields that only a new object gets, because others keep them afterwards. */
  readonly initial?: JsonObject;
  /** `keep`: what exists stays as it is. `restore`: the named fields are set right again at every start. */
  readonly existing: 'keep' | 'restore';
};

const namespaces = ['default', 'kube-system', 'kube-public', 'kube-node-lease'];

/** Makes sure of the namespaces, RBAC and the Service that leads to this server: one commit, nothing when all is there. */
export async function bootstrap(context: ApiContext, advertisePort: number): Promise<void> {
  const wanted = [
    ...namespaces.map(namespaceObject),
    ...rbacObjects(),
    ...extensionObjects(context),
    ...serviceObjects(context, advertisePort),
    ...priorityObjects(),
    ...flowControlObjects(),
  ];
  const writes: Promise<Entry>[] = [];
  for (const item of wanted) writes.push(...ensure(context, item));
  await Promise.all([...writes, ensureLocal(context)]);
}

function ensure(context: ApiContext, wanted: Wanted): readonly Promise<Entry>[] {
  const kind = kindNamed(wanted.group, 'v1', wanted.kind);
  assert(kind !== undefined, `${wanted.kind} is in the registry`);
  const key = keyOfObject(kind, wanted.namespace, wanted.name);
  const entry = context.store.get(key);
  if (entry !== undefined) {
    if (wanted.existing === 'keep') return [];
    const old = parseEntry(entry);
    const object: JsonObject = { ...old, ...structuredClone(wanted.rest) };
    const labels = { ...objectAt(old, 'metadata', 'labels'), ...wanted.labels };
    object['metadata'] = { ...old.metadata, ...(Object.keys(labels).length === 0 ? {} : { labels }) };
    kind.setDefaults?.(object);
    if (jsonEqual(object, old)) return [];
    return [context.store.put(key, templateOf(kind, object), entry.revision)];
  }
  const object: JsonObject = {
    metadata: {
      name: wanted.name,
      ...(wanted.namespace === '' ? {} : { namespace: wanted.namespace }),
      uid: randomUUID(),
      creationTimestamp: rfc3339(context.clock.nowMs()),
      ...(wanted.labels === undefined ? {} : { labels: { ...wanted.labels } }),
      ...(wanted.finalizers === undefined ? {} : { finalizers: [...wanted.finalizers] }),
    },
    ...structuredClone(wanted.rest),
    ...structuredClone(wanted.initial ?? {}),
  };
  kind.setDefaults?.(object);
  const companions = companionsOf(context, kind, object).filter(
    (companion) => context.store.get(companion.key) === undefined,
  );
  return [
    context.store.put(key, templateOf(kind, object), 0),
    ...companions.map((companion) => context.store.put(companion.key, companion.value, 0)),
  ];
}

function namespaceObject(name: string): Wanted {
  return {
    group: '',
    kind: 'Namespace',
    namespace: '',
    name,
    labels: { 'kubernetes.io/metadata.name': name },
    rest: { spec: { finalizers: ['kubernetes'] }, status: { phase: 'Active' } },
    existing: 'keep',
  };
}

const rbacGroup = 'rbac.authorization.k8s.io';
const rbacLabels = { 'kubernetes.io/bootstrapping': 'rbac-defaults' };

function rbacObjects(): readonly Wanted[] {
  const roles = bootstrapRoles.map((role): Wanted => {
    const { name, labels, aggregates } = role;
    return {
      group: rbacGroup,
      kind: 'ClusterRole',
      namespace: '',
      name,
      labels: { ...rbacLabels, ...labels },
      ...(aggregates === undefined
        ? { rest: { rules: jsonOf(role.rules) } }
        : {
            rest: { aggregationRule: jsonOf(aggregationRule(aggregates)) },
            // Right from the start; from then on a controller keeps them.
            initial: { rules: jsonOf(initialRules(role)) },
          }),
      existing: 'restore',
    };
  });
  const bindings = bootstrapBindings.map(({ name, role, subjects, namespace }): Wanted => {
    return {
      group: rbacGroup,
      kind: namespace === undefined ? 'ClusterRoleBinding' : 'RoleBinding',
      namespace: namespace ?? '',
      name,
      labels: rbacLabels,
      rest: {
        roleRef: { apiGroup: rbacGroup, kind: 'ClusterRole', name: role },
        subjects: structuredClone(subjects) as unknown as JsonObject[],
      },
      // Administrators add subjects to these; that must outlive a restart.
      existing: 'keep',
    };
  });
  return [...roles, ...bindings];
}

/** How servers of aggregated APIs recognise this one and learn who asks. */
function extensionObjects({ config: { pki } }: ApiContext): readonly Wanted[] {
  const namespace = 'kube-system';
  const name = 'extension-apiserver-authentication';
  const common = new X509Certificate(pki.kubeletClientCert).subject;
  const commonName = /^CN=(.*)$/m.exec(common)?.[1] ?? '';
  const rule = {
    apiGroups: [''],
    resources: ['configmaps'],
    resourceNames: [name],
    verbs: ['get', 'list', 'watch'],
  };
  const data = {
    'client-ca-file': pki.caCert,
    'requestheader-client-ca-file': pki.caCert,
    'requestheader-allowed-names': JSON.stringify([commonName]),
    'requestheader-username-headers': '["X-Remote-User"]',
    'requestheader-uid-headers': '["X-Remote-Uid"]',
    'requestheader-group-headers': '["X-Remote-Group"]',
    'requestheader-extra-headers-prefix': '["X-Remote-Extra-"]',
  };
  return [
    { group: '', kind: 'ConfigMap', namespace, name, rest: { data }, existing: 'restore' },
    {
      ...{ group: rbacGroup, kind: 'Role', namespace, name: `${name}-reader`, labels: rbacLabels },
      rest: { rules: [rule] },
      existing: 'restore',
    },
  ];
}

function aggregationRule(label: string): AggregationRule {
  return { clusterRoleSelectors: [{ matchLabels: { [label]: 'true' } }] };
}

function initialRules(role: BootstrapRole): readonly PolicyRule[] {
  if (role.aggregates === undefined) return role.rules;
  const others = bootstrapRoles.filter((other) => other !== role);
  const asClusterRole = (other: BootstrapRole): ClusterRole => ({
    metadata: { name: other.name, labels: { ...other.labels } },
    ...(other.aggregates === undefined ? {} : { aggregationRule: aggregationRule(other.aggregates) }),
    rules: other.rules,
  });
  const direct = others.filter((other) => other.labels?.[role.aggregates ?? ''] === 'true');
  const members = direct.map((other) => ({ ...asClusterRole(other), rules: initialRules(other) }));
  return aggregatedRules(asClusterRole(role), members);
}

/** A copy, as plain JSON. */
function jsonOf(value: object): Json {
  return structuredClone(value) as unknown as Json;
}

/** What the ServiceCIDR `kubernetes` says: as in Kubernetes it gets a second range when the server does, and is else kept. */
function rangesToShow(context: ApiContext): string[] {
  const { serviceCidrs } = context.config;
  const entry = context.store.get(keyOfObject(serviceCidrKind, '', 'kubernetes'));
  const before = entry === undefined ? [] : stringsAt(parseEntry(entry), 'spec', 'cidrs');
  const isExtended = before.every((cidr, position) => cidr === serviceCidrs[position]);
  return [...(isExtended && serviceCidrs.length > before.length ? serviceCidrs : before)];
}

const priorityUses: Readonly<Record<string, string>> = {
  'system-cluster-critical': 'For Pods that the cluster cannot do without, on whichever node.',
  'system-node-critical': 'For Pods that their node cannot do without.',
};

function priorityObjects(): readonly Wanted[] {
  return Object.entries(systemPriorities).map(([name, value]) => ({
    ...{ group: 'scheduling.k8s.io', kind: 'PriorityClass', namespace: '', name },
    rest: { value, description: priorityUses[name] ?? '' },
    existing: 'keep',
  }));
}

function flowControlObjects(): readonly Wanted[] {
  const wanted =
    (kind: string) =>
    (object: FlowControlObject): Wanted => ({
      ...{ group: 'flowcontrol.apiserver.k8s.io', kind, namespace: '', name: object.name },
      rest: { spec: object.spec },
      existing: 'keep',
    });
  return [
    ...mandatoryPriorityLevels.map(wanted('PriorityLevelConfiguration')),
    ...suggestedPriorityLevels.map(wanted('PriorityLevelConfiguration')),
    ...mandatoryFlowSchemas.map(wanted('FlowSchema')),
    ...suggestedFlowSchemas.map(wanted('FlowSchema')),
  ];
}

function serviceObjects(context: ApiContext, advertisePort: number): readonly Wanted[] {
  const { advertiseAddress, serviceCidrs } = context.config;
  const range = parseCidr(serviceCidrs[0] ?? '');
  const first = range === undefined ? undefined : cidrAddress(range, 1n);
  assert(first !== undefined, 'the service range was checked when the configuration was read');
  const clusterIp = formatIp(first);
  const common = { namespace: 'default', name: 'kubernetes' } as const;
  const port = { name: 'https', port: advertisePort, protocol: 'TCP' };
  return [
    {
      group: 'networking.k8s.io',
      kind: 'ServiceCIDR',
      namespace: '',
      name: 'kubernetes',
      finalizers: [serviceCidrFinalizer],
      rest: { spec: { cidrs: rangesToShow(context) } },
      existing: 'restore',
    },
    {
      ...common,
      group: '',
      kind: 'Service',
      labels: { component: 'apiserver', provider: 'kubernetes' },
      rest: {
        spec: {
          clusterIP: clusterIp,
          clusterIPs: [clusterIp],
          internalTrafficPolicy: 'Cluster',
          ipFamilies: [`IPv${first.family}`],
          ipFamilyPolicy: 'SingleStack',
          ports: [{ name: 'https', port: 443, protocol: 'TCP', targetPort: advertisePort }],
          sessionAffinity: 'None',
          type: 'ClusterIP',
        },
        status: { loadBalancer: {} },
      },
      existing: 'restore',
    },
    {
      ...common,
      group: '',
      kind: 'Endpoints',
      // Keeps the controllers from making a second EndpointSlice out of this.
      labels: { 'endpointslice.kubernetes.io/skip-mirror': 'true' },
      rest: { subsets: [{ addresses: [{ ip: advertiseAddress }], ports: [port] }] },
      existing: 'restore',
    },
    {
      ...common,
      group: 'discovery.k8s.io',
      kind: 'EndpointSlice',
      labels: { 'kubernetes.io/service-name': 'kubernetes' },
      rest: {
        addressType: advertiseAddress.includes(':') ? 'IPv6' : 'IPv4',
        endpoints: [{ addresses: [advertiseAddress], conditions: { ready: true } }],
        ports: [port],
      },
      existing: 'restore',
    },
  ];
}
