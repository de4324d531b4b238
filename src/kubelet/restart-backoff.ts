/** Delays between restarts of a crashing container, and between pulls of an image that cannot be had. */
export type BackoffLimits = {
  readonly firstMs: number;
  readonly maxMs: number;
  /** A container that ran this long has recovered: its next crash counts as the first, ms. */
  readonly resetAfterMs: number;
};

/** Spec: Kubernetes, "Container restarts": 10 s, 20 s, 40 s … 5 min; reset after 10 min without trouble. */
export const restartBackoff: BackoffLimits = { firstMs: 10_000, maxMs: 300_000, resetAfterMs: 600_000 };

/** The delay that the next restart has to keep; undefined: none yet, restart at once. */
export type Backoff = { readonly delayMs: number };

/** Delay in force for a container that ran for `ranMs`: 0 means at once. */
export function delayBefore(backoff: Backoff | undefined, ranMs: number, limits: BackoffLimits): number {
  return backoff === undefined || ranMs >= limits.resetAfterMs ? 0 : backoff.delayMs;
}

/** After a restart: the delay of the one after it. */
export function afterRestart(backoff: Backoff | undefined, ranMs: number, limits: BackoffLimits): Backoff {
  if (backoff === undefined || ranMs >= limits.resetAfterMs) return { delayMs: limits.firstMs };
  return { delayMs: Math.min(limits.maxMs, backoff.delayMs * 2) };
}

/** "10s", "2m40s": as Kubernetes writes them. */
export function backoffText(ms: number): string {
  const seconds = Math.round(ms / 1000);
  return seconds < 60 ? `${seconds}s` : `${Math.floor(seconds / 60)}m${seconds % 60}s`;
}
