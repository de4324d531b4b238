import type { Kind } from '../kind.ts';
import { configMapKind, secretKind, serviceAccountKind } from './config.ts';
import { endpointsKind } from './endpoints.ts';
import { eventKind } from './event.ts';
import { namespaceKind } from './namespace.ts';
import { nodeKind } from './node.ts';
import { podKind } from './pod.ts';
import { serviceKind } from './service.ts';

export const coreKinds: readonly Kind[] = [
  configMapKind,
  endpointsKind,
  eventKind,
  namespaceKind,
  nodeKind,
  podKind,
  secretKind,
  serviceAccountKind,
  serviceKind,
];
