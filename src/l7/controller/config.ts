import type { KeyPair } from '../../base/certificates.ts';
import type { HealthAddress } from '../../base/health-server.ts';
import type { LeaderOptions } from '../../control/leader.ts';
import { controllerName } from './class.ts';
import { defaultLimits, type ProxyLimits } from '../proxy/limits.ts';
import type { BelievedFields, ForwardedStyle } from '../proxy/headers.ts';
import type { ListenAt } from '../transport/net-transport.ts';
import type { MarkingOptions } from '../proxy/request-marks.ts';

/** `path`: "-" for standard output. `share`: of requests, in [0, 1]; failures are always logged. */
export type AccessLogConfig = { readonly path: string; readonly share: number };

export type IngressConfig = {
  readonly http: readonly ListenAt[];
  readonly https: readonly ListenAt[];
  /** Names of our IngressClasses; the first is the default. Others whose controller is ours are served too. */
  readonly ingressClasses: readonly string[];
  /** What `spec.controller` of our classes says: another name for each of several installations that must not share theirs. */
  readonly controllerName: string;
  /** The annotations of ingress-nginx are honoured, and classes of its controller are served if they have one of these names. */
  readonly nginxAnnotations: boolean;
  /** With the former: what its custom-headers may set. */
  readonly nginxAllowedHeaders: readonly string[];
  /** Make those that do not exist. */
  readonly createIngressClasses: boolean;
  /** The Service through which clients reach us: its addresses are written to each Ingress's status. undefined: none are. */
  readonly publishService: { readonly namespace: string; readonly name: string } | undefined;
  /** Of several processes only the holder of this Lease writes statuses and Events. undefined: this one does. */
  readonly leaderElection:
    | Pick<
        LeaderOptions,
        'namespace' | 'name' | 'identity' | 'leaseDurationMs' | 'renewDeadlineMs' | 'retryPeriodMs'
      >
    | undefined;
  /** Signs certificates for hosts without a Secret; undefined: one made at start does. */
  readonly authority: KeyPair | undefined;
  /** undefined: no health and metrics server. */
  readonly healthAddress: HealthAddress | undefined;
  /** Ranges of proxies in front of us whose X-Forwarded-… are believed; or one number: so many proxies, whatever their addresses. */
  readonly trustedProxies: readonly string[];
  /** Connections of those proxies begin with a PROXY header, version 1 or 2, that names the client. */
  readonly proxyProtocol: boolean;
  /** What those proxies are believed by; the other one they may pass on as their client wrote it. */
  readonly trustedFields: BelievedFields;
  readonly forwarded: ForwardedStyle;
  /** undefined: no access log. */
  readonly accessLog: AccessLogConfig | undefined;
  readonly marks: MarkingOptions;
  readonly limits: ProxyLimits;
  /** From the signal on, new connections are still taken for this long while /readyz says no, ms: load balancers learn late. */
  readonly lameDuckMs: number;
  /** Then, longest time to the end, ms; requests still under way then are cut. */
  readonly drainTimeoutMs: number;
};

export const ingressDefaults = {
  ingressClasses: ['fairlead'],
  controllerName,
  nginxAnnotations: false,
  nginxAllowedHeaders: [],
  createIngressClasses: false,
  publishService: { namespace: 'kube-system', name: 'ingress' },
  leaderElection: undefined,
  authority: undefined,
  trustedProxies: [],
  proxyProtocol: false,
  trustedFields: 'x',
  forwarded: 'x',
  accessLog: undefined,
  marks: { startsTraces: false, sampledShare: 1, setsRequestId: false },
  limits: defaultLimits,
  lameDuckMs: 0,
  drainTimeoutMs: 30_000,
} as const satisfies Partial<IngressConfig>;
