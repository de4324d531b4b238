/** Length of Go's units of time, ms. */
const goUnitsMs: Readonly<Record<string, number>> = {
  ns: 1e-6,
  us: 1e-3,
  µs: 1e-3,
  ms: 1,
  s: 1000,
  m: 60_000,
  h: 3_600_000,
};

/** Go's text form of a duration (`1m30s`, `0.5s`, `-1h`, `0`), in ms. Undefined when it is none. Spec: Go, time.ParseDuration. */
export function parseDurationMs(text: string): number | undefined {
  const found = /^([+-]?)(0|(?:(?:\d+\.?\d*|\.\d+)(?:ns|us|µs|ms|s|m|h))+)$/.exec(text);
  if (found === null) return undefined;
  let sum = 0;
  for (const [, amount, unit = ''] of (found[2] ?? '').matchAll(/([\d.]+)(ns|us|µs|ms|s|m|h)/g))
    sum += Number(amount) * (goUnitsMs[unit] ?? 0);
  return found[1] === '-' ? -sum : sum;
}

const secondMs = 1000;
const minuteMs = 60 * secondMs;
const hourMs = 60 * minuteMs;
const dayMs = 24 * hourMs;
const yearMs = 365 * dayMs;

/** "<invalid>" for what lies in the future by more than a clock's disagreement. */
const skewMs = 2 * secondMs;

/** kubectl's age: at most three digits' worth of precision (`45s`, `5m3s`, `3h12m`, `2d4h`, `25d`, `1y20d`). */
export function humanDuration(durationMs: number): string {
  if (durationMs < -skewMs) return '<invalid>';
  const ms = Math.max(0, durationMs);
  if (ms < 2 * minuteMs) return `${Math.floor(ms / secondMs)}s`;
  if (ms < 10 * minuteMs) return pair(ms, minuteMs, 'm', secondMs, 's');
  if (ms < 3 * hourMs) return `${Math.floor(ms / minuteMs)}m`;
  if (ms < 8 * hourMs) return pair(ms, hourMs, 'h', minuteMs, 'm');
  if (ms < 2 * dayMs) return `${Math.floor(ms / hourMs)}h`;
  if (ms < 8 * dayMs) return pair(ms, dayMs, 'd', hourMs, 'h');
  if (ms < 2 * yearMs) return `${Math.floor(ms / dayMs)}d`;
  if (ms < 8 * yearMs) return pair(ms, yearMs, 'y', dayMs, 'd');
  return `${Math.floor(ms / yearMs)}y`;
}

function pair(ms: number, bigMs: number, big: string, smallMs: number, small: string): string {
  const rest = Math.floor((ms % bigMs) / smallMs);
  const whole = `${Math.floor(ms / bigMs)}${big}`;
  return rest === 0 ? whole : `${whole}${rest}${small}`;
}

/** The age of an RFC 3339 timestamp; "<unknown>" when there is none. */
export function ageOf(timestamp: string | undefined, nowMs: number): string {
  if (timestamp === undefined || timestamp === '') return '<unknown>';
  const thenMs = Date.parse(timestamp);
  return Number.isNaN(thenMs) ? '<unknown>' : humanDuration(nowMs - thenMs);
}
