import * as http2 from 'node:http2';
import type { TLSSocket } from 'node:tls';
import * as tls from 'node:tls';
import type { Clock } from '../base/clock.ts';
import { createHttp1Transport } from './transport-http1.ts';

export type HttpRequest = {
  readonly method: string;
  /** Path and query. */
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body?: string | undefined;
  readonly signal?: AbortSignal | undefined;
};

export type HttpResponse = {
  readonly status: number;
  /** Must be read to its end or left early by `break`, which cancels the request. */
  readonly body: AsyncIterable<Uint8Array>;
};

/** Carries requests to one server. Failures are the errors of node's own modules. */
export type Transport = {
  request(request: HttpRequest): Promise<HttpResponse>;
  /** Ends all connections; running requests fail. */
  close(): void;
};

export type TransportOptions = {
  readonly origin: string;
  readonly tls: tls.ConnectionOptions;
  readonly clock: Clock;
};

/** A connection attempt that has not finished its TLS handshake by then fails. */
const connectTimeoutMs = 10_000;
/** A silent connection is asked for a sign of life this often. */
const pingIntervalMs = 15_000;
/** No answer to a ping within this time: the peer is gone, every stream fails, the next request connects anew. */
const pingTimeoutMs = 10_000;
/** How far a server may run ahead of us on one stream and on the whole connection, bytes. */
const streamWindowBytes = 1 << 20;
const connectionWindowBytes = 8 << 20;

/**
 * HTTP/2 over one TLS connection, made by the first request and again after it broke: one handshake and one socket for
 * all watches and writes. Servers that do not speak HTTP/2 (some front proxies), and `http:` URLs, get HTTP/1.1.
 */
export function createTransport(options: TransportOptions): Transport {
  if (options.origin.startsWith('http:')) return createHttp1Transport(options.origin, options.tls);
  let connecting: Promise<Connection> | undefined;
  let closed = false;

  function forget(attempt: Promise<Connection>): void {
    if (connecting === attempt) connecting = undefined;
  }

  function connection(): Promise<Connection> {
    if (closed) return Promise.reject(new Error('the client was closed'));
    if (connecting !== undefined) return connecting;
    const attempt: Promise<Connection> = connect(options, () => forget(attempt));
    attempt.catch(() => forget(attempt));
    connecting = attempt;
    return attempt;
  }

  return {
    async request(request) {
      let current = await connection();
      if (current.kind === 'http2' && (current.session.closed || current.session.destroyed)) {
        connecting = undefined;
        current = await connection();
      }
      request.signal?.throwIfAborted();
      return current.kind === 'http2' ? sendOn(current.session, request) : current.transport.request(request);
    },
    close() {
      closed = true;
      connecting?.then(
        (current) => (current.kind === 'http2' ? current.session.destroy() : current.transport.close()),
        () => {}, // the attempt failed: nothing to close
      );
      connecting = undefined;
    },
  };
}

type Connection =
  | { readonly kind: 'http2'; readonly session: http2.ClientHttp2Session }
  | { readonly kind: 'http1'; readonly transport: Transport };

async function connect(options: TransportOptions, onGone: () => void): Promise<Connection> {
  const socket = await connectTls(options);
  if (socket.alpnProtocol !== 'h2') {
    socket.destroy();
    return { kind: 'http1', transport: createHttp1Transport(options.origin, options.tls) };
  }
  const session = http2.connect(options.origin, {
    createConnection: () => socket,
    settings: { initialWindowSize: streamWindowBytes, enablePush: false },
  });
  session.once('connect', () => session.setLocalWindowSize(connectionWindowBytes));
  session.once('goaway', onGone);
  session.once('close', onGone);
  session.on('error', onGone); // every open stream reports the error to its own request
  keepChecked(session, options.clock);
  return { kind: 'http2', session };
}

function connectTls(options: TransportOptions): Promise<TLSSocket> {
  const url = new URL(options.origin);
  return new Promise((resolve, reject) => {
    const host = url.hostname.replace(/^\[|\]$/g, '');
    const socket = tls.connect({
      ...options.tls,
      host,
      port: Number(url.port === '' ? 443 : url.port),
      ALPNProtocols: ['h2', 'http/1.1'],
    });
    socket.setNoDelay(true);
    socket.setKeepAlive(true, 15_000);
    const cancelTimer = options.clock.after(connectTimeoutMs, () => {
      socket.destroy(new Error(`no TLS connection within ${connectTimeoutMs} ms`));
    });
    socket.once('secureConnect', () => {
      cancelTimer();
      socket.removeListener('error', reject);
      resolve(socket);
    });
    socket.once('error', (error) => {
      cancelTimer();
      reject(error);
    });
  });
}

/** Pings while the session lives. A half-open TCP connection would otherwise keep watches silent for ever. */
function keepChecked(session: http2.ClientHttp2Session, clock: Clock): void {
  let cancelTimer = clock.after(pingIntervalMs, check);
  function check(): void {
    if (session.destroyed) return;
    cancelTimer = clock.after(pingTimeoutMs, () => {
      session.destroy(new Error(`the server did not answer a ping within ${pingTimeoutMs} ms`));
    });
    session.ping((error) => {
      cancelTimer();
      if (error === null && !session.destroyed) cancelTimer = clock.after(pingIntervalMs, check);
    });
  }
  session.once('close', () => cancelTimer());
}

function sendOn(session: http2.ClientHttp2Session, request: HttpRequest): Promise<HttpResponse> {
  return new Promise((resolve, reject) => {
    const stream = session.request(
      { ...request.headers, ':method': request.method, ':path': request.path },
      {
        endStream: request.body === undefined,
        ...(request.signal === undefined ? {} : { signal: request.signal }),
      },
    );
    stream.once('response', (headers) => {
      stream.removeListener('error', reject);
      stream.removeListener('close', onEarlyClose);
      // An error between two reads is given to the next read; without a listener it would end the process.
      stream.on('error', () => {});
      resolve({ status: Number(headers[':status'] ?? 0), body: stream });
    });
    const onEarlyClose = (): void => reject(new Error('the connection was closed before the answer'));
    stream.once('error', reject);
    stream.once('close', onEarlyClose);
    if (request.body !== undefined) stream.end(request.body);
  });
}
