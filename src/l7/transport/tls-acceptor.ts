/** Takes raw connections on which clients speak TLS, and gives an acceptor what lies within it. */
import type { KeyPair } from '../../base/certificates.ts';
import type { ClientHello } from '../passthrough/client-hello.ts';
import { InputBuffer } from '../http1/input-buffer.ts';
import { HelloReader } from '../passthrough/hello-reader.ts';
import { DecryptedConnection } from './decrypted-connection.ts';
import type { ListenOptions } from './net-transport.ts';
import { handshakeMs, type TlsSource } from './tls-source.ts';
import { shownOn } from './openssl-client-certificate.ts';
import { OpenSslContexts } from './openssl-contexts.ts';
import type { OpenSslMemory } from './openssl-memory.ts';
import type { AcceptedFrom, Acceptor, ClientTls, Connection, ConnectionHandler } from './transport.ts';

/** What all connections of a listener have in common. */
type Listening = {
  readonly tls: TlsSource;
  readonly memory: OpenSslMemory;
  readonly contexts: OpenSslContexts;
  readonly acceptor: Acceptor;
  readonly handshakeTimeoutMs: number;
  readonly onError: (error: Error) => void;
};

/**
 * For connections that copy what they are given to write.
 * @param tls as in `options`, which has it
 */
export function acceptTls(
  acceptor: Acceptor,
  memory: OpenSslMemory,
  tls: TlsSource,
  { protocols = ['http/1.1'], handshakeTimeoutMs = handshakeMs, onError }: ListenOptions,
): Acceptor {
  const contexts = new OpenSslContexts(memory.openSsl, protocols);
  const listening = { tls, memory, contexts, acceptor, handshakeTimeoutMs, onError };
  return { accept: (connection) => new Arrival(connection, listening) };
}

/**
 * Reads what a client says first, which decides who reads on: an endpoint, or we with the certificate that fits. From then on
 * it passes everything on. A client that does not come through its handshake in time is cut.
 */
class Arrival implements ConnectionHandler {
  readonly #raw: Connection;
  readonly #listening: Listening;
  readonly #deadline: NodeJS.Timeout;
  readonly #reader = new HelloReader();
  /** What has come so far: at most a ClientHello and two reads, for then the raw connection is paused. */
  readonly #input = new InputBuffer();
  #chosen = false;
  #closed = false;
  #next: ConnectionHandler | undefined;

  constructor(raw: Connection, listening: Listening) {
    this.#raw = raw;
    this.#listening = listening;
    this.#deadline = setTimeout(() => raw.destroy(), listening.handshakeTimeoutMs);
  }

  onConnect(): void {}

  onData(data: Buffer): void {
    if (this.#next !== undefined) {
      this.#next.onData(data);
      return;
    }
    this.#input.offer(data);
    if (!this.#chosen) this.#look(data);
    this.#input.retain();
  }

  /** What is no ClientHello that all would read alike is OpenSSL's to answer, with the certificate for clients without a name. */
  #look(data: Buffer): void {
    const state = this.#reader.push(data);
    if (state.kind === 'more') return;
    this.#chosen = true;
    const hello = state.kind === 'hello' ? state.hello : undefined;
    try {
      this.#choose(hello);
    } catch (error) {
      this.#refuse(error);
    }
  }

  #choose(hello: ClientHello | undefined): void {
    const { tls, acceptor } = this.#listening;
    if (hello !== undefined && tls.passesThrough(hello)) {
      clearTimeout(this.#deadline);
      this.#goOn(acceptor.accept(this.#raw, { scheme: 'https', protocol: '', hello }));
      return;
    }
    const client = hello === undefined ? undefined : tls.clientTlsFor(hello.serverName);
    const pair = tls.pairFor(hello?.serverName);
    if (!(pair instanceof Promise)) {
      this.#decrypt(pair, client, hello);
      return;
    }
    this.#raw.pause();
    pair
      .then((made) => {
        if (this.#closed) return;
        this.#decrypt(made, client, hello);
        this.#raw.resume();
      })
      .catch((error: unknown) => this.#refuse(error));
  }

  #decrypt(pair: KeyPair, client: ClientTls | undefined, hello: ClientHello | undefined): void {
    const { tls, memory, contexts, acceptor } = this.#listening;
    const ssl = memory.begin(contexts.of(pair, client, tls.ticketKeys()));
    const opened = (connection: DecryptedConnection): ConnectionHandler | undefined => {
      clearTimeout(this.#deadline);
      const inTls = { version: memory.versionOf(ssl), serverName: hello?.serverName ?? '' };
      const from: AcceptedFrom = { scheme: 'https', protocol: memory.protocolOf(ssl), tls: inTls };
      if (client === undefined) return acceptor.accept(connection, from);
      return acceptor.accept(connection, { ...from, certificate: shownOn(memory.openSsl, ssl, client) });
    };
    this.#goOn(new DecryptedConnection(memory, ssl, this.#raw, opened));
  }

  #goOn(handler: ConnectionHandler | undefined): void {
    if (handler === undefined) {
      this.#raw.destroy();
      return;
    }
    this.#next = handler;
    const { data, start, end } = this.#input;
    handler.onData(data.subarray(start, end));
    this.#input.clear();
  }

  #refuse(error: unknown): void {
    this.#raw.destroy();
    this.#listening.onError(error instanceof Error ? error : new Error(String(error)));
  }

  onDrain(): void {
    this.#next?.onDrain();
  }

  onFinish(): void {
    this.#next?.onFinish();
  }

  onEnd(): void {
    if (this.#next === undefined) this.#raw.destroy();
    else this.#next.onEnd();
  }

  onClose(error: string | undefined): void {
    this.#closed = true;
    clearTimeout(this.#deadline);
    this.#next?.onClose(error);
  }
}
