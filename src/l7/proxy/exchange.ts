import { allowedMethods } from './answers.ts';
import { admit } from '../policy/admit.ts';
import { type AttemptOwner, Attempts } from '../balance/attempts.ts';
import { type BodyTranslator, bodyTranslator } from '../http2/body-translate.ts';
import { accessRecord, type ProxyContext } from './context.ts';
import type { CodedClient } from '../http2/coded-client.ts';
import { ErrorPages, type PageShown } from '../policy/error-page.ts';
import type { ExchangeClient } from './exchange-client.ts';
import { setRelayDeadline, setWaitDeadline } from './exchange-deadlines.ts';
import { bytesOf, ExchangeTimes, rounded, timesOf } from './exchange-times.ts';
import { ExchangeTunnel } from './exchange-tunnel.ts';
import { ExchangeSending } from './exchange-sending.ts';
import { proxyHeader, renderClientResponse, renderUpstreamRequest } from './headers.ts';
import type { RequestHead, ResponseHead } from '../http1/http1-parse.ts';
import { grpcLimits, type ProxyLimits } from './limits.ts';
import { countForward } from './max-forwards.ts';
import { matchRoute } from '../routes/match.ts';
import type { PolicedRequest } from '../policy/policed-request.ts';
import { isIdempotent, reusePolicy } from '../http1/replay.ts';
import type { RequestMarks } from './request-marks.ts';
import type { StaticAnswer } from '../policy/static-answer.ts';
import type { Route } from '../routes/table.ts';
import type { UpstreamEndpoint } from '../balance/upstream.ts';
import { openRequest, type UpstreamRequest, type UpstreamRequestOwner } from '../balance/upstream-request.ts';

type State = 'connecting' | 'waiting' | 'relaying' | 'tunnel' | 'over';

/** One request on its way to an endpoint, and the answer on its way back. */
export class Exchange implements UpstreamRequestOwner, AttemptOwner {
  state: State = 'connecting';
  /** Bytes of an answer have been written to the client: nothing can be retried or answered by us any more. */
  responded = false;
  /** A call of gRPC; to an endpoint that speaks no HTTP/2 it is a request like any other. */
  mayBeSilent = false;
  readonly head: RequestHead;
  readonly #context: ProxyContext;
  readonly #client: ExchangeClient;
  #coded: CodedClient | undefined; // stands between the answer and the client
  readonly #startedMs: number;
  #requestText: string;
  #marks: RequestMarks | undefined;
  /** Those of the process, or with what the route's policy says instead. */
  #limits: ProxyLimits;
  /** undefined: the route has no policy. */
  #policed: PolicedRequest | undefined;
  #pages: ErrorPages | undefined;
  readonly #attempts: Attempts;
  #upstream: UpstreamRequest | undefined;
  #response: ResponseHead | undefined;
  #upstreamPaused = false;
  #tunnel: ExchangeTunnel | undefined;
  #keepAlive = false;
  readonly #sending: ExchangeSending;
  /** undefined, as nearly always: the answer's body goes on as it comes. */
  #responseBody: BodyTranslator | undefined;
  #informational = 0;
  #repeatable: boolean;
  #sentBytes = 0;
  readonly #times: ExchangeTimes | undefined;

  /** `context.requestLines` must still be those of `head`. */
  constructor(context: ProxyContext, client: ExchangeClient, head: RequestHead, startedMs: number) {
    this.#context = context;
    this.#client = client;
    this.#limits = context.limits;
    this.head = head;
    this.#startedMs = startedMs;
    if (context.onAccess !== undefined) this.#times = new ExchangeTimes(startedMs);
    this.#attempts = new Attempts(context, this, head);
    const text = renderUpstreamRequest(head, context.requestLines, client.facts);
    this.#marks = context.marker?.mark(head, context.requestLines, client.facts, text);
    this.#requestText = this.#marks?.head ?? text;
    this.#repeatable = isIdempotent(head.method);
    this.#sending = new ExchangeSending(client, head);
    if (head.body !== 'none' && this.#repeatable) this.#sending.keep(context.limits.replayBytesMax);
  }

  /** Somebody may keep a part of the client's input that was consumed. */
  get keepsInput(): boolean {
    return this.#upstream?.keepsNothing !== true;
  }

  start(): void {
    const route = matchRoute(this.#context.live.table, this.head.host, this.head.path);
    if (route?.policy !== undefined && !this.#admit(route)) return;
    const tooLarge = this.head.contentLength > this.#limits.requestBodyBytesMax;
    if (tooLarge) return void this.#answer(413, 'the request body is too large');
    if (this.head.method === 'OPTIONS') {
      const text = countForward(this.#requestText);
      if (text === undefined) return void this.#answer(200, '', allowedMethods, Buffer.alloc(0));
      this.#requestText = text;
    }
    const policed = this.#policed;
    if (policed?.needsAuthorization !== true) return this.#attempts.begin(route, policed);
    const onText = (text: string): void => {
      this.#requestText = text;
      this.#attempts.begin(matchRoute(this.#context.live.table, this.head.host, this.head.path), policed);
      this.#client.afterInput();
    };
    policed.authorize(this.#context, this.#requestText, onText, (...no) => this.#answer(...no));
  }

  /** False: the route's policy has answered the request. */
  #admit(route: Route): boolean {
    const pages = route.policy?.errorPages;
    if (pages !== undefined) this.#pages = new ErrorPages(pages, route, this.head);
    const verdict = admit(route, this.head, this.#client.facts, this.#context);
    if (verdict.kind === 'answer') return this.#answer(verdict.status, verdict.reason, verdict.fields);
    this.#policed = verdict;
    if (verdict.limits !== this.#context.limits) this.#limits = verdict.limits;
    this.#requestText = verdict.editRequest(this.#requestText);
    if (verdict.mirrors) this.#sending.keep(this.#context.limits.replayBytesMax);
    return true;
  }

  onEndpoint(endpoint: UpstreamEndpoint, fresh: boolean): void {
    const policy = fresh ? 'new' : reusePolicy(this.head.minorVersion, this.#repeatable);
    this.state = 'connecting';
    this.#times?.connecting(this.#context.nowMs());
    // Whoever may refuse a stream of HTTP/2 must be able to be asked again, whatever the method.
    if (endpoint.protocol === 'http2' && this.head.body !== 'none' && this.#attempts.sent === 0) {
      this.#sending.keep(this.#context.limits.replayBytesMax);
    }
    const grpc = endpoint.protocol === 'http2' ? this.head.http2?.grpc : undefined;
    this.mayBeSilent = grpc !== undefined;
    this.#limits = grpcLimits(this.#limits, this.#context.limits, grpc);
    const version = endpoint.proxyProtocol;
    const preamble = version === undefined ? undefined : proxyHeader(version, this.#client.facts);
    const upstream = openRequest(this.#context, endpoint, this, policy, preamble);
    this.#upstream = upstream;
    if (upstream.connected) this.#send(upstream);
    else upstream.deadlineMs = this.#context.nowMs() + this.#limits.upstreamConnectTimeoutMs;
  }

  onNoEndpoint(status: number, reason: string, answer?: StaticAnswer): void {
    this.#answer(status, reason, answer?.fields, answer?.body);
  }

  onOutOfTime(): void {
    if (this.state !== 'tunnel') this.#fail(504, 'the request took longer than it may');
  }

  onUpstreamConnect(): void {
    if (this.#upstream === undefined) return;
    this.#send(this.#upstream);
    this.#client.afterInput();
  }

  #send(upstream: UpstreamRequest): void {
    this.state = 'waiting';
    // The first bytes of the body are checked before the head leaves: a malformed one reaches nobody.
    const refusal = this.#sending.take(this.#limits.requestBodyBytesMax);
    if (refusal !== undefined) return void this.#fail(...refusal);
    this.#attempts.sent += 1;
    this.#times?.connected(this.#context.nowMs());
    this.#sending.begin(upstream, this.#requestText);
    this.#afterSending(upstream);
  }

  #afterSending(upstream: UpstreamRequest): void {
    const { ended, blocked, replay } = this.#sending;
    if (ended) this.#policed?.mirror(this.#context, this.#requestText, replay, this.#client.unframed);
    const nowMs = this.#context.nowMs();
    if (this.state === 'waiting') setWaitDeadline(upstream, this.#limits, nowMs, ended, blocked);
    else if (blocked) this.#setRelayDeadline(upstream);
  }

  /** There may be more in the client's input. */
  onClientData(): void {
    const upstream = this.#upstream;
    if (upstream === undefined || this.state === 'connecting' || this.state === 'over') return;
    if (this.#tunnel !== undefined) return this.#tunnel.fromClient();
    const { input, framer } = this.#client;
    const sending = this.#sending;
    if (sending.ended || sending.blocked || (input.length === 0 && !framer.done)) return;
    const refusal = sending.take(this.#limits.requestBodyBytesMax);
    if (refusal !== undefined) return void this.#fail(...refusal);
    sending.more(upstream);
    this.#afterSending(upstream);
  }

  #setRelayDeadline(upstream: UpstreamRequest): void {
    if (this.#upstreamPaused) return; // it is the client who must make progress
    setRelayDeadline(upstream, this.#limits, this.#context.nowMs(), this.#sending.blocked);
  }

  onUpstreamDrain(): void {
    if (this.#tunnel !== undefined) return this.#tunnel.onUpstreamDrain();
    this.#sending.blocked = false;
    if (this.state === 'relaying' && this.#upstream !== undefined) this.#setRelayDeadline(this.#upstream);
    this.onClientData();
    this.#client.afterInput();
  }

  onAnswerInvalid(): void {
    this.#fail(502, 'the backend sent an answer that is not valid HTTP');
  }

  onInformational(head: ResponseHead): void {
    this.#informational += 1;
    if (this.#informational > this.#context.limits.informationalMax) return this.onAnswerInvalid();
    if (this.head.minorVersion === 0 || (head.status === 100 && !this.head.expectContinue)) return;
    this.responded = true;
    const text = renderClientResponse(head, this.#context.responseLines, 'keep-alive', 1, this.#context.date);
    this.#client.writeInformational(text, head.status);
    // A later failure can still be answered, but the request is not sent again: the client may have acted on this.
    this.responded = false;
    this.#repeatable = false;
  }

  onUpgraded(head: ResponseHead, data: Buffer, start: number, end: number): void {
    if (this.head.upgrade === undefined || head.upgrade === undefined) return this.onAnswerInvalid();
    this.#response = head;
    this.responded = true;
    this.state = 'tunnel';
    this.#times?.answered(this.#context.nowMs());
    this.#tunnel = new ExchangeTunnel(this.#context, this.#client, this.#upstream!, this.#limits);
    const { responseLines: lines } = this.#context;
    this.#tunnel.begin(renderClientResponse(head, lines, 'upgrade', 1, this.#context.date), data, start, end);
  }

  onUpgradeRefused(reason: string): void {
    this.#fail(502, reason);
  }

  onTunnelData(data: Buffer): void {
    this.#tunnel?.fromUpstream(data);
  }

  onTunnelEnd(): void {
    this.#client.endTunnel();
  }

  onAnswer(head: ResponseHead, data: Buffer, start: number, end: number, ended: boolean): void {
    const { minorVersion } = this.head;
    // An HTTP/1.0 request was answered in a way that its client cannot read.
    if (minorVersion === 0 && head.body === 'chunked') return this.onAnswerInvalid();
    const upstream = this.#upstream!;
    if (this.#attempts.answered(head.status, this.#mayRepeat())) {
      this.#discard();
      this.#attempts.retryAnswer();
      this.#client.afterInput();
      return;
    }
    if (this.#pages?.has(head.status) === true) return void this.#answer(head.status, 'the backend says so');
    upstream.stallMs = Number.POSITIVE_INFINITY;
    if (this.#policed?.mirrors !== true) this.#sending.replay?.drop();
    this.#response = head;
    this.responded = true;
    this.state = 'relaying';
    this.#times?.answered(this.#context.nowMs());
    this.#keepAlive =
      this.head.keepAlive && head.body !== 'close' && !this.#context.draining && this.#client.framer.done;
    const after = this.#keepAlive ? 'keep-alive' : 'close';
    const { responseLines: lines } = this.#context;
    let text = renderClientResponse(head, lines, after, minorVersion, this.#context.date);
    if (this.#policed !== undefined) {
      const answerTo = { client: this.#client, lines, onRoom: () => this.onClientDrain() };
      ({ text, coded: this.#coded } = this.#policed.editAnswer(text, head, upstream.endpoint, answerTo));
    }
    const client = this.#coded ?? this.#client;
    this.#setRelayDeadline(upstream);
    this.#responseBody = bodyTranslator(upstream.unframed, client.unframed, head.body);
    const body = this.#responseBody?.translate(data, start, end);
    const from = body === undefined ? start : 0;
    const to = body?.length ?? end;
    this.#sentBytes += to - from;
    const flowing = client.writeHead(text, head.status, body ?? data, from, to);
    if (this.state !== 'relaying') return; // the client has gone meanwhile
    if (ended) this.#complete('');
    else if (!flowing) this.#pauseUpstream();
  }

  onAnswerBody(data: Buffer, start: number, end: number, ended: boolean): void {
    let bytes = this.#responseBody?.translate(data, start, end);
    bytes ??= end === data.length && start === 0 ? data : data.subarray(start, end);
    this.#sentBytes += bytes.length;
    const flowing = bytes.length === 0 || (this.#coded ?? this.#client).write(bytes);
    if (this.state !== 'relaying') return;
    if (ended) this.#complete('');
    else if (!flowing) this.#pauseUpstream();
    else this.#setRelayDeadline(this.#upstream!);
  }

  onAnswerEnd(trailers: string): void {
    this.#complete(trailers);
  }

  #pauseUpstream(): void {
    const upstream = this.#upstream;
    if (upstream === undefined) return;
    this.#upstreamPaused = true;
    upstream.deadlineMs = Number.POSITIVE_INFINITY; // now it is the client who must make progress
    upstream.pause();
  }

  onClientDrain(): void {
    if (this.#tunnel !== undefined) return this.#tunnel.onClientDrain();
    if (this.#coded?.onClientDrain() === false) return;
    const upstream = this.#upstream;
    if (!this.#upstreamPaused || upstream === undefined) return;
    this.#upstreamPaused = false;
    if (this.state === 'relaying') this.#setRelayDeadline(upstream);
    upstream.resume();
  }

  /** The whole answer has come. */
  #complete(trailers: string): void {
    const upstream = this.#upstream!;
    const client = this.#coded ?? this.#client;
    const end = this.#responseBody?.finish(trailers) ?? '';
    if (end !== '') client.write(end);
    client.endBody(this.#responseBody?.trailers ?? trailers);
    const requestDone = client.framer.done;
    this.#upstream = undefined;
    upstream.complete(requestDone && this.#sending.ended && !this.#sending.blocked);
    this.#attempts.release(); // last: who waits for an endpoint finds its connection unused
    this.#over(this.#response!.status, upstream.endpoint.key);
    client.finish(this.#keepAlive && requestDone);
  }

  onUpstreamClose(error: string | undefined): void {
    if (this.state === 'connecting') this.#connectFailed(error ?? 'closed');
    else if (this.state === 'waiting') this.#sendFailed(error ?? 'closed');
    else if (this.state === 'tunnel' && error === undefined) {
      this.#finishTunnel();
      this.#client.endTunnel();
    } else this.#cut();
  }

  onUpstreamRefused(stale: boolean): void {
    this.#discard();
    if (this.state !== 'waiting') return this.#cut();
    const whole = !this.#sending.overflown;
    // One that takes no more requests on this connection does on another: it is asked again itself.
    if (stale || !whole) this.#attempts.unanswered('ECONNRESET', true, whole);
    else this.#attempts.refused('ECONNRESET');
    this.#client.afterInput();
  }

  onUpstreamTimeout(): void {
    if (this.state === 'connecting') this.#connectFailed('ETIMEDOUT');
    else if (this.state === 'waiting') {
      this.#discard();
      this.#attempts.timedOut(this.#mayRepeat());
      this.#client.afterInput();
    } else this.#cut(504, 'the backend did not go on in time');
  }

  onUpstreamLost(): void {
    if (this.state === 'waiting' && this.#mayRepeat()) this.#sendFailed('EHOSTUNREACH');
  }

  /** Sending it again is as good as sending it once, and is possible. */
  #mayRepeat(): boolean {
    return this.#repeatable && !this.#sending.overflown;
  }

  #connectFailed(error: string): void {
    this.#discard();
    this.#attempts.unreachable(error);
    this.#client.afterInput();
  }

  #sendFailed(error: string): void {
    const wasReused = this.#upstream?.reused === true;
    this.#discard();
    this.#attempts.unanswered(error, wasReused, this.#mayRepeat());
    this.#client.afterInput();
  }

  onClientEnd(): void {
    if (this.#tunnel !== undefined) {
      if (this.#upstream !== undefined) this.#tunnel.onClientEnd();
    } else if (!this.#client.framer.done) this.#cut(); // the rest of the body will never come
  }

  /** The client is gone, or too slow. */
  onClientClose(): void {
    this.#coded?.destroy();
    if (this.state === 'over') return;
    if (this.state === 'tunnel') this.#finishTunnel();
    else {
      this.#drop();
      this.#over(this.responded ? (this.#response?.status ?? 499) : 499, '');
    }
  }

  /** Ends the exchange with an answer of our own. */
  #answer(status: number, reason: string, fields = '', body?: Buffer): false {
    if (this.state === 'over') return false;
    const endpoint = this.#upstream?.endpoint.key ?? '';
    this.#drop();
    const finish: PageShown = (...answer) => {
      this.#over(answer[0], endpoint);
      this.#client.answer(...answer);
    };
    const pages = this.#pages;
    if (pages?.has(status) !== true) finish(status, reason, fields, body);
    else pages.show(this.#context, this.#requestText, status, reason, finish);
    return false;
  }

  /** For the client's side, which waits no longer. */
  giveUp(status: number, reason: string): void {
    this.#fail(status, reason);
  }

  /** An answer of our own where one can still be given. */
  #fail(status: number, reason: string): false {
    if (!this.responded) return this.#answer(status, reason);
    this.#cut(status, reason);
    return false;
  }

  #cut(status = 502, reason = 'the backend was lost before its answer was whole'): void {
    if (this.state === 'over') return;
    const endpoint = this.#upstream?.endpoint.key ?? '';
    if (this.state === 'tunnel') this.#finishTunnel();
    else {
      this.#drop();
      this.#over(this.responded ? (this.#response?.status ?? 502) : 499, endpoint);
    }
    this.#client.abort(status, reason);
  }

  #finishTunnel(): void {
    const endpoint = this.#upstream?.endpoint.key ?? '';
    this.#tunnel?.end();
    this.#drop();
    this.#over(101, endpoint);
  }

  /** Lets go of the endpoint for good. */
  #drop(): void {
    this.#discard();
    this.#attempts.release();
  }

  /** Closes the connection, if there is one. */
  #discard(): void {
    const upstream = this.#upstream;
    this.#upstream = undefined;
    upstream?.destroy();
  }

  #over(status: number, endpoint: string): void {
    const { metrics, onAccess } = this.#context;
    this.state = 'over';
    this.#sending.replay?.drop();
    this.#policed?.over();
    this.#pages?.cancel();
    const durationMs = rounded(this.#context.nowMs() - this.#startedMs);
    metrics.count(status, durationMs, this.#attempts.counts);
    metrics.receivedBytes += this.#sending.bodyBytes;
    metrics.sentBytes += this.#sentBytes;
    if (this.#client.unframed) metrics.http2Requests += 1;
    if (onAccess === undefined) return;
    const { backendKey: backend, sent: attempts } = this.#attempts;
    const parts = {
      ...timesOf(this.#times),
      ...bytesOf(this.#sending.bodyBytes, this.#sentBytes, this.#tunnel),
    };
    const outcome = { status, durationMs, ...parts, backend, endpoint, attempts };
    onAccess(accessRecord(this.#client.facts, this.head, outcome, this.#marks));
  }
}
