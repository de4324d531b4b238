import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Node, PersistentVolume, PersistentVolumeClaim, Pod, PodSpec } from '../../api/gen/core-v1.ts';
import type { StorageClass } from '../../api/gen/storage-v1.ts';
import { keyOf } from '../../api/object.ts';
import { ClusterState, requestsOf } from './cluster.ts';
import { placePod } from './plan.ts';
import { quantityValue } from './quantity.ts';

const hostnameKey = 'kubernetes.io/hostname';

function node(
  name: string,
  over: { readonly labels?: object; readonly spec?: object; readonly cpu?: string } = {},
): Node {
  return {
    metadata: { name, labels: { [hostnameKey]: name, ...over.labels } },
    spec: { ...over.spec },
    status: { allocatable: { cpu: over.cpu ?? '4', memory: '8Gi', pods: '10' } },
  };
}

function pod(
  name: string,
  spec: Partial<PodSpec> = {},
  labels: Readonly<Record<string, string>> = { app: 'web' },
): Pod {
  return { metadata: { name, namespace: 'default', labels }, spec: { containers: [{ name: 'c' }], ...spec } };
}

function requesting(name: string, cpu: string, spec: Partial<PodSpec> = {}): Pod {
  return pod(name, { ...spec, containers: [{ name: 'c', resources: { requests: { cpu } } }] });
}

const volumes: Readonly<Record<string, PersistentVolume>> = {
  anywhere: { metadata: { name: 'anywhere' }, spec: {} },
  get lateOnN1() {
    return onNode('lateOnN1', '1Gi', 'n1');
  },
  get lateOnN2() {
    return onNode('lateOnN2', '2Gi', 'n2');
  },
  onN2: {
    metadata: { name: 'onN2' },
    spec: {
      nodeAffinity: {
        required: {
          nodeSelectorTerms: [{ matchExpressions: [{ key: hostnameKey, operator: 'In', values: ['n2'] }] }],
        },
      },
    },
  },
};
const storageClasses: Readonly<Record<string, StorageClass>> = {
  late: { provisioner: 'kubernetes.io/no-provisioner', volumeBindingMode: 'WaitForFirstConsumer' },
  made: {
    provisioner: 'example.com/disks',
    volumeBindingMode: 'WaitForFirstConsumer',
    allowedTopologies: [{ matchLabelExpressions: [{ key: hostnameKey, values: ['n2'] }] }],
  },
};
const promised: Readonly<Record<string, string>> = { lateOnN1: 'default/another' };
const onNode = (name: string, storage: string, nodeName: string): PersistentVolume => ({
  metadata: { name },
  spec: {
    storageClassName: 'late',
    accessModes: ['ReadWriteOnce'],
    capacity: { storage },
    nodeAffinity: {
      required: {
        nodeSelectorTerms: [{ matchExpressions: [{ key: hostnameKey, operator: 'In', values: [nodeName] }] }],
      },
    },
  },
});
const waiting = (name: string, storageClassName: string, storage: string): PersistentVolumeClaim => ({
  metadata: { name, namespace: 'default' },
  spec: { storageClassName, accessModes: ['ReadWriteOnce'], resources: { requests: { storage } } },
  status: { phase: 'Pending' },
});
const bound = (volumeName: string, accessMode = 'ReadWriteOnce'): PersistentVolumeClaim => ({
  spec: { volumeName, accessModes: [accessMode] },
  status: { phase: 'Bound' },
});
const claims: Readonly<Record<string, PersistentVolumeClaim>> = {
  pending: { spec: {}, status: { phase: 'Pending' } },
  leaving: { metadata: { deletionTimestamp: '2026-01-01T00:00:00Z' }, ...bound('anywhere') },
  dangling: bound('none'),
  'a-foreign': { metadata: { name: 'a-foreign' }, ...bound('anywhere') },
  anywhere: bound('anywhere'),
  onN2: bound('onN2'),
  late: waiting('late', 'late', '1Gi'),
  late2: waiting('late2', 'late', '1Gi'),
  huge: waiting('huge', 'late', '5Gi'),
  made: waiting('made', 'made', '5Gi'),
  alone: bound('anywhere', 'ReadWriteOncePod'),
};
const claiming = (...names: readonly string[]): Partial<PodSpec> => ({
  volumes: names.map((claimName) => ({ name: claimName, persistentVolumeClaim: { claimName } })),
});

const owning = (name: string): Partial<PodSpec> => ({ volumes: [{ name, ephemeral: {} }] });

function place(wanted: Pod, nodes: readonly Node[], placed: readonly Pod[] = []): string {
  const cluster = new ClusterState();
  for (const entry of nodes) cluster.setNode(entry);
  for (const entry of placed) cluster.setPod(keyOf(entry), entry);
  const placement = placePod(wanted, cluster, {
    namespaceOf: (name) => ({ metadata: { name, labels: { name } } }),
    siblings: (other) => other.metadata?.labels?.['app'] === wanted.metadata?.labels?.['app'],
    claims: {
      claim: (_namespace, name) => claims[name],
      volumes: () => Object.values(volumes),
      storageClass: (name) => storageClasses[name],
      promised: (name) => promised[name],
      volume: (name) => volumes[name],
    },
  });
  if (placement.kind === 'reserve') {
    const names = placement.choices.map(({ claim, volume }) => {
      return `${claim.metadata?.name}=${volume?.metadata?.name ?? 'made'}`;
    });
    return `${placement.nodeName} with ${names.join()}`;
  }
  return placement.kind === 'bind' ? placement.nodeName : placement.message;
}

const taint = (effect: string) => ({ spec: { taints: [{ key: 'gpu', value: 'yes', effect }] } });
const near = { labelSelector: { matchLabels: { app: 'db' } }, topologyKey: hostnameKey };
const apart = { labelSelector: { matchLabels: { app: 'web' } }, topologyKey: hostnameKey };
const evenly = {
  maxSkew: 1,
  topologyKey: hostnameKey,
  whenUnsatisfiable: 'DoNotSchedule',
  labelSelector: { matchLabels: { app: 'web' } },
};
const alone: Partial<PodSpec> = {
  affinity: { podAntiAffinity: { requiredDuringSchedulingIgnoredDuringExecution: [apart] } },
};
const withHostPort: Partial<PodSpec> = {
  containers: [{ name: 'c', ports: [{ containerPort: 80, hostPort: 80 }] }],
};

const cases: readonly {
  name: string;
  pod: Pod;
  nodes: readonly Node[];
  placed?: readonly Pod[];
  want: string;
}[] = [
  { name: 'no nodes', pod: pod('a'), nodes: [], want: 'no nodes available to schedule pods' },
  ...(
    [
      ['that is not there', 'none', 'persistentvolumeclaim "none" not found.'],
      ['that is not bound', 'pending', 'pod has unbound immediate PersistentVolumeClaims.'],
      ['that goes', 'leaving', 'persistentvolumeclaim "leaving" is being deleted.'],
      ['whose volume is gone', 'dangling', 'persistentvolume "none" not found.'],
    ] as const
  ).map(([what, claim, reason]) => ({
    name: `a claim ${what}`,
    pod: pod('a', claiming('anywhere', claim)),
    nodes: [node('n1')],
    want: `0/1 nodes are available: ${reason}`,
  })),
  {
    name: 'a claim whose volume lies on one node',
    pod: pod('a', claiming('anywhere', 'onN2')),
    nodes: [node('n1'), node('n2'), node('n3')],
    want: 'n2',
  },
  {
    name: 'a claim whose volume lies on no node that is here',
    pod: pod('a', claiming('onN2')),
    nodes: [node('n1')],
    want: "0/1 nodes are available: 1 node(s) didn't match PersistentVolume's node affinity.",
  },
  {
    name: 'a claim for one Pod that another one has',
    pod: pod('a', claiming('alone')),
    nodes: [node('n1'), node('n2')],
    placed: [pod('b', { nodeName: 'n1', ...claiming('alone') })],
    want: '0/2 nodes are available: node has pod using PersistentVolumeClaim with the same name and ReadWriteOncePod access mode.',
  },
  { name: 'the only node', pod: pod('a'), nodes: [node('n1')], want: 'n1' },
  {
    name: 'Pods of one Service spread',
    pod: pod('c'),
    nodes: [node('n1'), node('n2'), node('n3')],
    placed: [pod('a', { nodeName: 'n1' }), pod('b', { nodeName: 'n3' })],
    want: 'n2',
  },
  {
    name: 'other Pods do not count for spreading, but for load',
    pod: pod('a'),
    nodes: [node('n1'), node('n2')],
    placed: [requesting('x', '3', { nodeName: 'n1' })],
    want: 'n2',
  },
  {
    name: 'a cordoned node',
    pod: pod('a'),
    nodes: [node('n1', { spec: { unschedulable: true } }), node('n2', taint('NoSchedule'))],
    want: '0/2 nodes are available: 1 node(s) had untolerated taint {gpu: yes}, 1 node(s) were unschedulable.',
  },
  {
    name: 'a tolerated taint',
    pod: pod('a', { tolerations: [{ key: 'gpu', operator: 'Exists' }] }),
    nodes: [node('n1', taint('NoSchedule'))],
    want: 'n1',
  },
  {
    name: 'a taint that only prefers',
    pod: pod('a'),
    nodes: [node('n1', taint('PreferNoSchedule')), node('n2')],
    want: 'n2',
  },
  {
    name: 'node selector',
    pod: pod('a', { nodeSelector: { disk: 'ssd' } }),
    nodes: [node('n1'), node('n2', { labels: { disk: 'ssd' } })],
    want: 'n2',
  },
  {
    name: 'node selector that nobody has',
    pod: pod('a', { nodeSelector: { disk: 'ssd' } }),
    nodes: [node('n1')],
    want: "0/1 nodes are available: 1 node(s) didn't match Pod's node affinity/selector.",
  },
  {
    name: 'required node affinity by NotIn',
    pod: pod('a', {
      affinity: {
        nodeAffinity: {
          requiredDuringSchedulingIgnoredDuringExecution: {
            nodeSelectorTerms: [
              { matchExpressions: [{ key: hostnameKey, operator: 'NotIn', values: ['n1'] }] },
            ],
          },
        },
      },
    }),
    nodes: [node('n1'), node('n2')],
    want: 'n2',
  },
  {
    name: 'too little processor',
    pod: requesting('a', '2'),
    nodes: [node('n1', { cpu: '1' }), node('n2', { cpu: '3' })],
    placed: [requesting('x', '1500m', { nodeName: 'n2' })],
    want: '0/2 nodes are available: 2 Insufficient cpu.',
  },
  {
    name: 'a taken host port',
    pod: pod('a', withHostPort),
    nodes: [node('n1')],
    placed: [pod('x', { ...withHostPort, nodeName: 'n1' })],
    want: "0/1 nodes are available: 1 node(s) didn't have free ports for the requested pod ports.",
  },
  {
    name: 'pod affinity',
    pod: pod('a', { affinity: { podAffinity: { requiredDuringSchedulingIgnoredDuringExecution: [near] } } }),
    nodes: [node('n1'), node('n2')],
    placed: [pod('db', { nodeName: 'n2' }, { app: 'db' })],
    want: 'n2',
  },
  {
    name: 'pod anti-affinity',
    pod: pod('b', alone),
    nodes: [node('n1')],
    placed: [pod('a', { nodeName: 'n1' })],
    want: "0/1 nodes are available: 1 node(s) didn't match pod anti-affinity rules.",
  },
  {
    name: 'anti-affinity of those that are there',
    pod: pod('b'),
    nodes: [node('n1')],
    placed: [pod('a', { ...alone, nodeName: 'n1' })],
    want: "0/1 nodes are available: 1 node(s) didn't satisfy existing pods anti-affinity rules.",
  },
  {
    name: 'topology spread',
    pod: pod('c', { topologySpreadConstraints: [evenly], nodeSelector: { [hostnameKey]: 'n1' } }),
    nodes: [node('n1')],
    placed: [pod('a', { nodeName: 'n1' })],
    want: 'n1',
  },
  {
    name: 'a Pod that is there pulls on one that comes',
    pod: pod('c', {}, { app: 'db' }),
    nodes: [node('n1', { cpu: '64' }), node('n2')],
    placed: [
      pod('a', {
        nodeName: 'n2',
        affinity: {
          podAffinity: {
            preferredDuringSchedulingIgnoredDuringExecution: [{ weight: 100, podAffinityTerm: near }],
          },
        },
      }),
    ],
    want: 'n2',
  },
  {
    name: 'a Pod that is there keeps one that comes away',
    pod: pod('c', {}, { app: 'db' }),
    nodes: [node('n1'), node('n2', { cpu: '64' })],
    placed: [
      pod('a', {
        nodeName: 'n2',
        affinity: {
          podAntiAffinity: {
            preferredDuringSchedulingIgnoredDuringExecution: [{ weight: 100, podAffinityTerm: near }],
          },
        },
      }),
    ],
    want: 'n1',
  },
  {
    name: 'a claim that waits for its Pod gets a volume where the Pod can be',
    pod: pod('a', claiming('late')),
    nodes: [node('n1'), node('n2')],
    want: 'n2 with late=lateOnN2',
  },
  {
    name: 'a claim of its own that is not made yet',
    pod: pod('a', owning('fresh')),
    nodes: [node('n1')],
    want: '0/1 nodes are available: waiting for ephemeral volume controller to create the persistentvolumeclaim "a-fresh".',
  },
  {
    name: 'a claim that only has the name of its own',
    pod: pod('a', owning('foreign')),
    nodes: [node('n1')],
    want: '0/1 nodes are available: PVC default/a-foreign was not created for pod default/a (pod is not owner).',
  },
  {
    name: 'a volume that was given away is not there',
    pod: pod('a', { ...claiming('late'), nodeSelector: { [hostnameKey]: 'n1' } }),
    nodes: [node('n1')],
    want: "0/1 nodes are available: 1 node(s) didn't find available persistent volumes to bind.",
  },
  {
    name: 'no volume is given twice',
    pod: pod('a', claiming('late', 'late2')),
    nodes: [node('n1'), node('n2')],
    want: "0/2 nodes are available: 2 node(s) didn't find available persistent volumes to bind.",
  },
  {
    name: 'no volume is large enough',
    pod: pod('a', claiming('huge')),
    nodes: [node('n2')],
    want: "0/1 nodes are available: 1 node(s) didn't find available persistent volumes to bind.",
  },
  {
    name: 'a volume that is made where its class can make it',
    pod: pod('a', claiming('made')),
    nodes: [node('n1'), node('n2')],
    want: 'n2 with made=made',
  },
  {
    name: 'a node without the topology does not hide how crowded the others are',
    pod: pod('c', {
      topologySpreadConstraints: [{ ...evenly, whenUnsatisfiable: 'ScheduleAnyway', topologyKey: 'zone' }],
    }),
    nodes: [
      node('n0'),
      node('n1', { labels: { zone: 'a' }, cpu: '64' }),
      node('n2', { labels: { zone: 'b' } }),
    ],
    placed: [pod('a', { nodeName: 'n1' }), pod('b', { nodeName: 'n1' })],
    want: 'n2',
  },
  {
    name: 'label keys that the Pod has no label for say nothing',
    pod: pod('c', {
      topologySpreadConstraints: [{ ...evenly, matchLabelKeys: ['absent'] }],
      affinity: {
        podAntiAffinity: {
          requiredDuringSchedulingIgnoredDuringExecution: [{ ...apart, mismatchLabelKeys: ['absent'] }],
        },
      },
    }),
    nodes: [node('n1'), node('n2')],
    placed: [pod('a', { nodeName: 'n1' })],
    want: 'n2',
  },
  {
    name: 'labels that are no numbers are neither greater nor less',
    pod: pod('c', {
      affinity: {
        nodeAffinity: {
          requiredDuringSchedulingIgnoredDuringExecution: {
            nodeSelectorTerms: [{ matchExpressions: [{ key: 'cores', operator: 'Lt', values: ['5'] }] }],
          },
        },
      },
    }),
    nodes: [node('n1', { labels: { cores: '' } }), node('n2', { labels: { cores: '4' } })],
    want: 'n2',
  },
  {
    name: 'topology spread that cannot hold',
    pod: pod('c', { topologySpreadConstraints: [evenly] }),
    nodes: [node('n1'), node('n2', taint('NoSchedule'))],
    placed: [pod('a', { nodeName: 'n1' })],
    want: "0/2 nodes are available: 1 node(s) didn't match pod topology spread constraints, 1 node(s) had untolerated taint {gpu: yes}.",
  },
];

for (const { name, pod: wanted, nodes, placed, want } of cases) {
  test(`scheduler: ${name}`, () => {
    assert.equal(place(wanted, nodes, placed), want);
  });
}

test('scheduler: a Pod that left a node gives back what it asked for', () => {
  const cluster = new ClusterState();
  const one = requesting('a', '1', { nodeName: 'n1' });
  cluster.setPod(keyOf(one), one);
  cluster.setNode(node('n1'));
  assert.equal(cluster.node('n1')?.requested.get('cpu'), 1);
  cluster.setPod(keyOf(one), undefined);
  assert.equal(cluster.node('n1')?.requested.get('cpu'), 0);
});

test('scheduler: what a Pod asks for as a whole counts instead of its containers', () => {
  const whole = pod('a', {
    resources: { requests: { cpu: '2' } },
    containers: [{ name: 'c', resources: { requests: { cpu: '1', memory: '1Gi' } } }],
  });
  assert.equal(requestsOf(whole).get('cpu'), 2);
  assert.equal(requestsOf(whole).get('memory'), 2 ** 30);
});

test('scheduler: init containers count by their peak, sidecars always', () => {
  const wants = (cpu: string, restartPolicy?: string) => ({
    name: 'i',
    restartPolicy,
    resources: { requests: { cpu } },
  });
  const requests = requestsOf(
    pod('a', { initContainers: [wants('1', 'Always'), wants('3')], containers: [wants('500m')] }),
  );
  assert.equal(requests.get('cpu'), 4);
});

const quantities = [
  ['1', 1],
  ['500m', 0.5],
  ['1Gi', 2 ** 30],
  ['1.5k', 1500],
  ['1e3', 1000],
  ['nonsense', 0],
] as const;
for (const [text, want] of quantities) {
  test(`scheduler: quantity ${text}`, () => {
    assert.equal(quantityValue(text), want);
  });
}
