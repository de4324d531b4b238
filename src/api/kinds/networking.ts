import type { Kind } from '../kind.ts';
import { ingressKind } from './ingress.ts';
import { ingressClassKind } from './ingressclass.ts';
import { networkPolicyKind } from './networkpolicy.ts';

export const networkingKinds: readonly Kind[] = [ingressClassKind, ingressKind, networkPolicyKind];
