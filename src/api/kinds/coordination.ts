import type { Kind } from '../kind.ts';
import { defineKind } from './define.ts';

export const coordinationKinds: readonly Kind[] = [
  defineKind({
    group: 'coordination.k8s.io',
    version: 'v1',
    kind: 'Lease',
    plural: 'leases',
    namespaced: true,
    schema: 'coordination/v1.Lease',
  }),
];
