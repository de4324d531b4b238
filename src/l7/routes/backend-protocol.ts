import { createHash } from 'node:crypto';
import type { Secret } from '../../api/gen/core-v1.ts';
import type { ObjectKey } from '../../api/object.ts';
import { type BalancePolicy, defaultBalance } from '../balance/balance-policy.ts';
import type { NamedObject } from '../policy/annotations/values.ts';
import type { ConnectTls } from '../transport/transport.ts';

/** What the annotation backend-protocol may say. GRPC is H2C, and GRPCS the same over TLS. */
export const backendProtocolNames = ['HTTP', 'HTTPS', 'H2C', 'GRPC', 'GRPCS'] as const;
export type BackendProtocolName = (typeof backendProtocolNames)[number];

/** How the endpoints of a backend are spoken to, encrypted or not. */
export type BackendProtocol = 'http1' | 'http2';

/**
 * @param appProtocol of the Service port; kubernetes.io/h2c is the standard one (KEP-3726), grpc is often met. All others,
 * kubernetes.io/ws and wss among them, are HTTP/1.1
 */
export function backendProtocol(access: BackendAccess, appProtocol: string | undefined): BackendProtocol {
  switch (access.protocol) {
    case 'HTTP':
    case 'HTTPS':
      return 'http1';
    case 'H2C':
    case 'GRPC':
    case 'GRPCS':
      return 'http2';
    default:
      return appProtocol === 'kubernetes.io/h2c' || appProtocol?.toLowerCase() === 'grpc' ? 'http2' : 'http1';
  }
}

/** What the annotations of an Ingress say of how its backends are spoken to. */
export type BackendRule = {
  /** undefined: what the Service port's appProtocol says, else HTTP. */
  readonly protocol: BackendProtocolName | undefined;
  /** undefined: the runtime's authorities are believed. `name` undefined: it was bad, so nobody is believed. */
  readonly tlsSecret: { readonly named: NamedObject | undefined } | undefined;
  /** undefined: see `defaultServerName`. */
  readonly serverName: string | undefined;
  readonly verify: boolean;
  /** Version of the PROXY header that tells a backend of its client; undefined: none is sent. */
  readonly proxyProtocol: 1 | 2 | undefined;
};

/** What of a rule needs no Service, with the Secret's texts; and how requests are spread. */
export type BackendAccess = Pick<BackendRule, 'protocol' | 'serverName' | 'proxyProtocol'> &
  Pick<ConnectTls, 'verify' | 'ca' | 'clientCertificate'> & {
    readonly balance: BalancePolicy;
    /** Equal for equal content. '' for an Ingress that says nothing. */
    readonly id: string;
  };

export const plainAccess: BackendAccess = {
  protocol: undefined,
  serverName: undefined,
  proxyProtocol: undefined,
  verify: true,
  ca: undefined,
  clientCertificate: undefined,
  balance: defaultBalance,
  id: '',
};

/** How the endpoints of a backend are encrypted. */
export type BackendTls = ConnectTls & {
  /** Equal for equal content: connections of one may serve the other. */
  readonly id: string;
};

/** `secret`: what the rule's tlsSecret names. A missing one, or one without `ca.crt`, makes nobody believed. */
export function backendAccess(
  rule: BackendRule | undefined,
  secret: Secret | undefined,
  balance: BalancePolicy,
): { readonly access: BackendAccess; readonly problem: string | undefined } {
  if (rule === undefined) {
    const plain = balance === defaultBalance;
    return {
      access: plain ? plainAccess : { ...plainAccess, balance, id: idOf(balance) },
      problem: undefined,
    };
  }
  const { protocol, serverName, verify, tlsSecret, proxyProtocol } = rule;
  const ca = pemOf(secret, 'ca.crt');
  const certificate = pemOf(secret, 'tls.crt');
  const key = pemOf(secret, 'tls.key');
  const content = {
    protocol,
    serverName,
    proxyProtocol,
    verify,
    ca: tlsSecret === undefined ? undefined : (ca ?? ''),
    clientCertificate: certificate === undefined || key === undefined ? undefined : { certificate, key },
    balance,
  };
  return { access: { ...content, id: idOf(content) }, problem: problemOf(rule, secret) };
}

function problemOf({ tlsSecret, verify }: BackendRule, secret: Secret | undefined): string | undefined {
  if (tlsSecret?.named === undefined || secret === undefined) return undefined; // told by who looked for it
  if (verify && pemOf(secret, 'ca.crt') === undefined) {
    return 'needs the PEM text of an authority under ca.crt; until then no backend is believed';
  }
  const one = pemOf(secret, 'tls.crt') === undefined;
  return one === (pemOf(secret, 'tls.key') === undefined)
    ? undefined
    : 'needs both tls.crt and tls.key for a client certificate';
}

function pemOf(secret: Secret | undefined, entry: string): string | undefined {
  const text = Buffer.from(secret?.data?.[entry] ?? '', 'base64').toString('latin1');
  return text.includes('-----BEGIN') ? text : undefined;
}

/** What a certificate of a Service's Pods is usually for. */
export function defaultServerName(service: ObjectKey): string {
  const [namespace, name] = service.split('/');
  return `${name}.${namespace}.svc`;
}

/**
 * How to encrypt towards a backend; undefined: not at all.
 * @param appProtocol of the Service port; https and kubernetes.io/wss mean TLS
 * @param serverName for a rule that names none
 */
export function backendTls(
  access: BackendAccess,
  appProtocol: string | undefined,
  serverName: string,
): BackendTls | undefined {
  const encrypted =
    access.protocol === undefined
      ? appProtocol?.toLowerCase() === 'https' || appProtocol === 'kubernetes.io/wss'
      : access.protocol === 'HTTPS' || access.protocol === 'GRPCS';
  if (!encrypted) return undefined;
  const { verify, ca, clientCertificate } = access;
  const content = {
    serverName: access.serverName ?? serverName,
    verify,
    ca,
    clientCertificate,
    protocols: [backendProtocol(access, appProtocol) === 'http2' ? 'h2' : 'http/1.1'],
  };
  return { ...content, id: idOf(content) };
}

/** A line about it for people. */
export function renderBackendTls(tls: BackendTls): string {
  const who = tls.ca === undefined ? 'a public authority' : tls.ca === '' ? 'nobody' : 'the CA of its Secret';
  const check = tls.verify ? `certificate for ${tls.serverName} by ${who}` : 'certificate not verified';
  return `over TLS: ${check}${tls.clientCertificate === undefined ? '' : ', client certificate shown'}`;
}

function idOf(content: object): string {
  return createHash('sha256').update(JSON.stringify(content)).digest('base64url').slice(0, 22);
}
