import type { UpstreamRequest } from '../balance/upstream-request.ts';
import type { ProxyLimits } from './limits.ts';

/**
 * Before the answer begins. While the client still sends its body, the client is who must make progress.
 * @param bodyWhole all of the client's body has come
 * @param blocked the endpoint takes no more of it
 */
export function setWaitDeadline(
  upstream: UpstreamRequest,
  limits: ProxyLimits,
  nowMs: number,
  bodyWhole: boolean,
  blocked: boolean,
): void {
  let waitMs = Number.POSITIVE_INFINITY;
  if (bodyWhole) waitMs = limits.upstreamHeaderTimeoutMs;
  else if (blocked) waitMs = limits.upstreamSendTimeoutMs;
  upstream.deadlineMs = nowMs + waitMs;
  upstream.stallMs = nowMs + limits.upstreamStallMs;
}

/** While the answer comes. An endpoint that holds up bytes of the client must take them, whatever else it may be silent about. */
export function setRelayDeadline(
  upstream: UpstreamRequest,
  { upstreamBodyTimeoutMs, upstreamSendTimeoutMs }: ProxyLimits,
  nowMs: number,
  blocked: boolean,
): void {
  const waitMs = blocked ? upstreamSendTimeoutMs : upstreamBodyTimeoutMs;
  upstream.deadlineMs = nowMs + Math.min(waitMs, upstreamBodyTimeoutMs);
}
