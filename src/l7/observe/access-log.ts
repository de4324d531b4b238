import type { Clock } from '../../base/clock.ts';
import type { AccessRecord } from '../proxy/context.ts';
import type { ProxyMetrics } from './metrics.ts';

/** Bytes of lines that wait to be written. Beyond, lines are dropped and counted: requests never wait for their log. */
export const accessLogBytesMax = 1024 * 1024;
/** Lines are written together at least so often, ms. */
const flushMs = 100;
/** … or when so much has gathered. */
const flushBytes = 64 * 1024;
/** When stopping, what is left may take so long. */
const closeMs = 1_000;

/** Where lines go. One write at a time; it must not block the event loop, however long it takes. */
export type LineSink = {
  /** Resolves when the text is out of our hands; false: it could not be written. Never rejects. */
  write(text: string): Promise<boolean>;
  close(): void;
};

/** One JSON line for each request, or for a share of them. */
export class AccessLog {
  readonly #sink: LineSink;
  readonly #clock: Clock;
  readonly #metrics: Pick<ProxyMetrics, 'accessLogLines' | 'accessLogDropped'>;
  readonly #share: number;
  #seen = 0;
  #lines: string[] = [];
  #bytes = 0;
  #writing: Promise<void> | undefined;
  #closed: Promise<void> | undefined;
  #cancelFlush: (() => void) | undefined;

  /** @param share of requests that are written, in [0, 1]; see `isAlwaysLogged` */
  constructor(
    sink: LineSink,
    clock: Clock,
    metrics: Pick<ProxyMetrics, 'accessLogLines' | 'accessLogDropped'>,
    share: number,
  ) {
    this.#sink = sink;
    this.#clock = clock;
    this.#metrics = metrics;
    this.#share = share;
  }

  record(record: AccessRecord): void {
    if (!this.#takes(record)) return;
    const line = renderAccessRecord(record, this.#clock.nowMs());
    if (this.#bytes + line.length > accessLogBytesMax) {
      this.#metrics.accessLogDropped += 1;
      return;
    }
    this.#lines.push(line);
    this.#bytes += line.length;
    if (this.#bytes >= flushBytes) this.#flush();
    else this.#cancelFlush ??= this.#clock.after(flushMs, () => this.#flush());
  }

  /** Spread evenly, not by chance: of ten requests at 0.1 exactly one. */
  #takes(record: AccessRecord): boolean {
    if (isAlwaysLogged(record)) return true;
    this.#seen += 1;
    return Math.floor(this.#seen * this.#share) > Math.floor((this.#seen - 1) * this.#share);
  }

  #flush(): void {
    this.#cancelFlush?.();
    this.#cancelFlush = undefined;
    if (this.#writing !== undefined || this.#lines.length === 0) return;
    const count = this.#lines.length;
    const text = this.#lines.join('');
    this.#lines = [];
    // What is being written still counts, so that the bound holds for all that we keep.
    this.#writing = this.#sink.write(text).then((written) => {
      this.#bytes -= text.length;
      if (written) this.#metrics.accessLogLines += count;
      else this.#metrics.accessLogDropped += count;
      this.#writing = undefined;
      this.#flush();
    });
  }

  /** Writes what is left, if that does not take long. May be called again. */
  close(): Promise<void> {
    this.#closed ??= this.#finish();
    return this.#closed;
  }

  async #finish(): Promise<void> {
    const late = new AbortController();
    const written = (async (): Promise<void> => {
      this.#flush();
      while (this.#writing !== undefined) await this.#writing;
    })();
    const waited = this.#clock.sleep(closeMs, late.signal).catch(() => {}); // aborted: all is written
    await Promise.race([written, waited]);
    late.abort();
    this.#sink.close();
  }
}

/** Failures of ours or a backend's, clients that left, and requests whose own trace is sampled, whatever the share. */
export function isAlwaysLogged({ status, traceSampled }: AccessRecord): boolean {
  return status >= 500 || status === 499 || traceSampled;
}

/** @param nowMs since the epoch: when the request ended */
export function renderAccessRecord(record: AccessRecord, nowMs: number): string {
  return `${JSON.stringify({ time: new Date(nowMs).toISOString(), ...record })}\n`;
}
