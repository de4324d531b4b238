import type { ProxyContext } from '../proxy/context.ts';
import type { Http2Facts, RequestHead, ResponseHead } from '../http1/http1-parse.ts';
import { Http1Request } from '../http1/upstream-http1.ts';
import { Http2Request } from '../http2/upstream-http2.ts';
import type { ReusePolicy, UpstreamEndpoint } from './upstream.ts';

/** One try of a request at one endpoint, whichever protocol it is spoken to by. */
export type UpstreamRequest = {
  readonly endpoint: UpstreamEndpoint;
  /** It can be sent at once; else `onUpstreamConnect` tells when. */
  readonly connected: boolean;
  /** Its connection has carried another request before. */
  readonly reused: boolean;
  /** Bodies are plain data in both directions: the protocol frames them itself. */
  readonly unframed: boolean;
  /** Of what was given to `send` and `write` nothing is kept, at the moment: its memory may be used again. */
  readonly keepsNothing: boolean;
  /** Then `onUpstreamTimeout` comes. */
  deadlineMs: number;
  /** From then on it is strange that no answer has come: see ProxyLimits.upstreamStallMs. */
  stallMs: number;
  /** Sends the head with the first bytes of its body. False: stop until `onUpstreamDrain`. */
  send(text: string, facts: Http2Facts | undefined, data: Buffer, start: number, end: number): boolean;
  /** False: stop until `onUpstreamDrain`. */
  write(data: Buffer | string): boolean;
  /** The body has been written. `trailers`: only for an unframed one. */
  endBody(trailers: string): void;
  /** Ends our direction of a tunnel. */
  endTunnel(): void;
  pause(): void;
  resume(): void;
  /** The whole answer has come; nothing more is told. `clean`: the whole request has gone out, too. */
  complete(clean: boolean): void;
  /** Gives it up; nothing more is told. */
  destroy(): void;
};

/** Who sends a request. Exactly one of what is marked as the end comes, if it is not given up before. */
export type UpstreamRequestOwner = {
  readonly head: RequestHead;
  onUpstreamConnect(): void;
  onUpstreamDrain(): void;
  /** Status below 200, but not 101. `context.responseLines` are those of the head, here and below. */
  onInformational(head: ResponseHead): void;
  /** Status 101; data[start, end) are the first bytes of the tunnel. */
  onUpgraded(head: ResponseHead, data: Buffer, start: number, end: number): void;
  /** `ended`: the answer is whole. End. */
  onAnswer(head: ResponseHead, data: Buffer, start: number, end: number, ended: boolean): void;
  /** `ended`: the answer is whole. End. */
  onAnswerBody(data: Buffer, start: number, end: number, ended: boolean): void;
  /** The answer is whole. End. `trailers`: lines with CRLF, only of an unframed body. */
  onAnswerEnd(trailers: string): void;
  /** The answer, or what follows of its body, breaks the rules. End. */
  onAnswerInvalid(): void;
  /** The request asks for an upgrade that this endpoint has no way to speak. End. */
  onUpgradeRefused(reason: string): void;
  onTunnelData(data: Buffer): void;
  onTunnelEnd(): void;
  /** The connection has ended or could not be made. End. `error`: undefined if it ended in peace. */
  onUpstreamClose(error: string | undefined): void;
  /** The endpoint says that it has done nothing with the request (RFC 9113 §8.7). End. `stale`: only its connection takes no more. */
  onUpstreamRefused(stale: boolean): void;
  onUpstreamTimeout(): void;
  /** The request waits for its answer, and nobody is there to give one: its endpoint cannot even be connected to. */
  onUpstreamLost(): void;
};

/** Begins a try. `preamble`: a PROXY header for connections to that endpoint, which then carry this client's requests only. */
export function openRequest(
  context: ProxyContext,
  endpoint: UpstreamEndpoint,
  owner: UpstreamRequestOwner,
  policy: ReusePolicy,
  preamble: Buffer | undefined,
): UpstreamRequest {
  return endpoint.protocol === 'http2'
    ? new Http2Request(context, endpoint, owner, preamble)
    : new Http1Request(context, endpoint, owner, policy, preamble);
}
