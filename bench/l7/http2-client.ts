/** A client's connection of HTTP/2 by hand, so that a generator spends little on it: GET of one path, whatever streams are open. */
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { frame, preface, request, settings, type, uint32 } from '../../test/support/http2-frames.ts';

const frameHeadBytes = 9;
const windowBytes = 1 << 24;
/** `:status 200` of the static table. */
const indexed200 = 0x88;

export class Http2Client {
  readonly socket: Socket;
  readonly #onAnswer: (stream: number, isGood: boolean) => void;
  readonly #fields: readonly (readonly [string, string])[];
  readonly #good = new Set<number>();
  #next = 1;
  #owed = 0; // bytes of the connection's window not given back yet
  #rest: Buffer = Buffer.alloc(0);

  private constructor(
    port: number,
    host: string,
    path: string,
    onAnswer: (stream: number, isGood: boolean) => void,
  ) {
    this.#onAnswer = onAnswer;
    this.#fields = [
      [':method', 'GET'],
      [':scheme', 'http'],
      [':path', path],
      [':authority', host],
    ];
    this.socket = connect(port, '127.0.0.1');
    this.socket.setNoDelay(true);
    this.socket.on('error', () => {});
    this.socket.on('data', (data) => this.#receive(data as Buffer)); // no encoding is set
  }

  /** @param onAnswer the stream has ended; `isGood`: by 200 */
  static async open(
    port: number,
    host: string,
    path: string,
    onAnswer: (stream: number, isGood: boolean) => void,
  ): Promise<Http2Client> {
    const client = new Http2Client(port, host, path, onAnswer);
    await once(client.socket, 'connect');
    client.socket.write(
      Buffer.concat([preface, settings([4, windowBytes]), frame(type.window, 0, 0, uint32(windowBytes))]),
    );
    return client;
  }

  /** Returns the stream. */
  get(): number {
    const stream = this.#next;
    this.#next += 2;
    this.socket.write(request(stream, this.#fields));
    return stream;
  }

  #receive(data: Buffer): void {
    const bytes = this.#rest.length === 0 ? data : Buffer.concat([this.#rest, data]);
    let at = 0;
    while (at + frameHeadBytes <= bytes.length) {
      const end = at + frameHeadBytes + bytes.readUIntBE(at, 3);
      if (end > bytes.length) break;
      this.#frame(bytes, at, end);
      at = end;
    }
    this.#rest = Buffer.from(bytes.subarray(at));
  }

  #frame(bytes: Buffer, at: number, end: number): void {
    const kind = bytes[at + 3];
    const stream = bytes.readUInt32BE(at + 5);
    const ended = ((bytes[at + 4] ?? 0) & 1) === 1;
    if (kind === type.headers && bytes[at + frameHeadBytes] === indexed200) this.#good.add(stream);
    if (kind === type.data) this.#credit(end - at - frameHeadBytes);
    if (kind === type.settings && !ended) this.socket.write(frame(type.settings, 1, 0));
    if (kind === type.ping && !ended) this.socket.write(frame(type.ping, 1, 0, bytes.subarray(end - 8, end)));
    const isOver = kind === type.reset || ((kind === type.headers || kind === type.data) && ended);
    if (isOver) this.#onAnswer(stream, this.#good.delete(stream) && kind !== type.reset);
  }

  #credit(length: number): void {
    this.#owed += length;
    if (this.#owed < windowBytes / 2) return;
    this.socket.write(frame(type.window, 0, 0, uint32(this.#owed)));
    this.#owed = 0;
  }
}
