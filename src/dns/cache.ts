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
} as const;

type Entry = {
  readonly answer: ForwardAnswer;
  readonly storedMs: number;
  readonly expiresMs: number;
};

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
    this.#entries.delete(key);
    if (entry.expiresMs <= nowMs) return undefined;
    this.#entries.set(key, entry);
    const ageMs = nowMs - entry.storedMs;
    const age = Math.floor(ageMs / 1000);
    const sameForMs = Math.min(entry.expiresMs - nowMs, (age + 1) * 1000 - ageMs);
    return { ...aged(entry.answer, age), sameForMs };
  }

  set(key: string, answer: ForwardAnswer, messageBytes: number, nowMs: number): void {
    const seconds = secondsToKeep(answer);
    if (seconds <= 0 || messageBytes > cacheLimits.entryBytesMax) return;
    this.#entries.delete(key);
    this.#entries.set(key, { answer, storedMs: nowMs, expiresMs: nowMs + seconds * 1000 });
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
