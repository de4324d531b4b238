import { type ResourceRecord, rcodes } from './wire.ts';

/** What another server said, as far as it is passed on. */
export type ForwardAnswer = {
  readonly rcode: number;
  readonly authenticData: boolean;
  readonly answers: readonly ResourceRecord[];
  readonly authorities: readonly ResourceRecord[];
  readonly additionals: readonly ResourceRecord[];
  /** How long this is the answer as it stands, ms; then its times to live are shorter. Undefined: not known. */
  readonly sameForMs?: number | undefined;
};

export const cacheLimits = {
  /** At this many answers the one that was asked for longest ago makes room. */
  entriesMax: 10_000,
  /** Bigger answers are not kept. */
  entryBytesMax: 4096,
  /** However long an answer says it holds. */
  positiveSecondsMax: 300,
  negativeSecondsMax: 30,
  /** How long an answer is kept behind its time, for when nobody gives a new one (RFC 8767: one to three days). */
  staleSecondsMax: 86_400,
  /** The time to live that such an answer is given out with (RFC 8767, section 4). */
  staleTtlSeconds: 30,
  /** An answer that was asked for so often is renewed before its time is over … */
  refreshHitsMin: 2,
  /** … when so much of its time is left, */
  refreshShare: 0.1,
  /** or so little at all. */
  refreshLeastMs: 1000,
} as const;

type Entry = {
  readonly answer: ForwardAnswer;
  readonly storedMs: number;
  readonly expiresMs: number;
  hits: number;
  refreshing: boolean;
  /** Until then nobody need be asked again after a failure. */
  retryAtMs: number | undefined;
};

/** An answer whose time is over. */
export type StaleAnswer = { readonly answer: ForwardAnswer; readonly retryAtMs: number | undefined };

/** Answers of other servers for as long as they allow. Time is given by the caller, on any clock that does not step back. */
export class AnswerCache {
  readonly #entries = new Map<string, Entry>(); // in order of last use

  get size(): number {
    return this.#entries.size;
  }

  /** The answer with what is left of its times, or undefined. */
  get(key: string, nowMs: number): ForwardAnswer | undefined {
    const entry = this.#entries.get(key);
    if (entry === undefined) return undefined;
    if (entry.expiresMs <= nowMs) return undefined;
    this.#entries.delete(key);
    this.#entries.set(key, entry);
    entry.hits += 1;
    const ageMs = nowMs - entry.storedMs;
    const age = Math.floor(ageMs / 1000);
    const sameForMs = Math.min(entry.expiresMs - nowMs, (age + 1) * 1000 - ageMs);
    return { ...aged(entry.answer, age), sameForMs };
  }

  /** Once for each answer that is asked for often and soon over: it is time to ask for a new one. */
  dueForRefresh(key: string, nowMs: number): boolean {
    const entry = this.#entries.get(key);
    if (entry === undefined || entry.refreshing || entry.hits < cacheLimits.refreshHitsMin) return false;
    const wholeMs = entry.expiresMs - entry.storedMs;
    const leastMs = Math.max(cacheLimits.refreshLeastMs, wholeMs * cacheLimits.refreshShare);
    if (entry.expiresMs - nowMs > leastMs) return false;
    entry.refreshing = true;
    return true;
  }

  /** Records whose time is over, but not for too long. Absence is not kept so: what was missing may be there now. */
  getStale(key: string, nowMs: number): StaleAnswer | undefined {
    const entry = this.#entries.get(key);
    if (entry === undefined || entry.answer.answers.length === 0) return undefined;
    if (entry.expiresMs > nowMs || entry.expiresMs + cacheLimits.staleSecondsMax * 1000 <= nowMs)
      return undefined;
    const give = (records: readonly ResourceRecord[]): readonly ResourceRecord[] =>
      records.map((record) => ({ ...record, ttlSeconds: cacheLimits.staleTtlSeconds }));
    const { answer, retryAtMs } = entry;
    const { answers, authorities, additionals } = answer;
    return {
      answer: {
        ...answer,
        answers: give(answers),
        authorities: give(authorities),
        additionals: give(additionals),
      },
      retryAtMs,
    };
  }

  /** No new answer came: until then the old one may be given without asking. */
  postpone(key: string, untilMs: number): void {
    const entry = this.#entries.get(key);
    if (entry !== undefined) entry.retryAtMs = untilMs;
  }

  set(key: string, answer: ForwardAnswer, messageBytes: number, nowMs: number): void {
    const seconds = secondsToKeep(answer);
    if (seconds <= 0 || messageBytes > cacheLimits.entryBytesMax) return;
    this.#entries.delete(key);
    this.#entries.set(key, {
      answer,
      storedMs: nowMs,
      expiresMs: nowMs + seconds * 1000,
      hits: 0,
      refreshing: false,
      retryAtMs: undefined,
    });
    if (this.#entries.size <= cacheLimits.entriesMax) return;
    for (const oldest of this.#entries.keys()) {
      this.#entries.delete(oldest);
      return;
    }
  }
}

/**
 * 0: not at all. An answer holds as long as its shortest record; that there is none holds as long as the SOA says, and
 * without SOA not at all (RFC 2308, section 5). Failures are not kept: the next server may do better.
 */
export function secondsToKeep({ rcode, answers, authorities, additionals }: ForwardAnswer): number {
  if (rcode === rcodes.NOERROR && answers.length > 0) {
    const records = [...answers, ...authorities, ...additionals];
    return Math.min(cacheLimits.positiveSecondsMax, ...records.map((record) => record.ttlSeconds));
  }
  if (rcode !== rcodes.NOERROR && rcode !== rcodes.NXDOMAIN) return 0;
  for (const { data, ttlSeconds } of authorities) {
    if (data.type === 'SOA') return Math.min(cacheLimits.negativeSecondsMax, ttlSeconds, data.minimumSeconds);
  }
  return 0;
}

function aged(answer: ForwardAnswer, seconds: number): ForwardAnswer {
  if (seconds === 0) return answer;
  const older = (records: readonly ResourceRecord[]): readonly ResourceRecord[] =>
    records.map((record) => ({ ...record, ttlSeconds: Math.max(0, record.ttlSeconds - seconds) }));
  return {
    ...answer,
    answers: older(answer.answers),
    authorities: older(answer.authorities),
    additionals: older(answer.additionals),
  };
}
