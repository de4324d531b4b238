// Written by tools/generate-api from the model tables of @kubernetes/client-node. Do not edit by hand.
import type { Toleration } from './core-v1.ts';
import type { ObjectMeta } from './meta-v1.ts';

export type Overhead = {
  readonly podFixed?: { readonly [key: string]: string } | undefined;
};

export type RuntimeClass = {
  readonly apiVersion?: string | undefined;
  readonly handler: string;
  readonly kind?: string | undefined;
  readonly metadata?: ObjectMeta | undefined;
  readonly overhead?: Overhead | undefined;
  readonly scheduling?: Scheduling | undefined;
};

export type Scheduling = {
  readonly nodeSelector?: { readonly [key: string]: string } | undefined;
  readonly tolerations?: readonly Toleration[] | undefined;
};
