import type { TimedRequest } from '../balance/attempts.ts';
import type { BackendState } from '../balance/backend-state.ts';
import type { ClientFacts } from './headers.ts';
import type { FieldLines } from '../http1/http1-fields.ts';
import type { RequestHead } from '../http1/http1-parse.ts';
import type { ProxyLimits } from './limits.ts';
import type { ProxyMetrics } from '../observe/metrics.ts';
import type { PolicyStates } from '../policy/policy-states.ts';
import type { RequestMarker, RequestMarks } from './request-marks.ts';
import type { RouteTable } from '../routes/table.ts';
import type { UpstreamPool } from '../balance/upstream.ts';

/** What requests are routed by. Replaced as a whole. */
export type LiveRoutes = {
  readonly table: RouteTable;
  /** By Backend.index. */
  readonly states: readonly BackendState[];
};

/** One finished request. */
export type AccessRecord = {
  readonly clientAddress: string;
  readonly scheme: 'http' | 'https';
  /** What the client speaks. */
  readonly protocol: 'HTTP/1.0' | 'HTTP/1.1' | 'HTTP/2' | 'TLS';
  readonly method: string;
  readonly host: string;
  readonly target: string;
  /** 499: the client left before the answer. */
  readonly status: number;
  readonly durationMs: number;
  /** Making connections to endpoints took so long; 0: a kept one was used; null: none was made. */
  readonly connectMs: number | null;
  /** From the whole head to the first byte of an endpoint's answer; null: there was none. */
  readonly firstByteMs: number | null;
  /** Of the body as its framing shows it, or of the tunnel: from the client … */
  readonly receivedBytes: number;
  /** … and from the endpoint for it, before compression. */
  readonly sentBytes: number;
  /** "namespace/service:port"; '' if none was found. */
  readonly backend: string;
  /** "address:port" of the endpoint that answered; '' if none did. */
  readonly endpoint: string;
  /** Times that it was sent to an endpoint. */
  readonly attempts: number;
  /** 32 hexadecimal digits; '' without a trace. */
  readonly traceId: string;
  /** The request came with a trace that is sampled. */
  readonly traceSampled: boolean;
  /** X-Request-ID; '' without. */
  readonly requestId: string;
  /** As `TLSv1.3`; '' without TLS that ends here. */
  readonly tlsVersion: string;
  /** What the client of TLS asked for (SNI); '' for none. */
  readonly serverName: string;
};

/** What is known of a request when it has ended. */
export type AccessOutcome = Pick<
  AccessRecord,
  | 'status'
  | 'durationMs'
  | 'connectMs'
  | 'firstByteMs'
  | 'receivedBytes'
  | 'sentBytes'
  | 'backend'
  | 'endpoint'
  | 'attempts'
>;

/** The record of a request that has ended as `outcome` says. */
export function accessRecord(
  client: ClientFacts,
  { method, host, target, minorVersion, http2 }: RequestHead,
  outcome: AccessOutcome,
  marks: RequestMarks | undefined,
): AccessRecord {
  const { traceId = '', traceSampled = false, requestId = '' } = marks ?? {};
  const { address: clientAddress, scheme } = client;
  const protocol = http2 !== undefined ? 'HTTP/2' : minorVersion === 0 ? 'HTTP/1.0' : 'HTTP/1.1';
  return {
    clientAddress,
    scheme,
    protocol,
    method,
    host,
    target,
    ...outcome,
    traceId,
    traceSampled,
    requestId,
    tlsVersion: client.tls?.version ?? '',
    serverName: client.tls?.serverName ?? '',
  };
}

/** What the connections of one worker share. */
export type ProxyContext = {
  readonly limits: ProxyLimits;
  readonly metrics: ProxyMetrics;
  readonly pool: UpstreamPool;
  /** Scratch space of the head that is being parsed; valid until the next one is. */
  readonly requestLines: FieldLines;
  readonly responseLines: FieldLines;
  /** What rate limits and canaries count; outlives tables. */
  readonly policyStates: PolicyStates;
  /** Whether an address is a proxy of ours, so that what it says of its client is believed. */
  isTrusted(address: string): boolean;
  /** Requests whose whole time is bounded: few, so that the others cost nothing. */
  readonly timed: Set<TimedRequest>;
  live: LiveRoutes;
  /** undefined: requests are neither given nor asked for marks. */
  readonly marker: RequestMarker | undefined;
  /** How many proxies in front are believed, by count; 0: by address. */
  readonly trustedHops: number;
  /** Connections are closed after the answer under way. */
  draining: boolean;
  /** Monotonic. */
  nowMs(): number;
  /** Now, as HTTP writes it. */
  readonly date: () => string;
  /** undefined: no access log. */
  readonly onAccess: ((record: AccessRecord) => void) | undefined;
};
