import { bindingKind } from './binding.ts';
import type { Kind } from '../kind.ts';
import { componentStatusKind } from './componentstatus.ts';
import { configMapKind, secretKind, serviceAccountKind } from './config.ts';
import { endpointsKind } from './endpoints.ts';
import { eventKind } from './event.ts';
import { namespaceKind } from './namespace.ts';
import { nodeKind } from './node.ts';
import { persistentVolumeKind } from './persistentvolume.ts';
import { persistentVolumeClaimKind } from './persistentvolumeclaim.ts';
import { podKind } from './pod.ts';
import { podTemplateKind } from './podtemplate.ts';
import { limitRangeKind, resourceQuotaKind } from './quota.ts';
import { replicationControllerKind } from './replicationcontroller.ts';
import { serviceKind } from './service.ts';

export const coreKinds: readonly Kind[] = [
  bindingKind,
  componentStatusKind,
  configMapKind,
  endpointsKind,
  eventKind,
  limitRangeKind,
  namespaceKind,
  nodeKind,
  persistentVolumeClaimKind,
  persistentVolumeKind,
  podKind,
  podTemplateKind,
  replicationControllerKind,
  resourceQuotaKind,
  secretKind,
  serviceAccountKind,
  serviceKind,
];
