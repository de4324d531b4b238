/** Ends of connections that note what they are told, to try a transport without the protocol core. */
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import type { TestContext } from 'node:test';
import type { Listener, ServerTransport } from '../../src/l7/transport/net-transport.ts';
import type { Connection, ConnectionHandler } from '../../src/l7/transport/transport.ts';
import { localhost, until } from './ingress-harness.ts';

/** A handler that notes everything, with its connection. */
export class Recorder implements ConnectionHandler {
  connection!: Connection;
  readonly events: string[] = [];
  readonly hash = createHash('sha1');
  bytes = 0;
  text = '';
  onBytes: (data: Buffer) => void = () => {};
  onEvent: (event: string) => void = () => {};

  onConnect(): void {
    this.#note('connect');
  }

  onData(data: Buffer): void {
    assert.ok(!this.events.includes('end') && !this.events.includes('close'), 'nothing comes after the end');
    this.bytes += data.length;
    this.hash.update(data);
    if (this.text.length < 4096) this.text += data.toString('latin1');
    this.onBytes(data);
  }

  onDrain(): void {
    this.#note('drain');
  }

  onFinish(): void {
    this.#note('finish');
  }

  onEnd(): void {
    this.#note('end');
  }

  onClose(error: string | undefined): void {
    assert.ok(!this.has('close'), 'it closes once');
    this.#note('close');
    if (error !== undefined) this.events.push(error);
  }

  has(event: string): boolean {
    return this.events.includes(event);
  }

  #note(event: string): void {
    assert.ok(!this.events.includes('close'), `${event} comes after close`);
    this.events.push(event);
    this.onEvent(event);
  }
}

export type Served = { readonly port: number; readonly accepted: Recorder[]; readonly listener: Listener };

export async function serve(
  t: TestContext,
  transport: ServerTransport,
  prepare: (recorder: Recorder) => void = () => {},
  onError: (error: Error) => void = (error) => assert.fail(error),
): Promise<Served> {
  const accepted: Recorder[] = [];
  const acceptor = {
    accept(connection: Connection): ConnectionHandler {
      const recorder = new Recorder();
      recorder.connection = connection;
      prepare(recorder);
      accepted.push(recorder);
      return recorder;
    },
  };
  const at = { kind: 'address', host: localhost, port: 0 } as const;
  const listener = await transport.listen(at, acceptor, { onError });
  t.after(async () => {
    listener.close();
    for (const { connection } of accepted) connection.destroy();
    await until(() => accepted.every((recorder) => recorder.has('close')));
  });
  return { port: listener.port, accepted, listener };
}

export function dial(
  transport: ServerTransport,
  port: number,
  prepare: (recorder: Recorder) => void = () => {},
) {
  const recorder = new Recorder();
  prepare(recorder);
  recorder.connection = transport.connect(localhost, port, recorder);
  return recorder;
}

/** Echoes, with back-pressure. */
export function echo(recorder: Recorder): void {
  recorder.onBytes = (data) => {
    if (!recorder.connection.write(data)) recorder.connection.pause();
  };
  recorder.onEvent = (event) => {
    if (event === 'drain') recorder.connection.resume();
    if (event === 'end') recorder.connection.end();
  };
}
