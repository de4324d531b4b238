import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Json, JsonObject } from '../object.ts';
import { podKind } from './pod.ts';
import { defaultPod, pullPolicyOf, qosClassOf } from './pod-defaults.ts';

const nowMs = Date.parse('2026-01-01T01:00:00Z');
const restart = { terminated: { exitCode: 1, finishedAt: '2026-01-01T00:55:00Z' } };

function container(name: string, state: JsonObject, more: JsonObject = {}): JsonObject {
  return { name, state, ready: 'running' in state, restartCount: 0, ...more };
}

const running: JsonObject = { running: {} };
const waiting = (reason: string): JsonObject => ({ waiting: { reason } });
const ended = (exitCode: number, reason = ''): JsonObject => ({
  terminated: { exitCode, ...(reason === '' ? {} : { reason }) },
});

const twoInits: Json = [{ name: 'i' }, { name: 'j' }];

const statuses: readonly {
  readonly name: string;
  readonly pod: JsonObject;
  readonly want: readonly [string, string, string];
}[] = [
  {
    name: 'not yet scheduled',
    pod: { spec: { containers: [{ name: 'a' }] }, status: { phase: 'Pending' } },
    want: ['0/1', 'Pending', '0'],
  },
  {
    name: 'running',
    pod: {
      spec: { containers: [{ name: 'a' }] },
      status: { phase: 'Running', containerStatuses: [container('a', running)] },
    },
    want: ['1/1', 'Running', '0'],
  },
  {
    name: 'being created',
    pod: {
      spec: { containers: [{ name: 'a' }] },
      status: { phase: 'Pending', containerStatuses: [container('a', waiting('ContainerCreating'))] },
    },
    want: ['0/1', 'ContainerCreating', '0'],
  },
  {
    name: 'crashing, with restarts and when',
    pod: {
      spec: { containers: [{ name: 'a' }] },
      status: {
        phase: 'Running',
        containerStatuses: [
          container('a', waiting('CrashLoopBackOff'), { restartCount: 3, lastState: restart }),
        ],
      },
    },
    want: ['0/1', 'CrashLoopBackOff', '3 (5m ago)'],
  },
  {
    name: 'ended well',
    pod: {
      spec: { containers: [{ name: 'a' }] },
      status: { phase: 'Succeeded', containerStatuses: [container('a', ended(0, 'Completed'))] },
    },
    want: ['0/1', 'Completed', '0'],
  },
  {
    name: 'ended without a reason',
    pod: {
      spec: { containers: [{ name: 'a' }] },
      status: { phase: 'Failed', containerStatuses: [container('a', ended(3))] },
    },
    want: ['0/1', 'ExitCode:3', '0'],
  },
  {
    name: 'ended by a signal',
    pod: {
      spec: { containers: [{ name: 'a' }] },
      status: {
        phase: 'Failed',
        containerStatuses: [container('a', { terminated: { exitCode: 137, signal: 9 } })],
      },
    },
    want: ['0/1', 'Signal:9', '0'],
  },
  {
    name: 'one container done, the other not ready',
    pod: {
      spec: { containers: [{ name: 'a' }, { name: 'b' }] },
      status: {
        phase: 'Running',
        containerStatuses: [container('a', ended(0, 'Completed')), container('b', running)],
      },
    },
    want: ['1/2', 'NotReady', '0'],
  },
  {
    name: 'being deleted',
    pod: {
      metadata: { deletionTimestamp: '2026-01-01T00:59:59Z' },
      spec: { containers: [{ name: 'a' }] },
      status: { phase: 'Running', containerStatuses: [container('a', running)] },
    },
    want: ['1/1', 'Terminating', '0'],
  },
  {
    name: 'evicted',
    pod: { spec: { containers: [{ name: 'a' }] }, status: { phase: 'Failed', reason: 'Evicted' } },
    want: ['0/1', 'Evicted', '0'],
  },
  {
    name: 'first of two init containers runs',
    pod: {
      spec: { initContainers: twoInits, containers: [{ name: 'a' }] },
      status: {
        phase: 'Pending',
        initContainerStatuses: [container('i', running), container('j', waiting('PodInitializing'))],
        containerStatuses: [container('a', waiting('PodInitializing'))],
      },
    },
    want: ['0/1', 'Init:0/2', '0'],
  },
  {
    name: 'second init container crashes',
    pod: {
      spec: { initContainers: twoInits, containers: [{ name: 'a' }] },
      status: {
        phase: 'Pending',
        initContainerStatuses: [
          container('i', ended(0, 'Completed')),
          container('j', waiting('CrashLoopBackOff'), { restartCount: 2, lastState: restart }),
        ],
      },
    },
    want: ['0/1', 'Init:CrashLoopBackOff', '2 (5m ago)'],
  },
  {
    name: 'init container failed',
    pod: {
      spec: { initContainers: twoInits, containers: [{ name: 'a' }] },
      status: { phase: 'Pending', initContainerStatuses: [container('i', ended(2))] },
    },
    want: ['0/1', 'Init:ExitCode:2', '0'],
  },
  {
    name: 'a sidecar counts as a container',
    pod: {
      spec: { initContainers: [{ name: 'i', restartPolicy: 'Always' }], containers: [{ name: 'a' }] },
      status: {
        phase: 'Running',
        initContainerStatuses: [container('i', running, { started: true })],
        containerStatuses: [container('a', running)],
      },
    },
    want: ['2/2', 'Running', '0'],
  },
  {
    name: 'gated',
    pod: {
      spec: { containers: [{ name: 'a' }] },
      status: {
        phase: 'Pending',
        conditions: [{ type: 'PodScheduled', status: 'False', reason: 'SchedulingGated' }],
      },
    },
    want: ['0/1', 'SchedulingGated', '0'],
  },
];

for (const { name, pod, want } of statuses) {
  test(`pod columns: ${name}`, () => {
    const cells = podKind.columns.map((column) => column.cell(pod, nowMs));
    assert.deepEqual(cells.slice(1, 4), want);
  });
}

test('pod columns: -o wide', () => {
  const names = podKind.columns.map((column) => `${column.name}${column.priority === 1 ? '*' : ''}`);
  assert.deepEqual(names, [
    'Name',
    'Ready',
    'Status',
    'Restarts',
    'Age',
    'IP*',
    'Node*',
    'Nominated Node*',
    'Readiness Gates*',
  ]);
  const pod: JsonObject = {
    metadata: { name: 'a', creationTimestamp: '2026-01-01T00:50:00Z' },
    spec: { nodeName: 'server-0', readinessGates: [{ conditionType: 'x' }] },
    status: { podIPs: [{ ip: '10.42.0.5' }], conditions: [{ type: 'x', status: 'True' }] },
  };
  const cells = podKind.columns.map((column) => column.cell(pod, nowMs));
  assert.deepEqual(cells.slice(4), ['10m', '10.42.0.5', 'server-0', '<none>', '1/1']);
});

test('pod columns: an empty object breaks nothing', () => {
  for (const column of podKind.columns) column.cell({}, nowMs);
});

test('pod: defaults are Kubernetes’ and idempotent', () => {
  const pod: JsonObject = {
    metadata: { name: 'a', namespace: 'default' },
    spec: {
      containers: [
        {
          name: 'a',
          image: 'caddy',
          ports: [{ containerPort: 80 }],
          readinessProbe: { httpGet: { port: 80 } },
          resources: { limits: { cpu: '1' } },
        },
      ],
      volumes: [{ name: 'v' }, { name: 's', secret: { secretName: 's' } }],
    },
  };
  podKind.setDefaults?.(pod);
  const once = structuredClone(pod);
  podKind.setDefaults?.(pod);
  assert.deepEqual(pod, once);
  assert.deepEqual(pod['spec'], {
    containers: [
      {
        name: 'a',
        image: 'caddy',
        ports: [{ containerPort: 80, protocol: 'TCP' }],
        readinessProbe: {
          httpGet: { port: 80, path: '/', scheme: 'HTTP' },
          timeoutSeconds: 1,
          periodSeconds: 10,
          successThreshold: 1,
          failureThreshold: 3,
        },
        resources: { limits: { cpu: '1' }, requests: { cpu: '1' } },
        terminationMessagePath: '/dev/termination-log',
        terminationMessagePolicy: 'File',
        imagePullPolicy: 'Always',
      },
    ],
    volumes: [
      { name: 'v', emptyDir: {} },
      { name: 's', secret: { secretName: 's', defaultMode: 420 } },
    ],
    restartPolicy: 'Always',
    dnsPolicy: 'ClusterFirst',
    terminationGracePeriodSeconds: 30,
    schedulerName: 'default-scheduler',
    securityContext: {},
    enableServiceLinks: true,
  });
  podKind.prepareForCreate?.(pod);
  assert.deepEqual(pod['status'], { phase: 'Pending', qosClass: 'Burstable' });
  assert.deepEqual((pod['spec'] as JsonObject)['tolerations'], [
    { key: 'node.kubernetes.io/not-ready', operator: 'Exists', effect: 'NoExecute', tolerationSeconds: 300 },
    {
      key: 'node.kubernetes.io/unreachable',
      operator: 'Exists',
      effect: 'NoExecute',
      tolerationSeconds: 300,
    },
  ]);
  assert.deepEqual(podKind.validate?.(pod), []);
});

test('pod: nothing is added to tolerations of everything', () => {
  const tolerant = pod({ tolerations: [{ operator: 'Exists' }] });
  podKind.prepareForCreate?.(tolerant);
  assert.deepEqual((tolerant['spec'] as JsonObject)['tolerations'], [{ operator: 'Exists' }]);
});

const policies: readonly (readonly [string, string])[] = [
  ['caddy', 'Always'],
  ['caddy:latest', 'Always'],
  ['caddy:2', 'IfNotPresent'],
  ['localhost:5000/caddy', 'Always'],
  ['localhost:5000/caddy:2', 'IfNotPresent'],
  ['caddy@sha256:00', 'IfNotPresent'],
];

for (const [image, want] of policies) {
  test(`pod: ${image} is pulled ${want}`, () => assert.equal(pullPolicyOf(image), want));
}

test('pod: what it asks for as a whole is what its containers do, else its limits', () => {
  const requests = (amounts: JsonObject) => ({ image: 'x', resources: { requests: amounts } });
  const made = pod({
    containers: [
      { name: 'a', ...requests({ cpu: '500m', 'ephemeral-storage': '1Gi' }) },
      { name: 'b', ...requests({ cpu: '1' }) },
    ],
    resources: { limits: { cpu: '2', memory: '1Gi' } },
  });
  assert.deepEqual((made['spec'] as JsonObject)['resources'], {
    limits: { cpu: '2', memory: '1Gi' },
    requests: { cpu: '1500m', memory: '1Gi' },
  });
  assert.deepEqual(podKind.validate?.(made), []);
});

test('pod: quality of service', () => {
  const amounts = { cpu: '1', memory: '1Gi' };
  assert.equal(qosClassOf({ containers: [{ name: 'a' }] }), 'BestEffort');
  assert.equal(
    qosClassOf({ containers: [{ resources: { requests: amounts, limits: amounts } }] }),
    'Guaranteed',
  );
  assert.equal(qosClassOf({ containers: [{ resources: { requests: amounts } }] }), 'Burstable');
});

function pod(spec: JsonObject): JsonObject {
  const made: JsonObject = { metadata: { name: 'a', namespace: 'default' }, spec };
  podKind.setDefaults?.(made);
  return made;
}

const invalid: readonly {
  readonly name: string;
  readonly spec: JsonObject;
  readonly want: readonly string[];
}[] = [
  { name: 'no containers', spec: {}, want: ['spec.containers: Required value'] },
  {
    name: 'names and images',
    spec: { containers: [{ name: 'A' }, { name: 'b', image: 'x' }, { name: 'b', image: 'x' }] },
    want: [
      `spec.containers[0].name: Invalid value: "A": a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')`,
      'spec.containers[0].image: Required value',
      'spec.containers[2].name: Duplicate value: "b"',
    ],
  },
  {
    name: 'a mount without its volume',
    spec: { containers: [{ name: 'a', image: 'x', volumeMounts: [{ name: 'v', mountPath: '/v' }] }] },
    want: ['spec.containers[0].volumeMounts[0].name: Not found: "v"'],
  },
  {
    name: 'mounts',
    spec: {
      volumes: [{ name: 'v', emptyDir: {} }],
      containers: [
        {
          name: 'a',
          image: 'x',
          volumeMounts: [
            { name: 'v', mountPath: '/a', subPath: 'b', subPathExpr: '../$(C)' },
            { name: 'v', mountPath: '/b', mountPropagation: 'Both' },
            { name: 'v', mountPath: '/c', mountPropagation: 'Bidirectional' },
          ],
        },
      ],
    },
    want: [
      'spec.containers[0].volumeMounts[0].subPathExpr: Invalid value: "../$(C)": subPathExpr and subPath are mutually exclusive',
      'spec.containers[0].volumeMounts.subPathExpr: Invalid value: "../$(C)": must not contain \'..\'',
      'spec.containers[0].volumeMounts.mountPropagation: Unsupported value: "Both": supported values: "Bidirectional", "HostToContainer", "None"',
      'spec.containers[0].volumeMounts.mountPropagation: Forbidden: Bidirectional mount propagation is available only to privileged containers',
    ],
  },
  {
    name: 'ports',
    spec: {
      containers: [
        { name: 'a', image: 'x', ports: [{ containerPort: 70000 }, { containerPort: 80, protocol: 'ICMP' }] },
      ],
    },
    want: [
      'spec.containers[0].ports[0].containerPort: Invalid value: 70000: must be between 1 and 65535, inclusive',
      'spec.containers[0].ports[1].protocol: Unsupported value: "ICMP": supported values: "SCTP", "TCP", "UDP"',
    ],
  },
  {
    name: 'requests beyond limits',
    spec: {
      containers: [{ name: 'a', image: 'x', resources: { requests: { cpu: '2' }, limits: { cpu: '1' } } }],
    },
    want: [
      'spec.containers[0].resources.requests: Invalid value: "2": must be less than or equal to cpu limit of 1',
    ],
  },
  {
    name: 'a probe without a handler',
    spec: { containers: [{ name: 'a', image: 'x', readinessProbe: {} }] },
    want: ['spec.containers[0].readinessProbe: Required value: must specify a handler type'],
  },
  {
    name: 'resolver settings',
    spec: {
      containers: [{ name: 'a', image: 'x' }],
      dnsConfig: {
        nameservers: ['10.0.0.1', '10.0.0.2', '10.0.0.3', 'four'],
        searches: ['_tcp.example.com.', '.', 'Upper.example'],
        options: [{ name: 'ndots', value: '2' }, { value: '1' }],
      },
    },
    want: [
      'spec.dnsConfig.nameservers[3]: Invalid value: "four": must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)',
      'spec.dnsConfig.nameservers: Invalid value: "[\\"10.0.0.1\\",\\"10.0.0.2\\",\\"10.0.0.3\\",\\"four\\"]": must not have more than 3 nameservers',
      'spec.dnsConfig.searches[2]: Invalid value: "Upper.example": ' +
        "a search domain consists of lower case alphanumeric characters, '-', '_' or '.', and its labels start and end with an alphanumeric character or '_' (e.g. 'example.com' or '_tcp.example.com')",
      'spec.dnsConfig.options[1]: Required value: must not be empty',
    ],
  },
  {
    name: 'policies',
    spec: { restartPolicy: 'Sometimes', dnsPolicy: 'None', containers: [{ name: 'a', image: 'x' }] },
    want: [
      'spec.restartPolicy: Unsupported value: "Sometimes": supported values: "Always", "Never", "OnFailure"',
      'spec.dnsConfig.nameservers: Required value: must provide at least one DNS nameserver when `dnsPolicy` is None',
    ],
  },
];

test('pod: search lists have bounds', () => {
  const messages = (searches: string[]): readonly string[] =>
    (podKind.validate?.(pod({ containers: [{ name: 'a', image: 'x' }], dnsConfig: { searches } })) ?? []).map(
      ({ message }) => message.replace(/^Invalid value: ".*": /, ''),
    );
  const short = Array.from({ length: 33 }, (_, index) => `s${index}.example`);
  assert.deepEqual(messages(short.slice(1)), []);
  assert.deepEqual(messages(short), ['must not have more than 32 search paths']);
  const label = 'a'.repeat(60);
  const long = Array.from({ length: 10 }, (_, index) => `${label}.${label}.${label}.${index}.example`);
  assert.deepEqual(messages([...long, 'x']), []);
  assert.deepEqual(messages([...long, label, label]), [
    'must not have more than 2048 characters (including spaces) in the search list',
  ]);
});

for (const { name, spec, want } of invalid) {
  test(`pod: invalid ${name}`, () => {
    const errors = podKind.validate?.(pod(spec)) ?? [];
    assert.deepEqual(
      errors.map((error) => `${error.field}: ${error.message}`),
      want,
    );
  });
}

test('pod: only a few fields of the spec may change', () => {
  const before = pod({ containers: [{ name: 'a', image: 'x:1' }] });
  const image = structuredClone(before);
  Object.assign(((image['spec'] as JsonObject)['containers'] as JsonObject[])[0] ?? {}, { image: 'x:2' });
  assert.deepEqual(podKind.validateUpdate?.(image, before), []);
  const host = structuredClone(before);
  (host['spec'] as JsonObject)['hostNetwork'] = true;
  assert.match(
    podKind.validateUpdate?.(host, before)[0]?.message ?? '',
    /^Forbidden: pod updates may not change fields/,
  );
});

test('a negative grace was kept; it counts as one second', () => {
  const pod: JsonObject = { spec: { containers: [], terminationGracePeriodSeconds: -1 } };
  defaultPod(pod);
  assert.equal((pod['spec'] as JsonObject)['terminationGracePeriodSeconds'], 1);
});
