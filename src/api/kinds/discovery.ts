import type { Kind } from '../kind.ts';
import { defineKind } from './define.ts';

export const discoveryKinds: readonly Kind[] = [
  defineKind({
    group: 'discovery.k8s.io',
    version: 'v1',
    kind: 'EndpointSlice',
    plural: 'endpointslices',
    namespaced: true,
    schema: 'discovery/v1.EndpointSlice',
    countsGenerations: true,
  }),
];
