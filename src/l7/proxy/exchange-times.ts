import type { AccessOutcome } from './context.ts';

/** When a request came further, for the access log. Only where there is one, so that others pay nothing. */
export class ExchangeTimes {
  readonly #startedMs: number;
  #connectingSinceMs: number;
  #connectMs: number | null = null;
  #firstByteMs: number | null = null;

  /** @param startedMs when its head was whole; monotonic, as all others */
  constructor(startedMs: number) {
    this.#startedMs = startedMs;
    this.#connectingSinceMs = startedMs;
  }

  /** An endpoint has been chosen. */
  connecting(nowMs: number): void {
    this.#connectingSinceMs = nowMs;
  }

  /** It is connected to, and the request goes out. */
  connected(nowMs: number): void {
    this.#connectMs = (this.#connectMs ?? 0) + nowMs - this.#connectingSinceMs;
  }

  /** The answer for the client has begun. */
  answered(nowMs: number): void {
    this.#firstByteMs = nowMs - this.#startedMs;
  }

  /** Of all tries; 0 on a kept connection; null: none was connected. */
  get connectMs(): number | null {
    return rounded(this.#connectMs);
  }

  /** From the whole head to the first byte of an endpoint's answer; null: there was none. */
  get firstByteMs(): number | null {
    return rounded(this.#firstByteMs);
  }
}

/** To microseconds. */
export function rounded<T extends number | null>(ms: T): T {
  return (ms === null ? null : Math.round(ms * 1000) / 1000) as T;
}

export function timesOf(times: ExchangeTimes | undefined): Pick<AccessOutcome, 'connectMs' | 'firstByteMs'> {
  return { connectMs: times?.connectMs ?? null, firstByteMs: times?.firstByteMs ?? null };
}

/** Of bodies, and of the tunnel that an upgrade became. */
export function bytesOf(
  receivedBytes: number,
  sentBytes: number,
  tunnel: Pick<AccessOutcome, 'receivedBytes' | 'sentBytes'> | undefined,
): Pick<AccessOutcome, 'receivedBytes' | 'sentBytes'> {
  if (tunnel === undefined) return { receivedBytes, sentBytes };
  return {
    receivedBytes: receivedBytes + tunnel.receivedBytes,
    sentBytes: sentBytes + tunnel.sentBytes,
  };
}
