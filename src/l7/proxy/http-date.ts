import type { Clock } from '../../base/clock.ts';

/** Tells the date as HTTP writes it (RFC 9110 §5.6.7). Its text is made once a second. */
export function httpDates(clock: Pick<Clock, 'nowMs'>): () => string {
  let second = Number.NaN;
  let text = '';
  return () => {
    const now = Math.floor(clock.nowMs() / 1000);
    if (now === second) return text;
    second = now;
    text = new Date(now * 1000).toUTCString();
    return text;
  };
}
