import { annotationPrefix, type AnnotationReader } from './reader.ts';

/** What annotations that hold for connections, and not for what is said inside TLS, are called. */
const ofConnections: ReadonlySet<string> = new Set([
  'tls-passthrough',
  'allow-source-range',
  'deny-source-range',
  'rate-limit',
  'rate-limit-burst',
  'rate-limit-exempt-range',
  'connection-limit',
  'connect-timeout',
  'send-timeout',
  'fallback-service',
  'backend-weights',
  'load-balance',
  'hash-by',
  'affinity',
  'slow-start',
  'max-connections',
  'max-pending',
  'pending-timeout',
  'proxy-protocol',
  'ssl-redirect-port',
]);

/** Those of whom somebody expects that they keep people out. */
const keepOut: ReadonlySet<string> = new Set(['basic-auth-secret', 'auth-url', 'client-certificate-secret']);

/**
 * Whether TLS goes to the backends as it comes. Annotations about requests then have nothing to hold for, which is told; `closed`:
 * one of them was to keep people out, so nobody gets in.
 */
export type PassthroughRule = { readonly closed: boolean };

export function readPassthrough(
  reader: AnnotationReader,
  annotations: Readonly<Record<string, string>>,
): PassthroughRule | undefined {
  if (!reader.flag('tls-passthrough')) return undefined;
  let closed = false;
  for (const [name, value] of Object.entries(annotations)) {
    const short = name.slice(annotationPrefix.length);
    if (!name.startsWith(annotationPrefix) || holds(short, value.trim())) continue;
    closed ||= keepOut.has(short);
    const fate = keepOut.has(short) ? '; nobody is let in' : '';
    reader.bad(short, value, `requests are not seen where TLS passes through (tls-passthrough)${fate}`);
  }
  return { closed };
}

function holds(name: string, value: string): boolean {
  if (name === 'affinity') return value === 'client-ip';
  if (name === 'hash-by') return value === 'client-address';
  if (name === 'ssl-redirect') return value !== 'false'; // plain HTTP cannot be served by who speaks TLS
  // Common beside it, and no more than true of such a backend.
  if (name === 'backend-protocol') return value === 'HTTPS' || value === 'GRPCS';
  if (name === 'backend-tls-verify') return value === 'off';
  return ofConnections.has(name);
}
