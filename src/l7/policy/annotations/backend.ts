import { dnsSubdomainProblems } from '../../../api/names.ts';
import { type BackendRule, backendProtocolNames } from '../../routes/backend-protocol.ts';
import type { AnnotationReader } from './reader.ts';
import { namedObjectOf, secretAllowed } from './values.ts';

/** A bad value never makes a connection less secure: verification stays on, and a bad Secret name believes nobody. */
export function readBackend(reader: AnnotationReader): BackendRule | undefined {
  const protocol = reader.read('backend-protocol', `one of ${backendProtocolNames.join(', ')}`, (value) =>
    backendProtocolNames.find((name) => name === value.toUpperCase()),
  );
  const secret = 'backend-tls-secret';
  const named = reader.read(secret, secretAllowed, namedObjectOf);
  const serverName = reader.read('backend-tls-server-name', 'a DNS name', (value) =>
    dnsSubdomainProblems(value.toLowerCase()).length === 0 ? value.toLowerCase() : undefined,
  );
  const verify = reader.read('backend-tls-verify', '"on" or "off"', (value) =>
    value === 'on' || value === 'off' ? value : undefined,
  );
  const tlsSecret = reader.has(secret) ? { named } : undefined;
  const proxyProtocol = reader.read('proxy-protocol', '"v1" or "v2"', (value) =>
    value === 'v1' ? 1 : value === 'v2' ? 2 : undefined,
  );
  const asked = [protocol, tlsSecret, serverName, verify, proxyProtocol];
  if (asked.every((value) => value === undefined)) return undefined;
  return { protocol, tlsSecret, serverName, verify: verify !== 'off', proxyProtocol };
}
