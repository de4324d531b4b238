/**
 * Messages of gRPC back and forth on streams that stay open, each in a DATA frame of its own, as clients of gRPC write them. What a
 * generator of whole requests does not show: the cost of a message.
 */
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { block, frame, preface, settings, type, uint32 } from '../../test/support/http2-frames.ts';
import { cpuOf, type Measured } from './load.ts';

export type GrpcLoad = {
  readonly connections: number;
  /** Messages under way on each; the next one goes when one has come back. */
  readonly inFlight: number;
  readonly messageBytes: number;
  readonly seconds: number;
  readonly host: string;
  readonly path: string;
};

const frameHeadBytes = 9;
const windowBytes = 1 << 24;

/** One connection with one call. Counts what comes back. */
class Call {
  readonly socket: Socket;
  readonly latenciesUs: number[] = [];
  messages = 0;
  failed = false;
  over = false;
  readonly #load: GrpcLoad;
  readonly #message: Buffer;
  readonly #sentMs: number[] = [];
  #window = 65_535;
  #connectionWindow = 65_535;
  #waiting = 0; // messages that windows hold up
  #received = 0; // bytes of messages
  #owed = 0; // bytes of windows not given back yet
  #rest: Buffer = Buffer.alloc(0);

  constructor(port: number, load: GrpcLoad) {
    this.#load = load;
    const bytes = Buffer.alloc(5 + load.messageBytes, 'm');
    bytes[0] = 0;
    bytes.writeUInt32BE(load.messageBytes, 1);
    this.#message = frame(type.data, 0, 1, bytes);
    this.socket = connect(port, '127.0.0.1');
    this.socket.setNoDelay(true);
    this.socket.on('error', () => {});
    this.socket.on('data', (data) => this.#receive(data as Buffer)); // no encoding is set
    this.socket.on('close', () => {
      if (!this.over) this.failed = true;
    });
  }

  async open(): Promise<void> {
    await once(this.socket, 'connect');
    const { host, path, inFlight } = this.#load;
    const head = block([
      [':method', 'POST'],
      [':scheme', 'http'],
      [':path', path],
      [':authority', host],
      ['content-type', 'application/grpc'],
      ['te', 'trailers'],
    ]);
    const window = frame(type.window, 0, 0, uint32(windowBytes));
    this.socket.write(
      Buffer.concat([preface, settings([4, windowBytes]), window, frame(type.headers, 4, 1, head)]),
    );
    this.#waiting = inFlight;
    this.#send();
  }

  #send(): void {
    const bytes = this.#message.length - frameHeadBytes;
    const room = Math.floor(Math.min(this.#window, this.#connectionWindow) / bytes);
    const count = this.over ? 0 : Math.min(this.#waiting, room);
    if (count === 0) return;
    this.#waiting -= count;
    this.#window -= count * bytes;
    this.#connectionWindow -= count * bytes;
    const now = performance.now();
    for (let index = 0; index < count; index += 1) this.#sentMs.push(now);
    this.socket.write(Buffer.concat(Array.from({ length: count }, () => this.#message)));
  }

  #receive(data: Buffer): void {
    const bytes = this.#rest.length === 0 ? data : Buffer.concat([this.#rest, data]);
    let at = 0;
    while (at + frameHeadBytes <= bytes.length) {
      const length = bytes.readUIntBE(at, 3);
      const from = at + frameHeadBytes;
      if (from + length > bytes.length) break;
      this.#frame(bytes, at, from, length);
      at = from + length;
    }
    this.#rest = Buffer.from(bytes.subarray(at));
    this.#send();
  }

  #frame(bytes: Buffer, at: number, from: number, length: number): void {
    const kind = bytes[at + 3];
    const stream = bytes.readUInt32BE(at + 5);
    if (kind === type.data) this.#body(length);
    else if (kind === type.window) {
      const more = bytes.readUInt32BE(from);
      if (stream === 0) this.#connectionWindow += more;
      else this.#window += more;
    } else if (kind === type.settings && bytes[at + 4] === 0) this.#settings(bytes, from, length);
    else if (kind === type.ping && bytes[at + 4] === 0) {
      this.socket.write(frame(type.ping, 1, 0, bytes.subarray(from, from + length)));
    } else if (kind === type.reset || kind === type.goaway) this.failed = true;
  }

  #settings(bytes: Buffer, from: number, length: number): void {
    for (let at = from; at < from + length; at += 6) {
      if (bytes.readUInt16BE(at) === 4) this.#window += bytes.readUInt32BE(at + 2) - 65_535; // sent once, at first
    }
    this.socket.write(frame(type.settings, 1, 0));
  }

  #body(length: number): void {
    const each = this.#message.length - frameHeadBytes;
    const before = Math.floor(this.#received / each);
    this.#received += length;
    this.#owed += length;
    const came = Math.floor(this.#received / each) - before;
    const now = performance.now();
    for (const sent of this.#sentMs.splice(0, came)) this.latenciesUs.push((now - sent) * 1000);
    this.messages += came;
    this.#waiting += came;
    if (this.#owed < windowBytes / 2) return;
    const more = uint32(this.#owed);
    this.#owed = 0;
    this.socket.write(Buffer.concat([frame(type.window, 0, 0, more), frame(type.window, 0, 1, more)]));
  }
}

/** A message and its echo count as one request. */
export async function measureGrpcStream(pid: number, port: number, load: GrpcLoad): Promise<Measured> {
  const calls = Array.from({ length: load.connections }, () => new Call(port, load));
  const before = cpuOf(pid);
  const beganMs = performance.now();
  await Promise.all(calls.map((call) => call.open()));
  await new Promise((resolve) => setTimeout(resolve, load.seconds * 1000));
  const tookMs = performance.now() - beganMs;
  const after = cpuOf(pid);
  for (const call of calls) {
    call.over = true;
    call.socket.destroy();
  }
  const sorted = Float64Array.from(calls.flatMap(({ latenciesUs }) => latenciesUs)).sort();
  const at = (share: number): number => sorted[Math.ceil(share * sorted.length) - 1] ?? Number.NaN;
  const requests = calls.reduce((sum, { messages }) => sum + messages, 0);
  return {
    requests,
    failed: calls.filter(({ failed }) => failed).length,
    perSecond: (requests * 1000) / tookMs,
    p50Us: at(0.5),
    p99Us: at(0.99),
    userUs: (after.userUs - before.userUs) / requests,
    systemUs: (after.systemUs - before.systemUs) / requests,
  };
}
