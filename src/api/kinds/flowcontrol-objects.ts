import type { JsonObject } from '../object.ts';

/**
 * The flow schemas and priority levels that every cluster has: two of each that cannot be changed, and what Kubernetes
 * suggests beside them.
 */

export type FlowControlObject = { readonly name: string; readonly spec: JsonObject };

type Queues = readonly [queues: number, handSize: number];

function limited(name: string, shares: number, lendablePercent: number, queues?: Queues): FlowControlObject {
  const limitResponse: JsonObject =
    queues === undefined
      ? { type: 'Reject' }
      : { type: 'Queue', queuing: { queues: queues[0], handSize: queues[1], queueLengthLimit: 50 } };
  return {
    name,
    spec: { type: 'Limited', limited: { nominalConcurrencyShares: shares, lendablePercent, limitResponse } },
  };
}

export const mandatoryPriorityLevels: readonly FlowControlObject[] = [
  { name: 'exempt', spec: { type: 'Exempt', exempt: { nominalConcurrencyShares: 0, lendablePercent: 0 } } },
  limited('catch-all', 5, 0),
];

export const suggestedPriorityLevels: readonly FlowControlObject[] = [
  limited('system', 30, 33, [64, 6]),
  limited('node-high', 40, 25, [64, 6]),
  limited('leader-election', 10, 0, [16, 4]),
  limited('workload-high', 40, 50, [128, 6]),
  limited('workload-low', 100, 90, [128, 6]),
  limited('global-default', 20, 50, [128, 6]),
];

function resources(
  apiGroup: string,
  names: readonly string[],
  { verbs = ['*'], clusterScope = true }: { verbs?: string[]; clusterScope?: boolean } = {},
): JsonObject {
  const rule = { verbs, apiGroups: [apiGroup], resources: [...names], namespaces: ['*'] };
  return clusterScope ? { ...rule, clusterScope } : rule;
}

const allResources = [resources('*', ['*'])];
const everything: JsonObject = {
  resourceRules: allResources,
  nonResourceRules: [{ verbs: ['*'], nonResourceURLs: ['*'] }],
};

const group = (name: string): JsonObject => ({ kind: 'Group', group: { name } });
const user = (name: string): JsonObject => ({ kind: 'User', user: { name } });
const systemServiceAccounts: JsonObject = {
  kind: 'ServiceAccount',
  serviceAccount: { name: '*', namespace: 'kube-system' },
};
const everybody = [group('system:unauthenticated'), group('system:authenticated')];

type Flow = {
  readonly name: string;
  readonly level: string;
  readonly precedence: number;
  readonly by?: 'ByUser' | 'ByNamespace';
  readonly subjects: JsonObject[];
  readonly rules?: JsonObject;
};

function flow({ name, level, precedence, by, subjects, rules = everything }: Flow): FlowControlObject {
  return {
    name,
    spec: {
      priorityLevelConfiguration: { name: level },
      matchingPrecedence: precedence,
      ...(by === undefined ? {} : { distinguisherMethod: { type: by } }),
      rules: [{ subjects, ...rules }],
    },
  };
}

export const mandatoryFlowSchemas: readonly FlowControlObject[] = [
  flow({ name: 'exempt', level: 'exempt', precedence: 1, subjects: [group('system:masters')] }),
  flow({ name: 'catch-all', level: 'catch-all', precedence: 10_000, by: 'ByUser', subjects: everybody }),
];

const workload = { level: 'workload-high', by: 'ByNamespace' } as const;
const nodes = { by: 'ByUser', subjects: [group('system:nodes')] } as const;
const leases = { clusterScope: false } as const;

export const suggestedFlowSchemas: readonly FlowControlObject[] = [
  flow({
    ...{ name: 'probes', level: 'exempt', precedence: 2, subjects: everybody },
    rules: { nonResourceRules: [{ verbs: ['get'], nonResourceURLs: ['/healthz', '/readyz', '/livez'] }] },
  }),
  flow({
    ...{ name: 'system-leader-election', level: 'leader-election', precedence: 100, by: 'ByUser' },
    subjects: [user('system:kube-controller-manager'), user('system:kube-scheduler'), systemServiceAccounts],
    rules: {
      resourceRules: [
        resources('coordination.k8s.io', ['leases'], { ...leases, verbs: ['get', 'create', 'update'] }),
      ],
    },
  }),
  flow({
    ...{ name: 'system-node-high', level: 'node-high', precedence: 400, by: nodes.by },
    subjects: [...nodes.subjects],
    rules: {
      resourceRules: [
        resources('', ['nodes', 'nodes/status']),
        resources('coordination.k8s.io', ['leases'], leases),
      ],
    },
  }),
  flow({
    name: 'system-nodes',
    level: 'system',
    precedence: 500,
    by: nodes.by,
    subjects: [...nodes.subjects],
  }),
  flow({
    ...{ name: 'kube-controller-manager', ...workload, precedence: 800 },
    subjects: [user('system:kube-controller-manager')],
  }),
  flow({
    ...{ name: 'kube-scheduler', ...workload, precedence: 800 },
    subjects: [user('system:kube-scheduler')],
  }),
  flow({
    ...{ name: 'kube-system-service-accounts', ...workload, precedence: 900 },
    subjects: [systemServiceAccounts],
  }),
  flow({
    ...{ name: 'service-accounts', level: 'workload-low', precedence: 9000, by: 'ByUser' },
    subjects: [group('system:serviceaccounts')],
  }),
  flow({
    ...{ name: 'global-default', level: 'global-default', precedence: 9900, by: 'ByUser' },
    subjects: everybody,
  }),
];
