import { createPrivateKey, createPublicKey, type KeyObject, randomUUID } from 'node:crypto';
import { stringAt } from '../api/fields.ts';
import { isJsonObject, type Json } from '../api/object.ts';
import type { Clock } from '../base/clock.ts';
import type { Store } from '../store/store.ts';
import type { User } from './exchange.ts';
import { parseEntry } from './objects.ts';

type Identity = { readonly name: string; readonly uid: string };

/** What a token is about; a token of a Pod dies with the Pod, and tells the node that it runs on. */
export type TokenSubject = {
  readonly namespace: string;
  readonly serviceAccount: Identity;
  readonly pod?: Identity | undefined;
  readonly node?: Identity | undefined;
};

export type IssuedToken = { readonly token: string; readonly expiresAtMs: number };

export type TokenAuthority = {
  readonly issuer: string;
  issue(subject: TokenSubject, audiences: readonly string[], lifetimeSeconds: number): Promise<IssuedToken>;
  /** Undefined: not ours, expired, for other audiences, or its ServiceAccount or Pod is gone. */
  verify(token: string, audiences?: readonly string[]): Promise<VerifiedToken | undefined>;
  /** The public keys as RFC 7517 has them, for whoever checks tokens without asking us. */
  publicKeys(): Promise<Json>;
};

export type VerifiedToken = { readonly user: User; readonly audiences: readonly string[] };

type Claims = TokenSubject & {
  readonly audiences: readonly string[];
  readonly expiresAtMs: number;
  readonly tokenId: string;
};

/** Checked signatures kept, so that a busy client costs one verification. */
export const verifiedTokensMax = 1024;

/** A map that holds at most `entriesMax` values: before one more all are forgotten. */
export function createForgetfulMap<Value>(entriesMax: number) {
  const entries = new Map<string, Value>();
  return {
    get: (key: string): Value | undefined => entries.get(key),
    set(key: string, value: Value): void {
      if (entries.size >= entriesMax && !entries.has(key)) entries.clear();
      entries.set(key, value);
    },
    size: (): number => entries.size,
  };
}

/** Service account tokens: ES256 JWTs. The library is loaded with the first token. */
export function createTokenAuthority(
  store: Store,
  clock: Clock,
  options: { readonly issuer: string; readonly privateKeyPem: string; readonly publicKeyPem: string },
): TokenAuthority {
  const { issuer } = options;
  const audience = issuer;
  let keys: { readonly secret: KeyObject; readonly open: KeyObject } | undefined;
  const loadKeys = (): { readonly secret: KeyObject; readonly open: KeyObject } => {
    keys ??= {
      secret: createPrivateKey(options.privateKeyPem),
      open: createPublicKey(options.publicKeyPem),
    };
    return keys;
  };
  const verified = createForgetfulMap<Claims>(verifiedTokensMax);

  const readClaims = async (token: string): Promise<Claims | undefined> => {
    const known = verified.get(token);
    if (known !== undefined) return known;
    const { jwtVerify } = await import('jose');
    try {
      const { payload } = await jwtVerify(token, loadKeys().open, {
        issuer,
        algorithms: ['ES256'],
        currentDate: new Date(clock.nowMs()),
      });
      const claims = parseClaims(payload as { [key: string]: Json });
      if (claims === undefined) return undefined;
      verified.set(token, claims);
      return claims;
    } catch {
      return undefined; // a forged, foreign or expired token: an expected outcome
    }
  };

  return {
    issuer,
    async issue(subject, audiences, lifetimeSeconds) {
      const { SignJWT } = await import('jose');
      const nowSeconds = Math.floor(clock.nowMs() / 1000);
      const expires = nowSeconds + lifetimeSeconds;
      const token = await new SignJWT({
        'kubernetes.io': {
          namespace: subject.namespace,
          serviceaccount: { ...subject.serviceAccount },
          ...(subject.pod === undefined ? {} : { pod: { ...subject.pod } }),
          ...(subject.node === undefined ? {} : { node: { ...subject.node } }),
        },
      })
        .setProtectedHeader({ alg: 'ES256' })
        .setIssuer(issuer)
        .setSubject(`system:serviceaccount:${subject.namespace}:${subject.serviceAccount.name}`)
        .setAudience(audiences.length === 0 ? [audience] : [...audiences])
        .setIssuedAt(nowSeconds)
        .setNotBefore(nowSeconds)
        .setExpirationTime(expires)
        .setJti(randomUUID())
        .sign(loadKeys().secret);
      return { token, expiresAtMs: expires * 1000 };
    },
    async verify(token, audiences = [audience]) {
      const claims = await readClaims(token);
      if (claims === undefined || claims.expiresAtMs <= clock.nowMs()) return undefined;
      const shared = claims.audiences.filter((candidate) => audiences.includes(candidate));
      if (shared.length === 0 || !isAlive(store, claims)) return undefined;
      return { user: userOf(claims), audiences: shared };
    },
    async publicKeys() {
      const { exportJWK, calculateJwkThumbprint } = await import('jose');
      const jwk = await exportJWK(loadKeys().open);
      const kid = await calculateJwkThumbprint(jwk);
      return { keys: [{ ...jwk, use: 'sig', alg: 'ES256', kid } as Json] };
    },
  };
}

function parseClaims(payload: { readonly [key: string]: Json }): Claims | undefined {
  const facts = payload['kubernetes.io'];
  if (!isJsonObject(facts)) return undefined;
  const namespace = stringAt(facts, 'namespace');
  const name = stringAt(facts, 'serviceaccount', 'name');
  const uid = stringAt(facts, 'serviceaccount', 'uid');
  const identityAt = (key: string): Identity | undefined => {
    const known = stringAt(facts, key, 'name');
    return known === '' ? undefined : { name: known, uid: stringAt(facts, key, 'uid') };
  };
  const expires = payload['exp'];
  const audience = payload['aud'];
  if (namespace === '' || name === '' || uid === '' || typeof expires !== 'number') return undefined;
  return {
    namespace,
    serviceAccount: { name, uid },
    pod: identityAt('pod'),
    node: identityAt('node'),
    audiences: (Array.isArray(audience) ? audience : [audience]).filter((item) => typeof item === 'string'),
    expiresAtMs: expires * 1000,
    tokenId: stringAt(payload, 'jti'),
  };
}

function isAlive(store: Store, claims: Claims): boolean {
  const { namespace, serviceAccount, pod } = claims;
  return (
    hasUid(store, `/serviceaccounts/${namespace}/${serviceAccount.name}`, serviceAccount.uid) &&
    (pod === undefined || hasUid(store, `/pods/${namespace}/${pod.name}`, pod.uid))
  );
}

function hasUid(store: Store, key: string, uid: string): boolean {
  const entry = store.get(key);
  return entry !== undefined && stringAt(parseEntry(entry), 'metadata', 'uid') === uid;
}

function userOf(claims: Claims): User {
  const { namespace, serviceAccount, pod, node, tokenId } = claims;
  const extraOf = (kind: string, identity: Identity | undefined): Record<string, readonly string[]> =>
    identity === undefined
      ? {}
      : {
          [`authentication.kubernetes.io/${kind}-name`]: [identity.name],
          [`authentication.kubernetes.io/${kind}-uid`]: [identity.uid],
        };
  return {
    name: `system:serviceaccount:${namespace}:${serviceAccount.name}`,
    uid: serviceAccount.uid,
    groups: ['system:serviceaccounts', `system:serviceaccounts:${namespace}`, 'system:authenticated'],
    extra: {
      'authentication.kubernetes.io/credential-id': [`JTI=${tokenId}`],
      ...extraOf('pod', pod),
      ...extraOf('node', node),
    },
  };
}
