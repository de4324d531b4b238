import type { Ingress, IngressClass } from '../../api/gen/networking-v1.ts';

export type ProblemReason =
  | 'ServiceNotFound'
  | 'PortNotFound'
  | 'SecretNotFound'
  | 'InvalidSecret'
  | 'ConfigMapNotFound'
  | 'InvalidConfigMap'
  | 'CertificateExpired'
  | 'CertificateNotYetValid'
  | 'CertificateHostMismatch'
  | 'PathConflict'
  | 'HostConflict'
  | 'UnsupportedBackend'
  | 'InvalidAnnotation'
  | 'InvalidPath'
  | 'ResourceNotFound'
  | 'InvalidResource'
  | 'UnsupportedAnnotation'
  | 'CanaryWithoutRoute';

/** Something that cannot be served as written, in an Ingress or in an IngressClass. Never stops other Ingresses. */
export type Problem =
  | { readonly ingress: Ingress; readonly reason: ProblemReason; readonly message: string }
  | { readonly ingress: IngressClass; readonly reason: 'InvalidParameters'; readonly message: string };
