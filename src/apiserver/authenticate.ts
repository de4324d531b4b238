import type { IncomingHttpHeaders } from 'node:http';
import type { PeerCertificate } from 'node:tls';
import { unauthorized } from '../api/status.ts';
import type { User } from './exchange.ts';
import type { TokenAuthority } from './tokens.ts';

export const anonymous: User = {
  name: 'system:anonymous',
  uid: '',
  groups: ['system:unauthenticated'],
  extra: {},
};

/** What TLS knows of the peer. */
export type PeerIdentity =
  | { readonly kind: 'none' }
  /** Verified against the cluster's CA. */
  | { readonly kind: 'verified'; readonly user: User }
  /** A certificate was shown that our CA has not signed, or that is not valid now. */
  | { readonly kind: 'refused' };

/** Reads a client certificate as Kubernetes does: CN is the user, each O a group. */
export function identityOf(certificate: PeerCertificate | undefined, verified: boolean): PeerIdentity {
  if (certificate === undefined || Object.keys(certificate).length === 0) return { kind: 'none' };
  if (!verified) return { kind: 'refused' };
  const { CN, O } = certificate.subject;
  const name = [CN].flat()[0] ?? '';
  if (name === '') return { kind: 'refused' };
  const groups = [O].flat().flatMap((group) => (group === undefined || group === '' ? [] : [group]));
  return {
    kind: 'verified',
    user: { name, uid: '', groups: [...groups, 'system:authenticated'], extra: {} },
  };
}

/** Certificate first, then bearer token, else anonymous. Throws StatusError 401 for credentials that do not hold. */
export async function authenticate(
  peer: PeerIdentity,
  headers: Readonly<IncomingHttpHeaders>,
  tokens: TokenAuthority,
): Promise<User> {
  if (peer.kind === 'verified') return peer.user;
  const token = /^bearer +(\S+) *$/i.exec(headers.authorization ?? '')?.[1];
  if (token !== undefined) {
    const verified = await tokens.verify(token);
    if (verified === undefined) throw unauthorized();
    return verified.user;
  }
  if (peer.kind === 'refused' || headers.authorization !== undefined) throw unauthorized();
  return anonymous;
}
