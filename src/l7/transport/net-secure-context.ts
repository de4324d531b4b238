import { createSecureContext, type SecureContext } from 'node:tls';
import type { KeyPair } from '../../base/certificates.ts';
import { serverTlsOptions } from './tls-source.ts';

const contexts = new WeakMap<KeyPair, SecureContext>();

/** Kept by the pair's identity. Throws if the pair cannot be used. */
export function secureContextOf(pair: KeyPair): SecureContext {
  const { certificate: cert, key } = pair;
  const context = contexts.get(pair) ?? createSecureContext({ ...serverTlsOptions, cert, key });
  contexts.set(pair, context);
  return context;
}
