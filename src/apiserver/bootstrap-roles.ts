import type { PolicyRule, Subject } from '../api/gen/rbac-v1.ts';

/** The roles and bindings that every server makes sure of at start. Data only; changed by nobody but this file. */

export type BootstrapRole = {
  readonly name: string;
  readonly rules: readonly PolicyRule[];
  /** Beside those that every role made here has. */
  readonly labels?: Readonly<Record<string, string>>;
  /** Its rules are those of the roles with this label; `rules` are none of its own. */
  readonly aggregates?: string;
};
export type BootstrapBinding = {
  readonly name: string;
  readonly role: string;
  readonly subjects: readonly Subject[];
  /** A RoleBinding in this namespace instead of a ClusterRoleBinding. */
  readonly namespace?: string;
};

const read = ['get', 'list', 'watch'] as const;
const write = ['create', 'delete', 'deletecollection', 'patch', 'update'] as const;
const all = ['*'] as const;

function rule(group: string, resources: readonly string[], verbs: readonly string[]): PolicyRule {
  return { apiGroups: [group], resources, verbs };
}

function paths(...nonResourceURLs: readonly string[]): PolicyRule {
  return { nonResourceURLs, verbs: ['get'] };
}

const viewRules: readonly PolicyRule[] = [
  rule(
    '',
    [
      'configmaps',
      'endpoints',
      'persistentvolumeclaims',
      'persistentvolumeclaims/status',
      'pods',
      'replicationcontrollers',
      'replicationcontrollers/scale',
      'serviceaccounts',
      'services',
      'services/status',
      'bindings',
      'events',
      'limitranges',
      'namespaces/status',
      'pods/log',
      'pods/status',
      'resourcequotas',
      'resourcequotas/status',
      'namespaces',
    ],
    read,
  ),
  rule('discovery.k8s.io', ['endpointslices'], read),
  rule(
    'apps',
    [
      'controllerrevisions',
      'daemonsets',
      'daemonsets/status',
      'deployments',
      'deployments/scale',
      'deployments/status',
      'replicasets',
      'replicasets/scale',
      'replicasets/status',
      'statefulsets',
      'statefulsets/scale',
      'statefulsets/status',
    ],
    read,
  ),
  rule('autoscaling', ['horizontalpodautoscalers', 'horizontalpodautoscalers/status'], read),
  rule('batch', ['cronjobs', 'cronjobs/status', 'jobs', 'jobs/status'], read),
  rule('policy', ['poddisruptionbudgets', 'poddisruptionbudgets/status'], read),
  rule('networking.k8s.io', ['ingresses', 'ingresses/status', 'networkpolicies'], read),
  rule('metrics.k8s.io', ['pods', 'nodes'], read),
];

const editRules: readonly PolicyRule[] = [
  rule('', ['pods/attach', 'pods/exec', 'pods/portforward', 'pods/proxy', 'secrets', 'services/proxy'], read),
  rule('', ['serviceaccounts'], ['impersonate']),
  // Resizing stays within quotas, as making a Pod does; ephemeral containers are for administrators.
  rule('', ['pods', 'pods/resize', 'pods/attach', 'pods/exec', 'pods/portforward', 'pods/proxy'], write),
  rule('', ['pods/eviction'], ['create']),
  rule(
    '',
    [
      'configmaps',
      'events',
      'persistentvolumeclaims',
      'replicationcontrollers',
      'replicationcontrollers/scale',
      'secrets',
      'serviceaccounts',
      'services',
      'services/proxy',
    ],
    write,
  ),
  rule('', ['serviceaccounts/token'], ['create']),
  rule(
    'apps',
    [
      'daemonsets',
      'deployments',
      'deployments/rollback',
      'deployments/scale',
      'replicasets',
      'replicasets/scale',
      'statefulsets',
      'statefulsets/scale',
    ],
    write,
  ),
  rule('autoscaling', ['horizontalpodautoscalers'], write),
  rule('batch', ['cronjobs', 'jobs'], write),
  rule('policy', ['poddisruptionbudgets'], write),
  rule('networking.k8s.io', ['ingresses', 'networkpolicies'], write),
  rule('coordination.k8s.io', ['leases'], [...read, ...write]),
];

const adminRules: readonly PolicyRule[] = [
  rule('authorization.k8s.io', ['localsubjectaccessreviews'], ['create']),
  rule('rbac.authorization.k8s.io', ['rolebindings', 'roles'], [...read, ...write]),
];

/** A node agent with its service proxy. NodeRestriction in admission narrows writes to the node's own objects. */
const nodeRules: readonly PolicyRule[] = [
  rule('authentication.k8s.io', ['tokenreviews'], ['create']),
  rule('authorization.k8s.io', ['localsubjectaccessreviews', 'subjectaccessreviews'], ['create']),
  rule('', ['services', 'endpoints', 'namespaces', 'configmaps', 'secrets', 'serviceaccounts'], read),
  rule('', ['nodes'], [...read, 'create', 'update', 'patch', 'delete']),
  rule('', ['nodes/status'], ['get', 'update', 'patch']),
  rule('', ['events'], ['create', 'update', 'patch']),
  rule('', ['pods'], [...read, 'create', 'update', 'patch', 'delete']),
  rule('', ['pods/status'], ['get', 'update', 'patch']),
  rule('', ['pods/eviction', 'serviceaccounts/token'], ['create']),
  rule('', ['persistentvolumeclaims', 'persistentvolumes'], ['get']),
  rule('coordination.k8s.io', ['leases'], [...read, 'create', 'update', 'patch', 'delete']),
  rule('discovery.k8s.io', ['endpointslices'], read),
  rule('networking.k8s.io', ['servicecidrs'], read),
  rule('node.k8s.io', ['runtimeclasses'], read),
  rule('storage.k8s.io', ['csidrivers', 'csinodes', 'volumeattachments'], read),
  rule('events.k8s.io', ['events'], ['create', 'update', 'patch']),
  rule('certificates.k8s.io', ['certificatesigningrequests'], [...read, 'create']),
];

const ingressRules: readonly PolicyRule[] = [
  rule('networking.k8s.io', ['ingresses', 'ingressclasses'], read),
  rule('networking.k8s.io', ['ingresses/status'], ['get', 'update', 'patch']),
  rule('', ['services', 'secrets', 'configmaps', 'namespaces', 'nodes', 'pods', 'endpoints'], read),
  rule('discovery.k8s.io', ['endpointslices'], read),
  rule('', ['events'], ['create', 'update', 'patch']),
  rule('events.k8s.io', ['events'], ['create', 'update', 'patch']),
  rule('coordination.k8s.io', ['leases'], [...read, 'create', 'update', 'patch']),
  rule('gateway.networking.k8s.io', ['*'], [...read, 'update', 'patch']),
  rule('fairlead.dev', ['staticresponses', 'ingressparameters', 'clusteringressparameters'], read),
];

const dnsRules: readonly PolicyRule[] = [
  rule('', ['services', 'endpoints', 'pods', 'namespaces', 'nodes', 'configmaps'], read),
  rule('discovery.k8s.io', ['endpointslices'], read),
  rule('', ['events'], ['create', 'update', 'patch']),
];

/** The controllers own every kind; only what lies outside the cluster's objects is left out. */
const controllerRules: readonly PolicyRule[] = [
  { apiGroups: all, resources: all, verbs: all },
  { nonResourceURLs: ['*'], verbs: ['get'] },
];

const schedulerRules: readonly PolicyRule[] = [
  rule('', ['nodes', 'namespaces', 'services', 'persistentvolumeclaims', 'persistentvolumes'], read),
  rule('', ['pods'], [...read, 'delete']),
  rule('', ['pods/binding', 'bindings'], ['create']),
  rule('', ['pods/status'], ['get', 'update', 'patch']),
  rule('', ['replicationcontrollers'], read),
  rule('apps', ['replicasets', 'statefulsets'], read),
  rule('policy', ['poddisruptionbudgets'], read),
  rule('scheduling.k8s.io', ['priorityclasses'], read),
  rule('storage.k8s.io', ['csinodes', 'storageclasses', 'csidrivers', 'csistoragecapacities'], read),
  rule('', ['events'], ['create', 'update', 'patch']),
  rule('events.k8s.io', ['events'], ['create', 'update', 'patch']),
  rule('coordination.k8s.io', ['leases'], [...read, 'create', 'update', 'patch']),
  rule('authentication.k8s.io', ['tokenreviews'], ['create']),
  rule('authorization.k8s.io', ['subjectaccessreviews'], ['create']),
];

/** Bound to those whose requests for a node's client certificate are approved by themselves, and to those who decide. */
const certificateRoles: readonly BootstrapRole[] = [
  ...['nodeclient', 'selfnodeclient'].map((kind) => ({
    name: `system:certificates.k8s.io:certificatesigningrequests:${kind}`,
    rules: [rule('certificates.k8s.io', [`certificatesigningrequests/${kind}`], ['create'])],
  })),
  ...['kube-apiserver-client', 'kube-apiserver-client-kubelet', 'kubelet-serving'].map((signer) => ({
    name: `system:certificates.k8s.io:${signer}-approver`,
    rules: [
      {
        ...rule('certificates.k8s.io', ['signers'], ['approve']),
        resourceNames: [`kubernetes.io/${signer}`],
      },
    ],
  })),
];

const toAdmin = 'rbac.authorization.k8s.io/aggregate-to-admin';
const toEdit = 'rbac.authorization.k8s.io/aggregate-to-edit';
const toView = 'rbac.authorization.k8s.io/aggregate-to-view';

export const bootstrapRoles: readonly BootstrapRole[] = [
  {
    name: 'cluster-admin',
    rules: [
      { apiGroups: all, resources: all, verbs: all },
      { nonResourceURLs: all, verbs: all },
    ],
  },
  { name: 'admin', rules: [], aggregates: toAdmin },
  { name: 'edit', rules: [], aggregates: toEdit, labels: { [toAdmin]: 'true' } },
  { name: 'view', rules: [], aggregates: toView, labels: { [toEdit]: 'true' } },
  { name: 'system:aggregate-to-admin', rules: adminRules, labels: { [toAdmin]: 'true' } },
  { name: 'system:aggregate-to-edit', rules: editRules, labels: { [toEdit]: 'true' } },
  { name: 'system:aggregate-to-view', rules: viewRules, labels: { [toView]: 'true' } },
  {
    name: 'system:discovery',
    rules: [
      paths(
        '/api',
        '/api/*',
        '/apis',
        '/apis/*',
        '/healthz',
        '/livez',
        '/openapi',
        '/openapi/*',
        '/readyz',
        '/version',
        '/version/',
      ),
    ],
  },
  {
    name: 'system:public-info-viewer',
    rules: [paths('/healthz', '/livez', '/readyz', '/version', '/version/')],
  },
  {
    name: 'system:basic-user',
    rules: [
      rule('authorization.k8s.io', ['selfsubjectaccessreviews', 'selfsubjectrulesreviews'], ['create']),
      rule('authentication.k8s.io', ['selfsubjectreviews'], ['create']),
    ],
  },
  {
    name: 'system:monitoring',
    rules: [
      paths('/healthz', '/healthz/*', '/livez', '/livez/*', '/metrics', '/metrics/*', '/readyz', '/readyz/*'),
    ],
  },
  {
    name: 'system:auth-delegator',
    rules: [
      rule('authentication.k8s.io', ['tokenreviews'], ['create']),
      rule('authorization.k8s.io', ['subjectaccessreviews'], ['create']),
    ],
  },
  { name: 'system:node', rules: nodeRules },
  ...certificateRoles,
  { name: 'system:kube-controller-manager', rules: controllerRules },
  { name: 'system:kube-scheduler', rules: schedulerRules },
  { name: 'fairlead:dns', rules: dnsRules },
  { name: 'fairlead:ingress', rules: ingressRules },
  {
    name: 'system:service-account-issuer-discovery',
    rules: [
      paths(
        '/.well-known/openid-configuration',
        '/.well-known/openid-configuration/',
        '/openid/v1/jwks',
        '/openid/v1/jwks/',
      ),
    ],
  },
];

function user(name: string): Subject {
  return { apiGroup: 'rbac.authorization.k8s.io', kind: 'User', name };
}

function group(name: string): Subject {
  return { apiGroup: 'rbac.authorization.k8s.io', kind: 'Group', name };
}

export const bootstrapBindings: readonly BootstrapBinding[] = [
  { name: 'cluster-admin', role: 'cluster-admin', subjects: [group('system:masters')] },
  { name: 'system:discovery', role: 'system:discovery', subjects: [group('system:authenticated')] },
  { name: 'system:basic-user', role: 'system:basic-user', subjects: [group('system:authenticated')] },
  {
    name: 'system:public-info-viewer',
    role: 'system:public-info-viewer',
    subjects: [group('system:authenticated'), group('system:unauthenticated')],
  },
  { name: 'system:monitoring', role: 'system:monitoring', subjects: [group('system:monitoring')] },
  { name: 'system:node', role: 'system:node', subjects: [group('system:nodes')] },
  {
    name: 'system:kube-controller-manager',
    role: 'system:kube-controller-manager',
    subjects: [user('system:kube-controller-manager')],
  },
  {
    name: 'system:kube-scheduler',
    role: 'system:kube-scheduler',
    subjects: [user('system:kube-scheduler')],
  },
  { name: 'fairlead:dns', role: 'fairlead:dns', subjects: [user('system:fairlead-dns')] },
  { name: 'fairlead:ingress', role: 'fairlead:ingress', subjects: [user('system:fairlead-ingress')] },
  {
    name: 'system:service-account-issuer-discovery',
    role: 'system:service-account-issuer-discovery',
    subjects: [group('system:serviceaccounts')],
  },
];
