import { type IncomingMessage, ServerResponse } from 'node:http';
import {
  createSecureServer,
  type Http2SecureServer,
  type Http2ServerRequest,
  Http2ServerResponse,
  type ServerHttp2Session,
} from 'node:http2';
import type { TLSSocket } from 'node:tls';
import { promisify } from 'node:util';
import { bodyBytesMax } from '../api/decode.ts';
import { parseDurationMs } from '../api/duration.ts';
import type { Json } from '../api/object.ts';
import { findKind } from '../api/registry.ts';
import {
  badRequest,
  type FailureStatus,
  failure,
  serviceUnavailable,
  StatusError,
  timeout,
  tooLarge,
  tooManyRequests,
} from '../api/status.ts';
import type { AuditTrail } from './audit/trail.ts';
import { authenticate, identityOf, type PeerIdentity } from './authenticate.ts';
import type { ApiContext } from './context.ts';
import { type ApiRequest, jsonReply, type Reply, type ReplyStream, type User } from './exchange.ts';
import type { Metrics } from './metrics.ts';
import { isTrue, type RequestInfo } from './request-info.ts';
import { authorize, parseInfo, route } from './router.ts';

/** The HTTP shell: HTTP/2 and HTTP/1.1 on one TLS server, limits, and the one place where errors become answers. */

type Request = IncomingMessage | Http2ServerRequest;
type Response = ServerResponse | Http2ServerResponse;

/** Streams of one HTTP/2 connection: a process of ours keeps all its watches on one. One more is refused (REFUSED_STREAM). */
export const concurrentStreamsMax = 1000;
/** Memory that one HTTP/2 connection may use, in MB, as Node counts it. */
const sessionMemoryMaxMb = 64;
/** What a client may send ahead on one HTTP/2 stream, bytes. */
const initialWindowBytes = 1024 * 1024;

export type HttpServer = {
  readonly server: Http2SecureServer;
  /** Resolves when the requests of now are answered. */
  readonly idle: () => Promise<void>;
};

export function createHttpServer(
  context: ApiContext,
  whenReady: Promise<void>,
  signal: AbortSignal,
): HttpServer {
  const { pki } = context.config;
  const server = createSecureServer({
    allowHTTP1: true,
    cert: pki.cert,
    key: pki.key,
    ca: pki.caCert,
    requestCert: true,
    rejectUnauthorized: false, // who has no certificate may have a token; identityOf looks at what was shown
    maxSessionMemory: sessionMemoryMaxMb,
    settings: { maxConcurrentStreams: concurrentStreamsMax, initialWindowSize: initialWindowBytes },
  });
  const active = new Set<Promise<void>>();
  server.on('request', (request: Request, response: Response) => {
    const serving = serve(context, whenReady, signal, request, response);
    active.add(serving);
    void serving.finally(() => active.delete(serving));
  });
  server.on('tlsClientError', (error) => context.log.debug('TLS handshake failed', { error: error.message }));
  server.on('sessionError', (error) =>
    context.log.debug('HTTP/2 connection failed', { error: error.message }),
  );
  server.on('unknownProtocol', (socket) => socket.destroy());
  // The server never listens itself (see run.ts); this starts Node's own watch over slow HTTP/1.1 requests.
  server.emit('listening');
  return { server, idle: async () => void (await Promise.allSettled(active)) };
}

const identities = new WeakMap<TLSSocket | ServerHttp2Session, PeerIdentity>();

/** Who is behind the connection; found out once a connection. */
export function peerOf(request: Request): PeerIdentity {
  const holder =
    'stream' in request && request.httpVersionMajor === 2
      ? (request.stream.session as ServerHttp2Session)
      : (request.socket as TLSSocket);
  const known = identities.get(holder);
  if (known !== undefined) return known;
  const socket = request.socket as TLSSocket;
  const peer = identityOf(socket.getPeerCertificate(), socket.authorized);
  identities.set(holder, peer);
  return peer;
}

async function serve(
  context: ApiContext,
  whenReady: Promise<void>,
  serverSignal: AbortSignal,
  incoming: Request,
  response: Response,
): Promise<void> {
  const { metrics, log } = context;
  const gone = new AbortController();
  const onClose = (): void => gone.abort(new Error('the client is gone'));
  const onStop = (): void => gone.abort(new Error('the server stops'));
  response.once('close', onClose);
  response.on('error', onClose);
  serverSignal.addEventListener('abort', onStop, { once: true });
  let info: RequestInfo | undefined;
  let status = 0;
  let warnings: readonly string[] = [];
  let trail: AuditTrail | undefined;
  try {
    await whenReady;
    const request = readRequest(context, incoming, gone.signal);
    warnings = request.warnings;
    info = parseInfo(request);
    const user = await authenticate(peerOf(incoming), incoming.headers, context.tokens).catch(
      (error: unknown) => {
        trail = begin(context, request, info, nobody);
        throw error;
      },
    );
    trail = begin(context, request, info, user);
    if (trail !== undefined) response.setHeader('audit-id', trail.id);
    status = await answer(context, { ...request, user, audit: trail }, info, response);
  } catch (error) {
    if (gone.signal.aborted && !(error instanceof StatusError)) {
      status = 499; // nobody is there to be answered
      closeStream(response);
      trail?.complete(status);
    } else {
      const refusal = statusFor(context, error, incoming);
      status = refusal.code;
      refuse(refusal, incoming, response, warnings);
      trail?.complete(status, refusal);
    }
  } finally {
    response.off('close', onClose);
    serverSignal.removeEventListener('abort', onStop);
    countRequest(metrics, info, status);
    log.debug('request', { method: incoming.method, url: incoming.url, status });
  }
}

/** Only served resources get a label of their own: whoever asks for made-up ones must not fill our memory. */
function countRequest(metrics: Metrics, info: RequestInfo | undefined, code: number): void {
  const known = info?.kind === 'resource' && findKind(info.group, info.version, info.plural) !== undefined;
  const verb = info === undefined ? 'unknown' : info.kind === 'resource' ? info.verb : 'path';
  metrics.countRequest({ verb, group: known ? info.group : '', resource: known ? info.plural : '', code });
}

/** Authorizes, limits, routes and sends. Resolves with the status when the answer is sent whole. */
async function answer(
  context: ApiContext,
  request: ApiRequest,
  info: RequestInfo,
  response: Response,
): Promise<number> {
  const { metrics, config } = context;
  const authorized = authorize(context, request, info);
  const streams = isStreaming(info, request);
  if (streams ? metrics.streams >= config.limits.streamsMax : metrics.inFlight >= config.limits.inFlightMax) {
    throw tooManyRequests('Too many requests, please try again later.', 1);
  }
  const counter = streams ? 'streams' : 'inFlight';
  metrics[counter]++;
  try {
    // The query of a proxied request is the back end's, not ours.
    const timeoutMs = streams ? 0 : timeoutOf(request, config.limits.requestTimeoutMs);
    const routing = route(context, authorized, info);
    const reply = streams ? await routing : await withinTime(context, routing, timeoutMs);
    if (reply.kind !== 'bytes') request.audit?.started(reply.status);
    await send(context, response, reply, request);
    request.audit?.complete(reply.status, undefined, request.audit.keepsAnswer ? jsonOf(reply) : undefined);
    return reply.status;
  } finally {
    metrics[counter]--;
  }
}

function begin(
  { audit }: ApiContext,
  request: ApiRequest,
  info: RequestInfo | undefined,
  user: User,
): AuditTrail | undefined {
  return info === undefined ? undefined : audit?.begin(request, info, user);
}

function jsonOf(reply: Reply): Json | undefined {
  if (reply.kind !== 'bytes' || !reply.contentType.startsWith('application/json')) return undefined;
  return JSON.parse(Buffer.concat(reply.body).toString()) as Json;
}

function isStreaming(info: RequestInfo, request: ApiRequest): boolean {
  if (info.kind !== 'resource') return false;
  if (info.verb === 'watch' || info.subresource === 'proxy') return true;
  return info.subresource === 'log' && isTrue(request.query.get('follow'));
}

/** How long the client wants to wait, ms: at most as long as the server does. Throws StatusError 400 for what is no duration. */
function timeoutOf(request: ApiRequest, maxMs: number): number {
  const text = request.query.get('timeout') ?? '';
  if (text === '') return maxMs;
  const ms = parseDurationMs(text);
  if (ms === undefined)
    throw badRequest(
      `invalid timeout specified in the request URL - time: invalid duration ${JSON.stringify(text)}`,
    );
  return ms <= 0 ? maxMs : Math.min(ms, maxMs);
}

async function withinTime(context: ApiContext, routing: Promise<Reply>, ms: number): Promise<Reply> {
  let cancel = (): void => {};
  const late = new Promise<never>((_resolve, reject) => {
    cancel = context.clock.after(ms, () =>
      reject(timeout('request did not complete within the allotted time', 1)),
    );
  });
  try {
    return await Promise.race([routing, late]);
  } finally {
    cancel();
  }
}

type UnknownCaller = Omit<ApiRequest, 'user'>;

/** The request without its user. Shared with upgraded connections, which have no body. */
export function readRequest(context: ApiContext, incoming: Request, signal: AbortSignal): ApiRequest {
  const rawUrl = incoming.url ?? '/';
  const question = rawUrl.indexOf('?');
  let body: Promise<Buffer> | undefined;
  const request: UnknownCaller = {
    method: incoming.method ?? 'GET',
    path: question === -1 ? rawUrl : rawUrl.slice(0, question),
    rawUrl,
    query: new URLSearchParams(question === -1 ? '' : rawUrl.slice(question + 1)),
    headers: incoming.headers,
    remoteAddress: incoming.socket.remoteAddress ?? '',
    signal,
    rawBody: () => incoming,
    warnings: [],
    body() {
      body ??= readBody(context, incoming); // a stream is read once; several readers share its bytes
      return body;
    },
  };
  return { ...request, user: nobody };
}

/** Stands in until authentication is done; no rule can name it. */
const nobody = { name: '', uid: '', groups: [], extra: {} } as const;

async function readBody(context: ApiContext, incoming: Request): Promise<Buffer> {
  const limit = `limit is ${bodyBytesMax}`;
  if (Number(incoming.headers['content-length'] ?? 0) > bodyBytesMax) throw tooLarge(limit);
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = [];
    let size = 0;
    const finish = (error: Error | undefined): void => {
      cancel();
      incoming.removeAllListeners('data');
      if (error === undefined)
        resolve(chunks.length === 1 ? (chunks[0] ?? Buffer.of()) : Buffer.concat(chunks));
      else reject(error);
    };
    const cancel = context.clock.after(context.config.limits.bodyTimeoutMs, () => {
      finish(failure(408, 'Timeout', 'the body of the request did not arrive in time'));
    });
    incoming.on('data', (chunk: Buffer) => {
      size += chunk.length;
      if (size > bodyBytesMax) finish(tooLarge(limit));
      else chunks.push(chunk);
    });
    incoming.once('end', () => finish(undefined));
    incoming.once('error', () => finish(badRequest('the body of the request was cut off')));
    incoming.once('close', () => finish(badRequest('the body of the request was cut off')));
  });
}

/** Answers from this size on are compressed, bytes; Kubernetes has the same bound and the same lowest level. */
const gzipBytesMin = 128 * 1024;

async function compressed(
  body: Buffer,
  acceptEncoding: string,
): Promise<{ readonly body: Buffer; readonly encoding: Record<string, string> }> {
  if (body.length < gzipBytesMin) return { body, encoding: {} };
  const vary = { vary: 'Accept-Encoding' };
  if (!/(?:^|[\s,])gzip(?:\s*(?:,|$)|\s*;\s*q=(?:1|0\.\d*[1-9]))/i.test(acceptEncoding)) {
    return { body, encoding: vary };
  }
  const { gzip, constants } = await import('node:zlib');
  const packed = await promisify(gzip)(body, { level: constants.Z_BEST_SPEED });
  return { body: packed, encoding: { ...vary, 'content-encoding': 'gzip' } };
}

async function send(
  context: ApiContext,
  response: Response,
  reply: Reply,
  request: ApiRequest,
): Promise<void> {
  if (reply.kind === 'bytes') {
    const acceptEncoding = String(request.headers['accept-encoding'] ?? '');
    const { body, encoding } = await compressed(Buffer.concat(reply.body), acceptEncoding);
    writeHead(response, reply.status, {
      'content-type': reply.contentType,
      'content-length': String(body.length),
      ...encoding,
      'cache-control': 'no-cache, private',
      ...reply.headers,
      ...warningHeaders([...(reply.warnings ?? []), ...request.warnings]),
    });
    end(response, body);
    return;
  }
  if (reply.kind === 'relayed') {
    writeHead(response, reply.status, reply.headers);
    if ('flushHeaders' in response) response.flushHeaders();
    await relayBody(reply.body, replyStream(response, context.config.limits.watchBufferBytesMax));
    response.end();
    return;
  }
  writeHead(response, reply.status, {
    'content-type': reply.contentType,
    'cache-control': 'no-cache, private',
    ...reply.headers,
    ...warningHeaders(request.warnings),
  });
  if ('flushHeaders' in response) response.flushHeaders(); // a watch without events must be seen to have begun
  await reply.run(replyStream(response, context.config.limits.watchBufferBytesMax));
  response.end();
}

async function relayBody(body: AsyncIterable<unknown>, stream: ReplyStream): Promise<void> {
  try {
    for await (const chunk of body) await stream.write(chunk as Buffer);
  } catch (cause) {
    throw serviceUnavailable(
      `the answer broke off: ${cause instanceof Error ? cause.message : String(cause)}`,
    );
  }
}

/** More warnings than these are not sent; headers have a bound at the client too. */
const warningsMax = 32;

function writeHead(
  response: Response,
  status: number,
  headers: Readonly<Record<string, string | string[]>>,
): void {
  // The two classes declare the same method twice.
  if (response instanceof ServerResponse) response.writeHead(status, headers);
  else response.writeHead(status, headers);
}

function end(response: Response, body: Buffer): void {
  if (response instanceof ServerResponse) response.end(body);
  else response.end(body);
}

/** Each text once: a change that is tried again finds the same ones. */
function warningHeaders(warnings: readonly string[]): Record<string, string[]> {
  if (warnings.length === 0) return {};
  return { warning: [...new Set(warnings)].slice(0, warningsMax).map(warningHeader) };
}

/** RFC 7234 warn-code 299; header values carry no control characters. */
function warningHeader(text: string): string {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is taken out
  return `299 - ${JSON.stringify(text.replace(/[^\x20-\x7e]/g, '?'))}`;
}

function replyStream(response: Response, bufferBytesMax: number): ReplyStream {
  const buffered = (): number =>
    response instanceof Http2ServerResponse ? response.stream.writableLength : response.writableLength;
  const write = (chunk: Uint8Array): boolean =>
    response instanceof ServerResponse ? response.write(chunk) : response.stream.write(chunk);
  return {
    async write(chunk) {
      if (response.destroyed || response.writableEnded) throw new Error('the client is gone');
      if (write(chunk)) return;
      await new Promise<void>((resolve, reject) => {
        const onDrain = (): void => {
          response.off('close', onClose);
          resolve();
        };
        const onClose = (): void => {
          response.off('drain', onDrain);
          reject(new Error('the client is gone'));
        };
        response.once('drain', onDrain);
        response.once('close', onClose);
      });
    },
    push(chunk) {
      if (response.destroyed || response.writableEnded) return false;
      write(chunk);
      if (buffered() <= bufferBytesMax) return true;
      closeStream(response);
      return false;
    },
  };
}

/** Ends one answer, on HTTP/2 without touching the connection that it shares. */
function closeStream(response: Response): void {
  if (response instanceof Http2ServerResponse) response.stream?.close();
  else response.destroy();
}

function refuse(
  status: FailureStatus,
  incoming: Request,
  response: Response,
  warnings: readonly string[],
): void {
  if (response.headersSent) {
    closeStream(response); // too late to say what happened
    return;
  }
  const reply = jsonReply(status, status.code);
  if (reply.kind !== 'bytes') return;
  const retryAfter = status.details?.retryAfterSeconds;
  const body = Buffer.concat(reply.body);
  writeHead(response, status.code, {
    'content-type': reply.contentType,
    'content-length': String(body.length),
    ...(retryAfter === undefined ? {} : { 'retry-after': String(retryAfter) }),
    ...warningHeaders(warnings),
    // A body that was not read to its end would be taken for the next request.
    ...(incoming.httpVersionMajor === 1 && !incoming.complete ? { connection: 'close' } : {}),
  });
  end(response, body);
}

/** What the client is told of an error. What is no StatusError is a bug or a broken disk: logged here, once. */
export function statusFor(context: ApiContext, error: unknown, incoming: Request): FailureStatus {
  if (error instanceof StatusError) return error.status;
  context.log.error('request failed', { method: incoming.method, url: incoming.url, error });
  return failure(500, 'InternalError', 'Internal error occurred: see the log of the API server').status;
}
