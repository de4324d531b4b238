/**
 * Requests at a fixed rate over kept-alive connections, whatever the answers take. Each latency counts from the moment that
 * its request was due, so one that had to wait for a connection, or for a generator that fell behind, is not made to look quick
 * (no coordinated omission).
 */
import { connect, type Socket } from 'node:net';
import { Http2Client } from './http2-client.ts';

export type OpenLoop = {
  readonly port: number;
  readonly host: string;
  readonly path: string;
  readonly perSecond: number;
  readonly connections: number;
  /** Speaks HTTP/2, with so many requests open on each connection at most. */
  readonly streams?: number;
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

/** Carries one request at a time. `dueMs`: of the one that is under way, else -1. */
type Lane = { dueMs: number; ask(): void; destroy(): void };

/** `isGood`: answered by 200. */
type OnAnswer = (lane: Lane, isGood: boolean) => void;

/** A connection of HTTP/1.1. */
class Http1Lane implements Lane {
  readonly socket: Socket;
  dueMs = -1;
  readonly #request: string;
  #text = '';

  constructor(socket: Socket, { host, path }: OpenLoop, onAnswer: OnAnswer, onLost: (lane: Lane) => void) {
    this.#request = `GET ${path} HTTP/1.1\r\nHost: ${host}\r\n\r\n`;
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
      onAnswer(this, status === '200');
    });
    socket.on('error', () => {});
    socket.on('close', () => onLost(this));
  }

  ask(): void {
    this.socket.write(this.#request, 'latin1');
  }

  destroy(): void {
    this.socket.destroy();
  }
}

async function openHttp1(options: OpenLoop, onAnswer: OnAnswer, onLost: (lane: Lane) => void): Promise<Lane> {
  const socket = connect(options.port, '127.0.0.1');
  await new Promise<void>((resolve, reject) => {
    socket.once('connect', resolve);
    socket.once('error', reject);
  });
  return new Http1Lane(socket, options, onAnswer, onLost);
}

/** The lanes of one connection of HTTP/2, each for a stream at a time. */
async function openHttp2(
  { port, host, path }: OpenLoop,
  streams: number,
  onAnswer: OnAnswer,
  onLost: (lane: Lane) => void,
): Promise<readonly Lane[]> {
  const byStream = new Map<number, Lane>();
  const client = await Http2Client.open(port, host, path, (stream, isGood) => {
    const lane = byStream.get(stream);
    byStream.delete(stream);
    if (lane !== undefined) onAnswer(lane, isGood);
  });
  const lanes = Array.from({ length: streams }, () => {
    const lane: Lane = {
      dueMs: -1,
      ask: () => byStream.set(client.get(), lane),
      destroy: () => client.socket.destroy(),
    };
    return lane;
  });
  client.socket.on('close', () => lanes.forEach(onLost));
  return lanes;
}

class OpenLoopRun {
  readonly #options: OpenLoop;
  readonly #lanes: Lane[] = [];
  readonly #free: Lane[] = [];
  /** Due times of requests that found no lane. */
  readonly #waiting: number[] = [];
  readonly #latenciesMs: number[] = [];
  #failed = 0;

  constructor(options: OpenLoop) {
    this.#options = options;
  }

  async open(): Promise<void> {
    const { connections, streams } = this.#options;
    for (let index = 0; index < connections; index += 1) {
      const lanes =
        streams === undefined
          ? [await openHttp1(this.#options, this.#onAnswer, this.#onLost)]
          : await openHttp2(this.#options, streams, this.#onAnswer, this.#onLost);
      this.#lanes.push(...lanes);
      this.#free.push(...lanes);
    }
  }

  readonly #onAnswer: OnAnswer = (lane, isGood) => {
    if (isGood) this.#latenciesMs.push(performance.now() - lane.dueMs);
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
    lane.ask();
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
    for (const lane of this.#lanes) lane.destroy();
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
