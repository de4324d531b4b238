import type { Ingress } from '../api/gen/networking-v1.ts';

export type ProblemReason =
  | 'ServiceNotFound'
  | 'PortNotFound'
  | 'SecretNotFound'
  | 'InvalidSecret'
  | 'PathConflict'
  | 'HostConflict'
  | 'UnsupportedBackend'
  | 'InvalidAnnotation'
  | 'InvalidPath'
  | 'UnsupportedAnnotation'
  | 'CanaryWithoutRoute';

/** Something in an Ingress that cannot be served as written. Never stops other Ingresses. */
export type Problem = {
  readonly ingress: Ingress;
  readonly reason: ProblemReason;
  readonly message: string;
};
