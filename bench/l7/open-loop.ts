/**
 * Requests at a fixed rate over kept-alive connections, whatever the answers take. Each latency counts from the moment that
 * its request was due, so one that had to wait for a connection, or for a generator that fell behind, is not made to look quick
 * (no coordinated omission).
 */
import { connect, type Socket } from 'node:net';

export type OpenLoop = {
  readonly port: number;
  readonly host: string;
  readonly path: string;
  readonly perSecond: number;
  readonly connections: number;
  readonly seconds: number;
};

export type Latencies = {
  /** Answered; `late`: still without an answer a second after the end. */
  readonly answered: number;
  readonly failed: number;
  readonly late: number;
  readonly p50Us: number;
  readonly p99Us: number;
  readonly p999Us: number;
};

const settleMs = 1000;

export async function measureOpenLoop(options: OpenLoop): Promise<Latencies> {
  const run = new OpenLoopRun(options);
  await run.open();
  await run.send();
  return run.finish();
}

/** Asks one thing at a time. `dueMs`: of the request that is under way. */
class Lane {
  readonly socket: Socket;
  dueMs = -1;
  #text = '';

  constructor(socket: Socket, onAnswer: (lane: Lane, status: string) => void, onLost: (lane: Lane) => void) {
    this.socket = socket;
    socket.setNoDelay(true);
    socket.setEncoding('latin1');
    socket.on('data', (data) => {
      this.#text += String(data);
      const end = this.#text.indexOf('\r\n\r\n');
      if (end === -1) return;
      const length = Number(/\r\ncontent-length: (\d+)/i.exec(this.#text)?.[1] ?? 0);
      if (this.#text.length < end + 4 + length) return;
      const status = this.#text.slice(9, 12);
      this.#text = '';
      onAnswer(this, status);
    });
    socket.on('error', () => {});
    socket.on('close', () => onLost(this));
  }
}

class OpenLoopRun {
  readonly #options: OpenLoop;
  readonly #request: string;
  readonly #lanes: Lane[] = [];
  readonly #free: Lane[] = [];
  /** Due times of requests that found no lane. */
  readonly #waiting: number[] = [];
  readonly #latenciesMs: number[] = [];
  #failed = 0;

  constructor(options: OpenLoop) {
    this.#options = options;
    this.#request = `GET ${options.path} HTTP/1.1\r\nHost: ${options.host}\r\n\r\n`;
  }

  async open(): Promise<void> {
    const { connections, port } = this.#options;
    for (let index = 0; index < connections; index += 1) {
      const socket = connect(port, '127.0.0.1');
      await new Promise<void>((resolve, reject) => {
        socket.once('connect', resolve);
        socket.once('error', reject);
      });
      const lane = new Lane(socket, this.#onAnswer, this.#onLost);
      this.#lanes.push(lane);
      this.#free.push(lane);
    }
  }

  readonly #onAnswer = (lane: Lane, status: string): void => {
    if (status === '200') this.#latenciesMs.push(performance.now() - lane.dueMs);
    else this.#failed += 1;
    lane.dueMs = -1;
    const due = this.#waiting.shift();
    if (due === undefined) this.#free.push(lane);
    else this.#ask(lane, due);
  };

  readonly #onLost = (lane: Lane): void => {
    if (lane.dueMs >= 0) this.#failed += 1;
    const index = this.#free.indexOf(lane);
    if (index !== -1) this.#free.splice(index, 1);
  };

  #ask(lane: Lane, dueMs: number): void {
    lane.dueMs = dueMs;
    lane.socket.write(this.#request, 'latin1');
  }

  /** Spins: a timer's millisecond would be larger than what is measured. */
  async send(): Promise<void> {
    const { perSecond, seconds } = this.#options;
    const startMs = performance.now();
    const total = perSecond * seconds;
    for (let sent = 0; sent < total; ) {
      const nowMs = performance.now();
      while (sent < total && startMs + (sent * 1000) / perSecond <= nowMs) {
        const due = startMs + (sent * 1000) / perSecond;
        const lane = this.#free.pop();
        if (lane === undefined) this.#waiting.push(due);
        else this.#ask(lane, due);
        sent += 1;
      }
      await new Promise((resolve) => setImmediate(resolve));
    }
  }

  async finish(): Promise<Latencies> {
    const untilMs = performance.now() + settleMs;
    const busy = (): boolean => this.#waiting.length > 0 || this.#lanes.some(({ dueMs }) => dueMs >= 0);
    while (busy() && performance.now() < untilMs) await new Promise((resolve) => setTimeout(resolve, 5));
    const late = this.#waiting.length + this.#lanes.filter(({ dueMs }) => dueMs >= 0).length;
    for (const { socket } of this.#lanes) socket.destroy();
    const sorted = Float64Array.from(this.#latenciesMs).sort();
    const at = (share: number): number => (sorted[Math.ceil(share * sorted.length) - 1] ?? Number.NaN) * 1000;
    return {
      answered: sorted.length,
      failed: this.#failed,
      late,
      p50Us: at(0.5),
      p99Us: at(0.99),
      p999Us: at(0.999),
    };
  }
}
