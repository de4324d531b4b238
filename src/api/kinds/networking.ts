import type { Kind } from '../kind.ts';
import { ingressKind } from './ingress.ts';
import { ingressClassKind } from './ingressclass.ts';
import { networkPolicyKind } from './networkpolicy.ts';
import { ipAddressKind, serviceCidrKind } from './servicecidr.ts';

export const networkingKinds: readonly Kind[] = [
  ingressClassKind,
  ingressKind,
  ipAddressKind,
  networkPolicyKind,
  serviceCidrKind,
];
