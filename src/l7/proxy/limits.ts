import type { Http2Options } from '../http2/http2-settings.ts';

/** Every bound of the proxy, with what happens at it. Times in ms, sizes in bytes. */
export type ProxyLimits = {
  /** A client has this long for a request's head, from its first byte (or from connecting). Then 408, or a close if it sent nothing. */
  readonly clientHeaderTimeoutMs: number;
  /** A kept-alive connection without a request is closed after this. */
  readonly clientIdleTimeoutMs: number;
  /** A client that neither sends its body on nor takes bytes of the answer, or of a tunnel, for this long is cut. */
  readonly clientBodyTimeoutMs: number;
  /** A connection to an endpoint not made by then counts as failed: another endpoint, or 504. */
  readonly upstreamConnectTimeoutMs: number;
  /** An endpoint that has the whole request and says nothing for this long: 504. */
  readonly upstreamHeaderTimeoutMs: number;
  /** An endpoint that takes no more of a request's body for this long: 504; of a tunnel: it is cut. */
  readonly upstreamSendTimeoutMs: number;
  /** An endpoint that pauses in the middle of an answer for this long: the client's connection is cut. */
  readonly upstreamBodyTimeoutMs: number;
  /** From a request's head to the end of its answer. Beyond: 504, or the client's connection is cut. Not for upgraded connections. */
  readonly requestTimeoutMs: number;
  /** Unused connections to endpoints are closed after this. */
  readonly upstreamIdleTimeoutMs: number;
  /** Requests that must not be sent twice take only connections used within this time, which the endpoint will hardly just be closing. */
  readonly upstreamFreshMs: number;
  /** An upgraded connection with no byte either way is closed after this. */
  readonly tunnelIdleTimeoutMs: number;
  /** After an early answer, what the client still sends is read and thrown away for this long, so that it gets to read the answer. */
  readonly lingerTimeoutMs: number;
  /** While stopping, a connection without a request is closed after this; a request that comes meanwhile is answered with "Connection: close". */
  readonly drainIdleMs: number;
  /** Request line and fields of one request. More: 431. */
  readonly headBytesMax: number;
  /** Fields of one head. More: 431 to a client, 502 for an endpoint's answer. */
  readonly headerCountMax: number;
  /** Request target. More: 414. */
  readonly targetBytesMax: number;
  /** Head of an endpoint's answer. More: 502. */
  readonly responseHeadBytesMax: number;
  /** Body of one request. More: 413. */
  readonly requestBodyBytesMax: number;
  /** Body of an idempotent request that is kept for sending it again. Beyond: such a request is not retried. */
  readonly replayBytesMax: number;
  /** Endpoints that one request tries to connect to. Beyond: 502 or 504. */
  readonly connectAttemptsMax: number;
  /** An endpoint that refused or timed out is passed over for this long while others are there, then tried by a connection of our own … */
  readonly quarantineMs: number;
  /** … and, failing again, for twice as long each time, up to this. */
  readonly quarantineMaxMs: number;
  /**
   * An endpoint that owes an answer for this long is asked by a connection of our own whether it is there, and again each time it
   * passes. If it is not, requests that may be sent twice go elsewhere, long before upstreamHeaderTimeoutMs.
   */
  readonly upstreamStallMs: number;
  /** Informational (1xx) answers to one request. More: 502. */
  readonly informationalMax: number;
  /** Client connections. More are closed as soon as they are made. */
  readonly clientConnectionsMax: number;
  /** Connections to one endpoint. At the bound it is passed over; if all are: 503. */
  readonly endpointConnectionsMax: number;
  /** Of these, how many are kept when unused. */
  readonly endpointIdleMax: number;
  /** Requests that one client may have open on a connection of HTTP/2. More: REFUSED_STREAM. */
  readonly http2StreamsMax: number;
  /** Requests that we open on one connection of HTTP/2 to an endpoint, if it allows as many. More: another connection. */
  readonly upstreamStreamsMax: number;
  /** Bytes of a body that a peer may send ahead on one stream, so what a slow reader on the other side costs at most. Then it must wait. */
  readonly http2StreamWindowBytes: number;
  /** The same for all streams of a client's connection together. */
  readonly http2ClientWindowBytes: number;
  /** CONTINUATION frames of one head. More: GOAWAY with ENHANCE_YOUR_CALM. So for a head beyond headBytesMax as it comes; one that unpacks to more: 431. */
  readonly http2ContinuationsMax: number;
  /** Requests that a client may take back, or that are broken, at once. More: GOAWAY with ENHANCE_YOUR_CALM. Each answered one gives half of one back. */
  readonly http2ResetsBurst: number;
  /** How many of these come back each second. */
  readonly http2ResetsPerSecond: number;
  /** Frames that carry nothing (SETTINGS, PING, PRIORITY, WINDOW_UPDATE, empty DATA, unknown ones) at once. More: GOAWAY with ENHANCE_YOUR_CALM. */
  readonly http2ControlFramesBurst: number;
  /** How many of these come back each second; two more for each DATA frame that the peer is sent. */
  readonly http2ControlFramesPerSecond: number;
  /**
   * A connection of HTTP/2 to an endpoint with requests open and nothing coming for this long is asked for a sign of life. Servers of gRPC end
   * connections that are asked more often than every five minutes without having answered anything; where an answer has come since the last
   * time, upstreamStallMs is enough.
   */
  readonly upstreamPingIntervalMs: number;
  /** No sign of life by then: the connection is lost. */
  readonly upstreamPingTimeoutMs: number;
};

/**
 * A call of gRPC may be silent for as long as a tunnel, but for what its client waits itself, with a second for what is on its
 * way: then it is answered or cut here. What a route says itself, so that `limits` differ from those of the process, counts.
 */
export function grpcLimits(
  limits: ProxyLimits,
  ofProcess: ProxyLimits,
  grpc: { readonly timeoutMs: number | undefined } | undefined,
): ProxyLimits {
  if (grpc === undefined) return limits;
  const idleMs = ofProcess.tunnelIdleTimeoutMs;
  const waitMs = grpc.timeoutMs === undefined ? idleMs : Math.min(grpc.timeoutMs + 1000, idleMs);
  const { upstreamHeaderTimeoutMs: headerMs, upstreamBodyTimeoutMs: bodyMs } = limits;
  return {
    ...limits,
    upstreamHeaderTimeoutMs: headerMs === ofProcess.upstreamHeaderTimeoutMs ? waitMs : headerMs,
    upstreamBodyTimeoutMs: bodyMs === ofProcess.upstreamBodyTimeoutMs ? waitMs : bodyMs,
  };
}

/** The bounds of one connection of HTTP/2. */
export function http2Options(limits: ProxyLimits, role: Http2Options['role']): Http2Options {
  const isServer = role === 'server';
  const streamsMax = isServer ? limits.http2StreamsMax : limits.upstreamStreamsMax;
  const streamWindowBytes = limits.http2StreamWindowBytes;
  return {
    role,
    streamsMax,
    streamWindowBytes,
    // Towards an endpoint a slow client must not stop others: there is room for what all streams may hold.
    connectionWindowBytes: isServer ? limits.http2ClientWindowBytes : streamsMax * streamWindowBytes,
    headBytesMax: isServer ? limits.headBytesMax : limits.responseHeadBytesMax,
    fieldsMax: 2 * limits.headerCountMax, // cookies may come as many and become one
    continuationsMax: limits.http2ContinuationsMax,
    resetsBurst: limits.http2ResetsBurst,
    resetsPerSecond: limits.http2ResetsPerSecond,
    controlFramesBurst: limits.http2ControlFramesBurst,
    controlFramesPerSecond: limits.http2ControlFramesPerSecond,
  };
}

export const defaultLimits: ProxyLimits = {
  clientHeaderTimeoutMs: 15_000,
  clientIdleTimeoutMs: 75_000,
  clientBodyTimeoutMs: 60_000,
  upstreamConnectTimeoutMs: 4_000,
  upstreamHeaderTimeoutMs: 60_000,
  upstreamSendTimeoutMs: 60_000,
  upstreamBodyTimeoutMs: 60_000,
  requestTimeoutMs: Number.POSITIVE_INFINITY, // as nginx and Traefik: downloads, streams and long polls are requests, too
  upstreamIdleTimeoutMs: 30_000,
  upstreamFreshMs: 1_000,
  tunnelIdleTimeoutMs: 3_600_000,
  lingerTimeoutMs: 2_000,
  drainIdleMs: 1_000,
  headBytesMax: 32_768,
  headerCountMax: 100,
  targetBytesMax: 16_384,
  responseHeadBytesMax: 65_536,
  requestBodyBytesMax: Number.MAX_SAFE_INTEGER, // as Traefik: a body streams through and costs no memory
  replayBytesMax: 65_536,
  connectAttemptsMax: 32,
  quarantineMs: 2_000,
  quarantineMaxMs: 30_000,
  upstreamStallMs: 5_000,
  informationalMax: 16,
  clientConnectionsMax: 20_000,
  endpointConnectionsMax: 4_096,
  endpointIdleMax: 1_024,
  http2StreamsMax: 128,
  upstreamStreamsMax: 100,
  http2StreamWindowBytes: 131_072,
  http2ClientWindowBytes: 1_048_576,
  http2ContinuationsMax: 32,
  http2ResetsBurst: 200,
  http2ResetsPerSecond: 20,
  http2ControlFramesBurst: 1_000,
  http2ControlFramesPerSecond: 100,
  upstreamPingIntervalMs: 310_000,
  upstreamPingTimeoutMs: 10_000,
};
