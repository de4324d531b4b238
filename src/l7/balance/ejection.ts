/** What speaks against an endpoint: connections that fail, or the answers that it gives. */
export type EjectionCause = 'connection' | 'answers';

type Phase = 'none' | 'ejected' | 'half-open' | 'probing';

/**
 * Whether an endpoint is to be passed over. After some time it is tried again by one probe: for connections by a connection of our
 * own, for answers by one request. It comes back only if that goes well; else it is out for twice as long.
 */
export class Ejection {
  /** Others go first: it is out, or being tried. */
  active = false;
  /** Failures in a row, for whoever decides when it is enough. */
  failures = 0;
  cause: EjectionCause = 'connection';
  untilMs = 0;
  #phase: Phase = 'none';
  #times = 0;
  #recoveredMs = Number.NEGATIVE_INFINITY;

  /** Something is remembered against it, so that success must be told. */
  get marked(): boolean {
    return this.#phase !== 'none' || this.failures > 0;
  }

  /** One try is under way, and all depends on it. */
  get probing(): boolean {
    return this.#phase === 'probing';
  }

  /** @param maxMs bound of the doubling; an endpoint that was well for as long starts again at `baseMs` */
  eject(cause: EjectionCause, baseMs: number, maxMs: number, nowMs: number): void {
    if (this.#phase === 'ejected' && this.cause === cause) return; // more of the same: requests that were already under way
    if (this.#phase === 'none' && nowMs - this.#recoveredMs > maxMs) this.#times = 0;
    this.untilMs = nowMs + Math.min(maxMs, baseMs * 2 ** this.#times);
    this.#times = Math.min(this.#times + 1, 30);
    this.cause = cause;
    this.#enter('ejected');
  }

  /** Called now and then. True: its time is over, and the caller must try to connect. */
  tick(nowMs: number): boolean {
    if (this.#phase !== 'ejected' || this.untilMs > nowMs) return false;
    this.#enter(this.cause === 'connection' ? 'probing' : 'half-open');
    return this.cause === 'connection';
  }

  /** A request goes to it. True: that is the probe, whose end must be told. */
  taken(): boolean {
    if (this.#phase !== 'half-open') return false;
    this.#enter('probing');
    return true;
  }

  connected(nowMs: number): void {
    if (this.cause === 'connection' && this.#phase !== 'none') this.#recover(nowMs);
  }

  /** It has given an answer that is no failure. */
  answered(nowMs: number): void {
    this.failures = 0;
    if (this.#phase !== 'none') this.#recover(nowMs);
  }

  /** The probe has ended without a verdict, as when its client left: the next request is one. */
  undecided(): void {
    if (this.#phase === 'probing') this.#enter('half-open');
  }

  #recover(nowMs: number): void {
    this.failures = 0;
    this.#recoveredMs = nowMs;
    this.#enter('none');
  }

  #enter(phase: Phase): void {
    this.#phase = phase;
    this.active = phase === 'ejected' || phase === 'probing';
  }
}
