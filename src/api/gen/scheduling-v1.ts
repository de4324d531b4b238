// Written by tools/generate-api from the model tables of @kubernetes/client-node. Do not edit by hand.
import type { ObjectMeta } from './meta-v1.ts';

export type PriorityClass = {
  readonly apiVersion?: string | undefined;
  readonly description?: string | undefined;
  readonly globalDefault?: boolean | undefined;
  readonly kind?: string | undefined;
  readonly metadata?: ObjectMeta | undefined;
  readonly preemptionPolicy?: string | undefined;
  readonly value?: number | undefined;
};
