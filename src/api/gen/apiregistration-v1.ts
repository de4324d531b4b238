// Written by tools/generate-api from the model tables of @kubernetes/client-node. Do not edit by hand.
import type { ObjectMeta } from './meta-v1.ts';

export type APIService = {
  readonly apiVersion?: string | undefined;
  readonly kind?: string | undefined;
  readonly metadata?: ObjectMeta | undefined;
  readonly spec?: APIServiceSpec | undefined;
  readonly status?: APIServiceStatus | undefined;
};

export type APIServiceCondition = {
  readonly lastTransitionTime?: string | undefined;
  readonly message?: string | undefined;
  readonly reason?: string | undefined;
  readonly status: string;
  readonly type: string;
};

export type APIServiceSpec = {
  readonly caBundle?: string | undefined;
  readonly group?: string | undefined;
  readonly groupPriorityMinimum: number;
  readonly insecureSkipTLSVerify?: boolean | undefined;
  readonly service?: ServiceReference | undefined;
  readonly version?: string | undefined;
  readonly versionPriority: number;
};

export type APIServiceStatus = {
  readonly conditions?: readonly APIServiceCondition[] | undefined;
};

export type ServiceReference = {
  readonly name?: string | undefined;
  readonly namespace?: string | undefined;
  readonly port?: number | undefined;
};
