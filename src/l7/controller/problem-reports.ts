import { keyOf } from '../../api/object.ts';
import type { Clock } from '../../base/clock.ts';
import type { Problem } from './problem.ts';

/** A problem is reported when it has lasted this long: what is applied together arrives one by one. */
export const settleMs = 2_000;

/** Reports each problem once while it lasts. */
export class ProblemReports {
  readonly #clock: Clock;
  readonly #report: (problem: Problem) => void;
  readonly #since = new Map<string, { problem: Problem; readonly sinceMs: number; reported: boolean }>();
  #cancel: (() => void) | undefined;

  constructor(clock: Clock, report: (problem: Problem) => void) {
    this.#clock = clock;
    this.#report = report;
  }

  /** The problems of the newest compile. */
  update(problems: readonly Problem[]): void {
    const nowMs = this.#clock.monotonicMs();
    const present = new Set<string>();
    for (const problem of problems) {
      const key = `${keyOf(problem.ingress)} ${problem.reason} ${problem.message}`;
      present.add(key);
      const known = this.#since.get(key);
      if (known === undefined) this.#since.set(key, { problem, sinceMs: nowMs, reported: false });
      else known.problem = problem;
    }
    for (const key of this.#since.keys()) {
      if (!present.has(key)) this.#since.delete(key);
    }
    this.#reportDue();
  }

  /** Reports once more what lasts: who hears of it may be another one now. */
  again(): void {
    for (const entry of this.#since.values()) entry.reported = false;
    this.#reportDue();
  }

  stop(): void {
    this.#cancel?.();
  }

  #reportDue(): void {
    const nowMs = this.#clock.monotonicMs();
    this.#cancel?.();
    this.#cancel = undefined;
    let nextMs = Number.POSITIVE_INFINITY;
    for (const entry of this.#since.values()) {
      if (entry.reported) continue;
      const dueMs = entry.sinceMs + settleMs;
      if (dueMs <= nowMs) {
        entry.reported = true;
        this.#report(entry.problem);
      } else nextMs = Math.min(nextMs, dueMs);
    }
    if (nextMs !== Number.POSITIVE_INFINITY) {
      this.#cancel = this.#clock.after(nextMs - nowMs, () => this.#reportDue());
    }
  }
}
