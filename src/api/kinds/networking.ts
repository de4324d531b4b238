import type { Kind } from '../kind.ts';
import { defineKind } from './define.ts';

const networking = { group: 'networking.k8s.io', version: 'v1', countsGenerations: true } as const;

export const networkingKinds: readonly Kind[] = [
  defineKind({
    ...networking,
    kind: 'IngressClass',
    plural: 'ingressclasses',
    namespaced: false,
    schema: 'networking/v1.IngressClass',
  }),
  defineKind({
    ...networking,
    kind: 'Ingress',
    plural: 'ingresses',
    namespaced: true,
    schema: 'networking/v1.Ingress',
    shortNames: ['ing'],
    subresources: ['status'],
  }),
];
