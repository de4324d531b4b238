import { boolAt, ensureObject, listAt, stringAt } from '../fields.ts';
import type { Kind } from '../kind.ts';
import type { JsonObject } from '../object.ts';
import { defineKind } from './define.ts';
import { podColumns } from './pod-columns.ts';
import { admitPod, defaultPod, qosClassOf } from './pod-defaults.ts';
import { ephemeralContainersPart, resizePart } from './pod-parts.ts';
import { mergeLabelKeys } from './pod-placement.ts';
import { validatePodUpdate } from './pod-update.ts';
import { validatePod } from './pod-validation.ts';

export const podKind: Kind = defineKind({
  group: '',
  version: 'v1',
  kind: 'Pod',
  plural: 'pods',
  namespaced: true,
  schema: 'core/v1.Pod',
  shortNames: ['po'],
  categories: ['all'],
  subresources: [
    'status',
    'log',
    'exec',
    'attach',
    'portforward',
    'proxy',
    'eviction',
    'binding',
    'ephemeralcontainers',
    'resize',
  ],
  parts: { ephemeralcontainers: ephemeralContainersPart, resize: resizePart },
  countsGenerations: true,
  columns: podColumns,
  setDefaults: defaultPod,
  prepareForCreate(pod: JsonObject): void {
    admitPod(pod);
    mergeLabelKeys(pod);
    const status: JsonObject = { phase: 'Pending', qosClass: qosClassOf(ensureObject(pod, 'spec')) };
    if (listAt(pod, 'spec', 'schedulingGates').length > 0) {
      status['conditions'] = [
        {
          type: 'PodScheduled',
          status: 'False',
          reason: 'SchedulingGated',
          message: 'Scheduling is blocked due to non-empty scheduling gates',
        },
      ];
    }
    pod['status'] = status;
  },
  validate: validatePod,
  validateUpdate: validatePodUpdate,
  selectableFields: (pod) => ({
    'spec.nodeName': stringAt(pod, 'spec', 'nodeName'),
    'spec.restartPolicy': stringAt(pod, 'spec', 'restartPolicy'),
    'spec.schedulerName': stringAt(pod, 'spec', 'schedulerName'),
    'spec.serviceAccountName': stringAt(pod, 'spec', 'serviceAccountName'),
    'spec.hostNetwork': String(boolAt(pod, 'spec', 'hostNetwork')),
    'status.phase': stringAt(pod, 'status', 'phase'),
    'status.podIP': stringAt(pod, 'status', 'podIP'),
    'status.nominatedNodeName': stringAt(pod, 'status', 'nominatedNodeName'),
  }),
});
