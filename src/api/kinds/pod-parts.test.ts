import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { JsonObject } from '../object.ts';
import { podKind } from './pod.ts';
import type { PartName } from '../kind.ts';

const requests = { cpu: '1', memory: '64Mi' };
const limits = { cpu: '2', memory: '128Mi' };

function pod(change: JsonObject = {}, container: JsonObject = {}): JsonObject {
  return {
    metadata: { name: 'p', namespace: 'default' },
    spec: {
      containers: [{ name: 'main', image: 'x', resources: { requests, limits }, ...container }],
      ...change,
    },
    status: { phase: 'Running' },
  };
}

const debug = { name: 'debug', image: 'busybox', targetContainerName: 'main' };

type Case = {
  readonly part: PartName;
  readonly name: string;
  readonly old?: JsonObject;
  readonly wanted: JsonObject;
  readonly want: readonly string[];
};

const cases: readonly Case[] = [
  {
    part: 'ephemeralcontainers',
    name: 'one is added',
    wanted: pod({ ephemeralContainers: [debug] }),
    want: [],
  },
  {
    part: 'ephemeralcontainers',
    name: 'nothing else of the Pod is taken',
    wanted: pod({ ephemeralContainers: [debug], nodeName: 'other' }, { image: 'y' }),
    want: [],
  },
  {
    part: 'ephemeralcontainers',
    name: 'one is removed',
    old: pod({ ephemeralContainers: [debug] }),
    wanted: pod(),
    want: ['spec.ephemeralContainers: Forbidden: existing ephemeral containers "debug" may not be removed\n'],
  },
  {
    part: 'ephemeralcontainers',
    name: 'one is changed',
    old: pod({ ephemeralContainers: [debug] }),
    wanted: pod({ ephemeralContainers: [{ ...debug, image: 'y' }] }),
    want: ['spec.ephemeralContainers: Forbidden: existing ephemeral containers "debug" may not be changed\n'],
  },
  {
    part: 'ephemeralcontainers',
    name: 'ports, probes, resources and subPath have no place there',
    old: pod({ volumes: [{ name: 'v', emptyDir: {} }] }),
    wanted: pod({
      ephemeralContainers: [
        {
          ...debug,
          ports: [{ containerPort: 80 }],
          livenessProbe: { tcpSocket: { port: 80 } },
          resources: { requests },
          volumeMounts: [{ name: 'v', mountPath: '/v', subPath: 'a' }],
        },
      ],
    }),
    want: [
      'spec.ephemeralContainers[0].livenessProbe: Forbidden: cannot be set for an Ephemeral Container',
      'spec.ephemeralContainers[0].ports: Forbidden: cannot be set for an Ephemeral Container',
      'spec.ephemeralContainers[0].resources: Forbidden: cannot be set for an Ephemeral Container',
      'spec.ephemeralContainers[0].volumeMounts[0].subPath: Forbidden: cannot be set for an Ephemeral Container',
    ],
  },
  {
    part: 'ephemeralcontainers',
    name: 'the target must be a container',
    wanted: pod({ ephemeralContainers: [{ ...debug, targetContainerName: 'none' }] }),
    want: ['spec.ephemeralContainers[0].targetContainerName: Not found: "none"'],
  },
  {
    part: 'ephemeralcontainers',
    name: 'a name must not be taken',
    wanted: pod({ ephemeralContainers: [{ ...debug, name: 'main' }] }),
    want: ['spec.ephemeralContainers[0].name: Duplicate value: "main"'],
  },
  {
    part: 'resize',
    name: 'CPU and memory change',
    wanted: pod({}, { resources: { requests: { cpu: '500m', memory: '1Mi' }, limits }, image: 'y' }),
    want: [],
  },
  {
    part: 'resize',
    name: 'limits and requests cannot be removed',
    wanted: pod({}, { resources: { requests: { cpu: '1' }, limits: { memory: '128Mi' } } }),
    want: [
      'spec.containers[0].resources.limits: Forbidden: resource limits cannot be removed',
      'spec.containers[0].resources.requests: Forbidden: resource requests cannot be removed',
    ],
  },
  {
    part: 'resize',
    name: 'the QoS class cannot change',
    wanted: pod({}, { resources: { requests: limits, limits } }),
    want: ['spec: Invalid value: "Guaranteed": Pod QOS Class may not change as a result of resizing'],
  },
  {
    part: 'resize',
    name: 'other resources cannot change',
    wanted: pod({}, { resources: { requests: { ...requests, 'ephemeral-storage': '1Gi' }, limits } }),
    want: ['spec: Forbidden: only cpu and memory resources are mutable'],
  },
  {
    part: 'resize',
    name: 'a container cannot be added',
    wanted: pod({
      containers: [
        { name: 'main', image: 'x' },
        { name: 'more', image: 'x' },
      ],
    }),
    want: ['spec.containers: Forbidden: containers may not be added or removed on resize'],
  },
  {
    part: 'resize',
    name: 'a request above its limit',
    wanted: pod({}, { resources: { requests: { cpu: '3', memory: '64Mi' }, limits } }),
    want: [
      'spec.containers[0].resources.requests: Invalid value: "3": must be less than or equal to cpu limit of 2',
    ],
  },
];

for (const { part, name, old = pod(), wanted, want } of cases) {
  test(`pods/${part}: ${name}`, () => {
    const rules = podKind.parts?.[part];
    const object = rules?.take(wanted, old) ?? {};
    const errors = [...(podKind.validate?.(object, old) ?? []), ...(rules?.validate(object, old) ?? [])];
    assert.deepEqual(
      errors.map(({ field, message }) => `${field}: ${message}`),
      want,
    );
    const image = (of: JsonObject): unknown => JSON.stringify(of).match(/"name":"main","image":"(\w)"/)?.[1];
    assert.equal(image(object), 'x', 'a part takes nothing else');
  });
}
