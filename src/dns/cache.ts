import { PassableAnswer } from './passing.ts';
import type { ForwardAnswer } from './question.ts';
import { type ResourceRecord, rcodes } from './wire.ts';

export const cacheLimits = {
  /** Of two generations, which hold half each; a full young one takes the old one's place. */
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
  /**
   * Two generations: what is used moves to the young one, and a full young one becomes the old one. One map from which the
   * oldest is taken for each new entry costs more the longer it lives, since its first live entry is ever further in.
   */
  #young = new Map<string, Entry>();
  #old = new Map<string, Entry>();

  get size(): number {
    return this.#young.size + this.#old.size;
  }

  /** Answers by what they say, for metrics: looks at all of them. */
  count(): { readonly success: number; readonly denial: number } {
    let denial = 0;
    for (const { answer } of [...this.#young.values(), ...this.#old.values()]) {
      if (isDenial(answer)) denial += 1;
    }
    return { success: this.size - denial, denial };
  }

  /** The answer with what is left of its times, or undefined. */
  get(key: string, nowMs: number): ForwardAnswer | undefined {
    const entry = this.#find(key);
    if (entry === undefined || entry.expiresMs <= nowMs) return undefined;
    if (this.#old.delete(key)) this.#put(key, entry);
    entry.hits += 1;
    const ageMs = nowMs - entry.storedMs;
    const age = Math.floor(ageMs / 1000);
    return aged(entry.answer, age, Math.min(entry.expiresMs - nowMs, (age + 1) * 1000 - ageMs));
  }

  /** Once for each answer that is asked for often and soon over: it is time to ask for a new one. */
  dueForRefresh(key: string, nowMs: number): boolean {
    const entry = this.#find(key);
    if (entry === undefined || entry.refreshing || entry.hits < cacheLimits.refreshHitsMin) return false;
    const wholeMs = entry.expiresMs - entry.storedMs;
    const leastMs = Math.max(cacheLimits.refreshLeastMs, wholeMs * cacheLimits.refreshShare);
    if (entry.expiresMs - nowMs > leastMs) return false;
    entry.refreshing = true;
    return true;
  }

  /** Records whose time is over, but not for too long. Absence is not kept so: what was missing may be there now. */
  getStale(key: string, nowMs: number): StaleAnswer | undefined {
    const entry = this.#find(key);
    if (entry === undefined || entry.expiresMs > nowMs) return undefined;
    if (entry.expiresMs + cacheLimits.staleSecondsMax * 1000 <= nowMs || !hasAnswers(entry.answer))
      return undefined;
    return { answer: withTtl(entry.answer, cacheLimits.staleTtlSeconds), retryAtMs: entry.retryAtMs };
  }

  /** No new answer came: until then the old one may be given without asking. */
  postpone(key: string, untilMs: number): void {
    const entry = this.#find(key);
    if (entry !== undefined) entry.retryAtMs = untilMs;
  }

  set(key: string, answer: ForwardAnswer, messageBytes: number, nowMs: number): void {
    const seconds = secondsToKeep(answer);
    if (seconds <= 0 || messageBytes > cacheLimits.entryBytesMax) return;
    this.#old.delete(key);
    this.#put(key, {
      answer,
      storedMs: nowMs,
      expiresMs: nowMs + seconds * 1000,
      hits: 0,
      refreshing: false,
      retryAtMs: undefined,
    });
  }

  #find(key: string): Entry | undefined {
    return this.#young.get(key) ?? this.#old.get(key);
  }

  #put(key: string, entry: Entry): void {
    if (this.#young.size >= cacheLimits.entriesMax / 2 && !this.#young.has(key)) {
      this.#old = this.#young;
      this.#young = new Map();
    }
    this.#young.set(key, entry);
  }
}

/**
 * 0: not at all. An answer holds as long as its shortest record; that there is none holds as long as the SOA says, and
 * without SOA not at all (RFC 2308, section 5). Failures are not kept: the next server may do better.
 */
export function secondsToKeep(answer: ForwardAnswer): number {
  const { rcode } = answer;
  if (rcode === rcodes.NOERROR && hasAnswers(answer)) {
    return Math.min(cacheLimits.positiveSecondsMax, leastTtl(answer));
  }
  if (rcode !== rcodes.NOERROR && rcode !== rcodes.NXDOMAIN) return 0;
  return Math.min(cacheLimits.negativeSecondsMax, absenceOf(answer));
}

/** Whether the answer says that there is nothing. */
export function isDenial(answer: ForwardAnswer): boolean {
  return !hasAnswers(answer);
}

function hasAnswers(answer: ForwardAnswer): boolean {
  return answer instanceof PassableAnswer ? answer.passable.counts[0] > 0 : answer.answers.length > 0;
}

function leastTtl(answer: ForwardAnswer): number {
  if (answer instanceof PassableAnswer) return answer.passable.leastTtlSeconds;
  const records = [...answer.answers, ...answer.authorities, ...answer.additionals];
  return Math.min(...records.map((record) => record.ttlSeconds));
}

function absenceOf(answer: ForwardAnswer): number {
  if (answer instanceof PassableAnswer) return answer.passable.absenceSeconds;
  for (const { data, ttlSeconds } of answer.authorities) {
    if (data.type === 'SOA') return Math.min(ttlSeconds, data.minimumSeconds);
  }
  return 0;
}

function aged(answer: ForwardAnswer, seconds: number, sameForMs: number): ForwardAnswer {
  if (answer instanceof PassableAnswer) {
    return new PassableAnswer(answer.passable, seconds, undefined, sameForMs);
  }
  return mapped(answer, sameForMs, (ttlSeconds) => Math.max(0, ttlSeconds - seconds));
}

function withTtl(answer: ForwardAnswer, seconds: number): ForwardAnswer {
  if (answer instanceof PassableAnswer) return new PassableAnswer(answer.passable, 0, seconds);
  return { ...mapped(answer, undefined, () => seconds), isStale: true };
}

function mapped(
  answer: ForwardAnswer,
  sameForMs: number | undefined,
  ttlOf: (ttlSeconds: number) => number,
): ForwardAnswer {
  const all = (records: readonly ResourceRecord[]): readonly ResourceRecord[] =>
    records.map((record) => ({ ...record, ttlSeconds: ttlOf(record.ttlSeconds) }));
  const { answers, authorities, additionals } = answer;
  return {
    ...answer,
    answers: all(answers),
    authorities: all(authorities),
    additionals: all(additionals),
    sameForMs,
  };
}
