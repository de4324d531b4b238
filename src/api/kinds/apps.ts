import type { Kind } from '../kind.ts';
import { defineKind } from './define.ts';

const apps = {
  group: 'apps',
  version: 'v1',
  namespaced: true,
  categories: ['all'],
  subresources: ['status', 'scale'],
  countsGenerations: true,
} as const;

export const appsKinds: readonly Kind[] = [
  defineKind({
    ...apps,
    kind: 'Deployment',
    plural: 'deployments',
    schema: 'apps/v1.Deployment',
    shortNames: ['deploy'],
  }),
  defineKind({
    ...apps,
    kind: 'ReplicaSet',
    plural: 'replicasets',
    schema: 'apps/v1.ReplicaSet',
    shortNames: ['rs'],
  }),
];
