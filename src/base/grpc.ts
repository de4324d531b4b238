import {
  type ClientHttp2Session,
  type ClientHttp2Stream,
  connect as connectHttp2,
  constants,
  type OutgoingHttpHeaders,
} from 'node:http2';
import { connect as connectSocket } from 'node:net';
import { decode, encode, type MessageType, type Partially } from './protobuf.ts';

/** One RPC: full path and its messages. */
export type RpcMethod<Request, Response> = {
  readonly path: string; // "/runtime.v1.RuntimeService/Version"
  readonly request: MessageType<Request>;
  readonly response: MessageType<Response>;
};

export type RpcOptions = {
  /** The call fails with DEADLINE_EXCEEDED after this long, ms. Default 120 000. */
  readonly timeoutMs?: number | undefined;
  readonly signal?: AbortSignal | undefined;
};

/** gRPC status codes by number. */
const codeNames = [
  'OK',
  'CANCELLED',
  'UNKNOWN',
  'INVALID_ARGUMENT',
  'DEADLINE_EXCEEDED',
  'NOT_FOUND',
  'ALREADY_EXISTS',
  'PERMISSION_DENIED',
  'RESOURCE_EXHAUSTED',
  'FAILED_PRECONDITION',
  'ABORTED',
  'OUT_OF_RANGE',
  'UNIMPLEMENTED',
  'INTERNAL',
  'UNAVAILABLE',
  'DATA_LOSS',
  'UNAUTHENTICATED',
] as const;
export type GrpcCode = (typeof codeNames)[number];

/** The server refused, or could not be reached (`UNAVAILABLE`). */
export class GrpcError extends Error {
  override readonly name = 'GrpcError';
  readonly code: GrpcCode;

  constructor(code: GrpcCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}

export function isGrpcError(error: unknown, code: GrpcCode): boolean {
  return error instanceof GrpcError && error.code === code;
}

const timeoutDefaultMs = 120_000;
/** Answers larger than this fail with RESOURCE_EXHAUSTED; it is containerd's own limit for a message. */
const messageBytesMax = 16 * 1024 * 1024;
const prefixBytes = 5;

export type StreamOptions = {
  /** Our direction stays open behind the request: for methods that take a stream and end with it. */
  readonly keepOpen?: boolean;
  /** More header fields, names in lower case. */
  readonly metadata?: Readonly<Record<string, string>>;
};

/** Unary calls and calls answered by a stream, over one HTTP/2 connection; reconnects at the next call. */
export type GrpcClient = {
  unary<Request, Response>(
    method: RpcMethod<Request, Response>,
    request: Partially<Request>,
    options?: RpcOptions,
  ): Promise<Response>;
  /** Ends when the server ends the stream or the signal aborts. */
  stream<Request, Response>(
    method: RpcMethod<Request, Response>,
    request: Partially<Request>,
    signal: AbortSignal,
    options?: StreamOptions,
  ): AsyncGenerator<Response, void, void>;
  close(): void;
};

/** PEM texts. Without `ca` the system's authorities are trusted. */
export type GrpcTls = {
  readonly ca?: string | undefined;
  readonly cert?: string | undefined;
  readonly key?: string | undefined;
};

/** A unix socket's path, or a host and port, by TLS where it is given. */
export type GrpcTarget =
  | { readonly path: string }
  | { readonly host: string; readonly port: number; readonly tls?: GrpcTls | undefined };

const sessionSettings = { initialWindowSize: 1 << 20 };

function connectTo(target: GrpcTarget): ClientHttp2Session {
  if ('host' in target && target.tls !== undefined) {
    const host = target.host.includes(':') ? `[${target.host}]` : target.host;
    return connectHttp2(`https://${host}:${target.port}`, { ...target.tls, settings: sessionSettings });
  }
  return connectHttp2('http://localhost', {
    createConnection: () => connectSocket(target),
    settings: sessionSettings,
  });
}

export function createGrpcClient(target: GrpcTarget): GrpcClient {
  let session: ClientHttp2Session | undefined;
  let openCalls = 0;

  function connection(): ClientHttp2Session {
    if (session !== undefined && !session.closed && !session.destroyed) return session;
    const opened = connectTo(target);
    opened.on('error', () => {}); // every open stream is told the same by its own 'error'
    session = opened;
    return opened;
  }

  function open<Request, Response>(
    method: RpcMethod<Request, Response>,
    request: Partially<Request>,
    signal: AbortSignal | undefined,
    { keepOpen = false, metadata = {} }: StreamOptions = {},
  ): ClientHttp2Stream {
    const headers = requestHeaders(method.path, metadata);
    const stream = connection().request(headers, signal === undefined ? {} : { signal });
    stream.on('error', () => {}); // whoever reads the stream is told; when it aborts between two reads nobody does
    const used = session;
    openCalls += 1; // open calls keep the process alive, an idle connection does not
    used?.ref();
    stream.once('close', () => {
      openCalls -= 1;
      if (openCalls === 0) used?.unref();
    });
    const body = frame(encode(method.request, request));
    if (keepOpen) stream.write(body);
    else stream.end(body);
    return stream;
  }

  return {
    async unary(method, request, options = {}) {
      const timeoutMs = options.timeoutMs ?? timeoutDefaultMs;
      const deadline = AbortSignal.timeout(timeoutMs);
      const signal = options.signal === undefined ? deadline : AbortSignal.any([options.signal, deadline]);
      signal.throwIfAborted();
      const stream = open(method, request, signal);
      try {
        for await (const data of messages(stream, method.path)) return decode(method.response, data);
      } catch (error) {
        if (options.signal?.aborted === true) throw options.signal.reason;
        if (deadline.aborted) {
          throw new GrpcError('DEADLINE_EXCEEDED', `${method.path} did not answer within ${timeoutMs} ms`);
        }
        throw error;
      }
      throw new GrpcError('INTERNAL', `${method.path} answered without a message`);
    },
    async *stream(method, request, signal, options = {}) {
      const stream = open(method, request, signal, options);
      try {
        for await (const data of messages(stream, method.path)) yield decode(method.response, data);
      } catch (error) {
        if (!signal.aborted) throw error;
      } finally {
        stream.close(constants.NGHTTP2_CANCEL);
      }
    },
    close() {
      session?.destroy();
      session = undefined;
    },
  };
}

function requestHeaders(path: string, metadata: Readonly<Record<string, string>>): OutgoingHttpHeaders {
  return {
    [constants.HTTP2_HEADER_METHOD]: 'POST',
    [constants.HTTP2_HEADER_PATH]: path,
    [constants.HTTP2_HEADER_CONTENT_TYPE]: 'application/grpc',
    te: 'trailers',
    ...metadata,
  };
}

function frame(body: Uint8Array): Buffer {
  const framed = Buffer.alloc(prefixBytes + body.length);
  framed.writeUInt32BE(body.length, 1);
  framed.set(body, prefixBytes);
  return framed;
}

/** The messages of one answer; throws GrpcError unless the trailers say OK. */
async function* messages(stream: ClientHttp2Stream, path: string): AsyncGenerator<Uint8Array, void, void> {
  let status: Readonly<Record<string, unknown>> = {};
  stream.on('response', (headers) => {
    if (headers['grpc-status'] !== undefined)
      status = headers; // "trailers only": an error without a body
    else if (headers[':status'] !== 200)
      status = { 'grpc-status': '14', 'grpc-message': `HTTP ${headers[':status']}` };
  });
  stream.on('trailers', (trailers) => {
    status = trailers;
  });
  let pending: Buffer = Buffer.alloc(0);
  try {
    for await (const chunk of stream as AsyncIterable<Buffer>) {
      pending = pending.length === 0 ? chunk : Buffer.concat([pending, chunk]);
      while (pending.length >= prefixBytes) {
        const length = pending.readUInt32BE(1);
        if (length > messageBytesMax) {
          throw new GrpcError(
            'RESOURCE_EXHAUSTED',
            `${path} answered with ${length} bytes, the limit is ${messageBytesMax}`,
          );
        }
        if (pending.length < prefixBytes + length) break;
        yield pending.subarray(prefixBytes, prefixBytes + length);
        pending = pending.subarray(prefixBytes + length);
      }
    }
  } catch (cause) {
    if (cause instanceof GrpcError) throw cause;
    throw new GrpcError('UNAVAILABLE', `${path}: ${describe(cause)}`, { cause });
  }
  const code = status['grpc-status'];
  if (code === undefined)
    throw new GrpcError('UNAVAILABLE', `${path}: the connection ended without a status`);
  if (code !== '0')
    throw new GrpcError(codeNames[Number(code)] ?? 'UNKNOWN', decodeMessage(status['grpc-message']));
}

function describe(cause: unknown): string {
  return cause instanceof Error ? cause.message : String(cause);
}

/** grpc-message is percent-encoded UTF-8. */
function decodeMessage(text: unknown): string {
  if (typeof text !== 'string') return 'no message';
  try {
    return decodeURIComponent(text);
  } catch {
    return text; // a server that did not encode it: better raw than lost
  }
}
