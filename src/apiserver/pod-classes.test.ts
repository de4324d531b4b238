import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { JsonObject } from '../api/object.ts';
import { admitPriorityClass, admitRuntimeClass } from './pod-classes.ts';

const priorities: readonly JsonObject[] = [
  { metadata: { name: 'low' }, value: 10, globalDefault: true },
  { metadata: { name: 'high' }, value: 1000, preemptionPolicy: 'Never' },
];

const ofPriority = [
  { name: 'the default class', spec: {}, want: { priorityClassName: 'low', priority: 10 } },
  {
    name: 'its class',
    spec: { priorityClassName: 'high' },
    want: { priority: 1000, preemptionPolicy: 'Never' },
  },
  {
    name: 'a class of the system',
    spec: { priorityClassName: 'system-node-critical' },
    want: { priority: 2000001000 },
  },
  {
    name: 'the class’s own number',
    spec: { priorityClassName: 'high', priority: 1000 },
    want: { priority: 1000 },
  },
  { name: 'no such class', spec: { priorityClassName: 'x' }, want: 'no PriorityClass with name x was found' },
  {
    name: 'a number of its own',
    spec: { priority: 5 },
    want: 'the integer value of priority (5) must not be provided in pod spec; priority admission controller computed 10 from the given PriorityClass name',
  },
  {
    name: 'a policy of its own',
    spec: { preemptionPolicy: 'Never' },
    want: 'the string value of PreemptionPolicy (Never) must not be provided in pod spec; priority admission controller computed PreemptLowerPriority from the given PriorityClass name',
  },
] as const;

const runtimes: readonly JsonObject[] = [
  { metadata: { name: 'plain' }, handler: 'runc' },
  {
    metadata: { name: 'vm' },
    handler: 'vm',
    overhead: { podFixed: { memory: '64Mi' } },
    scheduling: { nodeSelector: { vm: 'yes' }, tolerations: [{ key: 'vm', operator: 'Exists' }] },
  },
];

const ofRuntime = [
  { name: 'none', spec: {}, want: {} },
  {
    name: 'its overhead and nodes',
    spec: { runtimeClassName: 'vm', nodeSelector: { a: '1' } },
    want: {
      overhead: { memory: '64Mi' },
      nodeSelector: { a: '1', vm: 'yes' },
      tolerations: [{ key: 'vm', operator: 'Exists' }],
    },
  },
  {
    name: 'no such class',
    spec: { runtimeClassName: 'x' },
    want: 'pod rejected: RuntimeClass "x" not found',
  },
  {
    name: 'overhead without a class',
    spec: { overhead: { cpu: '1' } },
    want: 'pod rejected: Pod Overhead set without corresponding RuntimeClass defined Overhead',
  },
  {
    name: 'another overhead',
    spec: { runtimeClassName: 'vm', overhead: { memory: '1Mi' } },
    want: "pod rejected: Pod's Overhead doesn't match RuntimeClass's defined Overhead",
  },
  {
    name: 'other nodes',
    spec: { runtimeClassName: 'vm', nodeSelector: { vm: 'no' } },
    want: 'conflict: runtimeClass.scheduling.nodeSelector[vm] = yes; pod.spec.nodeSelector[vm] = no',
  },
] as const;

function check(admit: (pod: JsonObject) => string | undefined, spec: object, want: string | object): void {
  const pod: JsonObject = { spec: structuredClone(spec) as JsonObject };
  const refusal = admit(pod);
  if (typeof want === 'string') {
    assert.equal(refusal, want);
    return;
  }
  assert.equal(refusal, undefined);
  assert.equal(admit(pod), undefined, 'may be repeated');
  assert.partialDeepStrictEqual(pod['spec'], want);
}

for (const { name, spec, want } of ofPriority) {
  test(`pod admission: priority, ${name}`, () =>
    check((pod) => admitPriorityClass(pod, priorities), spec, want));
}

for (const { name, spec, want } of ofRuntime) {
  test(`pod admission: runtime class, ${name}`, () =>
    check((pod) => admitRuntimeClass(pod, runtimes), spec, want));
}
