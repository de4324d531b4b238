import { admit } from './admit.ts';
import { type AttemptOwner, Attempts } from './attempts.ts';
import { accessRecord, type ProxyContext } from './context.ts';
import type { ExchangeClient } from './exchange-client.ts';
import { proxyHeader, renderClientResponse, renderUpstreamRequest } from './headers.ts';
import { BodyFramer } from './http1-body.ts';
import { findHeadEnd, parseResponseHead, type RequestHead, type ResponseHead } from './http1-parse.ts';
import { InputBuffer } from './input-buffer.ts';
import { joinHead } from './join-head.ts';
import type { ProxyLimits } from './limits.ts';
import { matchRoute } from './match.ts';
import type { PolicedRequest } from './policed-request.ts';
import { isIdempotent, ReplayBuffer, reusePolicy } from './replay.ts';
import type { Route } from './table.ts';
import type { UpstreamConnection, UpstreamEndpoint, UpstreamOwner } from './upstream.ts';

type State = 'connecting' | 'waiting' | 'relaying' | 'tunnel' | 'over';

/** One request on its way to an endpoint, and the answer on its way back. */
export class Exchange implements UpstreamOwner, AttemptOwner {
  state: State = 'connecting';
  /** Bytes of an answer have been written to the client: nothing can be retried or answered by us any more. */
  responded = false;
  readonly head: RequestHead;
  readonly #context: ProxyContext;
  readonly #client: ExchangeClient;
  readonly #startedMs: number;
  #requestText: string;
  /** Those of the process, or with what the route's policy says instead. */
  #limits: ProxyLimits;
  /** undefined: the route has no policy. */
  #policed: PolicedRequest | undefined;
  readonly #attempts: Attempts;
  #upstream: UpstreamConnection | undefined;
  #response: ResponseHead | undefined;
  #upstreamPaused = false;
  #upstreamBlocked = false;
  #clientEnded = false; // of a tunnel
  #keepAlive = false;
  readonly #upstreamInput = new InputBuffer();
  readonly #responseFramer = new BodyFramer();
  #replay: ReplayBuffer | undefined;
  #informational = 0;
  #repeatable: boolean;
  #bodyBytes = 0;

  /** `context.requestLines` must still be those of `head`. */
  constructor(context: ProxyContext, client: ExchangeClient, head: RequestHead, startedMs: number) {
    this.#context = context;
    this.#client = client;
    this.#limits = context.limits;
    this.head = head;
    this.#startedMs = startedMs;
    this.#attempts = new Attempts(context, this, head);
    this.#requestText = renderUpstreamRequest(head, context.requestLines, client.facts);
    this.#repeatable = isIdempotent(head.method);
    if (head.body !== 'none' && this.#repeatable) {
      this.#replay = new ReplayBuffer(context.limits.replayBytesMax);
    }
  }

  start(): void {
    const route = matchRoute(this.#context.live.table, this.head.host, this.head.path);
    if (route?.policy !== undefined && !this.#admit(route)) return;
    if (this.head.contentLength > this.#limits.requestBodyBytesMax) {
      this.#answer(413, 'the request body is too large');
      return;
    }
    this.#attempts.begin(route, this.#policed);
  }

  /** False: the route's policy has answered the request. */
  #admit(route: Route): boolean {
    const verdict = admit(route, this.head, this.#client.facts, this.#context);
    if (verdict.kind === 'answer') this.#answer(verdict.status, verdict.reason, verdict.fields);
    if (verdict.kind === 'answer') return false;
    this.#policed = verdict;
    this.#limits = verdict.limits;
    this.#requestText = verdict.editRequest(this.#requestText);
    return true;
  }

  onEndpoint(endpoint: UpstreamEndpoint, fresh: boolean): void {
    const policy = fresh ? 'new' : reusePolicy(this.head.minorVersion, this.#repeatable);
    this.state = 'connecting';
    const preamble =
      endpoint.proxyProtocol === undefined
        ? undefined
        : proxyHeader(endpoint.proxyProtocol, this.#client.facts);
    const upstream = this.#context.pool.acquire(endpoint, this, policy, this.#context.nowMs(), preamble);
    this.#upstream = upstream;
    if (upstream.connected) this.#send(upstream);
    else upstream.deadlineMs = this.#context.nowMs() + this.#limits.upstreamConnectTimeoutMs;
  }

  onNoEndpoint(status: number, reason: string): void {
    this.#answer(status, reason);
  }

  onOutOfTime(): void {
    if (this.state === 'tunnel') return;
    if (this.responded) this.#cut();
    else this.#answer(504, 'the request took longer than it may');
  }

  onUpstreamConnect(): void {
    if (this.#upstream === undefined) return;
    this.#send(this.#upstream);
    this.#client.afterInput();
  }

  #send(upstream: UpstreamConnection): void {
    const { input, framer } = this.#client;
    this.state = 'waiting';
    this.#upstreamInput.clear();
    this.#upstreamBlocked = false;
    const replay = this.#replay;
    const start = input.start;
    // The first bytes of the body are checked before the head leaves: a malformed one reaches nobody.
    const end = framer.done ? start : framer.consume(input.data, start, input.end);
    if (framer.failure !== undefined) {
      this.#answer(400, framer.failure);
      return;
    }
    if (!this.#countBody(end - start)) return;
    this.#attempts.sent += 1;
    const resent = replay !== undefined && replay.length > 0;
    input.start = end;
    let flowing: boolean;
    if (resent) {
      flowing = upstream.connection.write(joinHead(this.#requestText, replay.bytes(), 0, replay.length));
      if (end > start) flowing = upstream.connection.write(input.data.subarray(start, end));
    } else {
      flowing = upstream.connection.write(joinHead(this.#requestText, input.data, start, end));
    }
    if (end > start) replay?.add(input.data, start, end);
    this.#upstreamBlocked = !flowing;
    this.#setWaitDeadline(upstream);
  }

  /** While the client still sends its body, the client is who must make progress. */
  #setWaitDeadline(upstream: UpstreamConnection): void {
    const { upstreamHeaderTimeoutMs, upstreamSendTimeoutMs, upstreamStallMs } = this.#limits;
    let waitMs = Number.POSITIVE_INFINITY;
    if (this.#client.framer.done) waitMs = upstreamHeaderTimeoutMs;
    else if (this.#upstreamBlocked) waitMs = upstreamSendTimeoutMs;
    const nowMs = this.#context.nowMs();
    upstream.deadlineMs = nowMs + waitMs;
    upstream.stallMs = nowMs + upstreamStallMs;
  }

  /** False: the body is beyond its bound, and the client has been told. */
  #countBody(bytes: number): boolean {
    this.#bodyBytes += bytes;
    if (this.#bodyBytes <= this.#limits.requestBodyBytesMax) return true;
    if (this.responded) this.#cut();
    else this.#answer(413, 'the request body is too large');
    return false;
  }

  /** There may be more in the client's input. */
  onClientData(): void {
    const upstream = this.#upstream;
    if (upstream === undefined || this.state === 'connecting' || this.state === 'over') return;
    const { input, framer } = this.#client;
    if (this.state === 'tunnel') {
      if (input.length === 0 || this.#upstreamBlocked) return;
      const bytes = input.data.subarray(input.start, input.end);
      input.start = input.end;
      this.#client.touch();
      this.#upstreamBlocked = !upstream.connection.write(bytes);
      if (this.#clientEnded) upstream.connection.end();
      return;
    }
    if (framer.done || this.#upstreamBlocked || input.length === 0) return;
    const { start } = input;
    const end = framer.consume(input.data, start, input.end);
    if (framer.failure !== undefined) {
      if (this.responded) this.#cut();
      else this.#answer(400, framer.failure);
      return;
    }
    if (!this.#countBody(end - start)) return;
    input.start = end;
    this.#replay?.add(input.data, start, end);
    this.#upstreamBlocked = !upstream.connection.write(input.data.subarray(start, end));
    if (this.state === 'waiting') this.#setWaitDeadline(upstream);
  }

  onUpstreamDrain(): void {
    this.#upstreamBlocked = false;
    this.onClientData();
    this.#client.afterInput();
  }

  onUpstreamData(data: Buffer): void {
    if (this.state === 'relaying') {
      this.#relay(data, 0, data.length);
    } else if (this.state === 'waiting') {
      this.#upstreamInput.offer(data);
      this.#readResponse();
      this.#upstreamInput.retain();
    } else if (this.state === 'tunnel') {
      this.#client.touch();
      if (!this.#client.write(data)) this.#pauseUpstream();
    }
  }

  #readResponse(): void {
    const { limits } = this.#context;
    const input = this.#upstreamInput;
    while (this.state === 'waiting' && input.length > 0) {
      const end = findHeadEnd(input.data, input.start, input.end);
      if (end === -1) {
        if (input.length > limits.responseHeadBytesMax) this.#badResponse();
        return;
      }
      const lines = this.#context.responseLines;
      const head = parseResponseHead(input.data, input.start, end, this.head.method, lines);
      input.start = end;
      if (head.kind === 'failure') this.#badResponse();
      else if (head.status === 101) this.#beginTunnel(head);
      else if (head.status < 200) this.#relayInformational(head);
      else this.#beginResponse(head);
    }
  }

  #badResponse(): void {
    this.#answer(502, 'the backend sent an answer that is not valid HTTP/1.1');
  }

  #relayInformational(head: ResponseHead): void {
    this.#informational += 1;
    if (this.#informational > this.#context.limits.informationalMax) {
      this.#badResponse();
      return;
    }
    if (this.head.minorVersion === 0 || (head.status === 100 && !this.head.expectContinue)) return;
    this.responded = true;
    this.#client.write(renderClientResponse(head, this.#context.responseLines, 'keep-alive', 1));
    // A later failure can still be answered, but the request is not sent again: the client may have acted on this.
    this.responded = false;
    this.#repeatable = false;
  }

  #beginTunnel(head: ResponseHead): void {
    if (this.head.upgrade === undefined || head.upgrade === undefined) {
      this.#badResponse();
      return;
    }
    const upstream = this.#upstream!;
    this.#response = head;
    this.responded = true;
    this.state = 'tunnel';
    this.#context.metrics.tunnels += 1;
    upstream.deadlineMs = Number.POSITIVE_INFINITY;
    upstream.stallMs = Number.POSITIVE_INFINITY;
    const text = renderClientResponse(head, this.#context.responseLines, 'upgrade', 1);
    const input = this.#upstreamInput;
    const flowing = this.#client.write(joinHead(text, input.data, input.start, input.end));
    input.clear();
    if (!flowing) this.#pauseUpstream();
    this.#client.touch();
    this.onClientData();
    this.#client.afterInput();
  }

  #beginResponse(head: ResponseHead): void {
    const { minorVersion } = this.head;
    if (minorVersion === 0 && head.body === 'chunked') {
      this.#badResponse(); // an HTTP/1.0 request was answered in a way that its client cannot read
      return;
    }
    const upstream = this.#upstream!;
    if (this.#attempts.answered(head.status, this.#mayRepeat())) {
      this.#discard();
      this.#attempts.retryAnswer();
      this.#client.afterInput();
      return;
    }
    upstream.stallMs = Number.POSITIVE_INFINITY;
    const framer = this.#responseFramer;
    framer.begin(head.body, head.contentLength);
    this.#response = head;
    this.responded = true;
    this.state = 'relaying';
    this.#keepAlive =
      this.head.keepAlive && head.body !== 'close' && !this.#context.draining && this.#client.framer.done;
    const after = this.#keepAlive ? 'keep-alive' : 'close';
    let text = renderClientResponse(head, this.#context.responseLines, after, minorVersion);
    if (this.#policed !== undefined) text = this.#policed.editResponse(text, upstream.endpoint);
    const input = this.#upstreamInput;
    const { start } = input;
    const end = framer.consume(input.data, start, input.end);
    input.start = end;
    upstream.deadlineMs = this.#context.nowMs() + this.#limits.upstreamBodyTimeoutMs;
    const flowing = this.#client.write(joinHead(text, input.data, start, end));
    if (framer.failure !== undefined) this.#cut();
    else if (framer.done) this.#complete(input.length > 0);
    else if (!flowing) this.#pauseUpstream();
  }

  #relay(data: Buffer, start: number, length: number): void {
    const framer = this.#responseFramer;
    const end = framer.consume(data, start, length);
    let flowing = true;
    if (end > start)
      flowing = this.#client.write(end === data.length && start === 0 ? data : data.subarray(start, end));
    if (framer.failure !== undefined) this.#cut();
    else if (framer.done) this.#complete(end < length);
    else if (!flowing) this.#pauseUpstream();
    else this.#upstream!.deadlineMs = this.#context.nowMs() + this.#limits.upstreamBodyTimeoutMs;
  }

  #pauseUpstream(): void {
    const upstream = this.#upstream!;
    this.#upstreamPaused = true;
    upstream.deadlineMs = Number.POSITIVE_INFINITY; // now it is the client who must make progress
    upstream.connection.pause();
  }

  onClientDrain(): void {
    const upstream = this.#upstream;
    if (!this.#upstreamPaused || upstream === undefined) return;
    this.#upstreamPaused = false;
    if (this.state === 'relaying') {
      upstream.deadlineMs = this.#context.nowMs() + this.#limits.upstreamBodyTimeoutMs;
    }
    upstream.connection.resume();
  }

  /** The whole answer is written. `leftover`: the endpoint sent more than it announced, so it is not believed again. */
  #complete(leftover: boolean): void {
    const upstream = this.#upstream!;
    const response = this.#response!;
    const requestDone = this.#client.framer.done;
    const reusable = response.keepAlive && !leftover && requestDone && this.head.minorVersion === 1;
    this.#upstream = undefined;
    if (reusable && !this.#upstreamBlocked) {
      if (this.#upstreamPaused) upstream.connection.resume();
      this.#context.pool.release(upstream, this.#context.nowMs());
    } else {
      upstream.destroy();
    }
    this.#attempts.release(); // last: who waits for an endpoint finds its connection unused
    this.#over(response.status, upstream.endpoint.key);
    this.#client.finish(this.#keepAlive && requestDone);
  }

  onUpstreamEnd(): void {
    if (this.state === 'relaying' && this.#responseFramer.finish()) this.#complete(false);
    else if (this.state === 'relaying') this.#cut();
    else if (this.state === 'tunnel') this.#client.endTunnel();
    else this.#sendFailed('closed');
  }

  onUpstreamClose(error: string | undefined): void {
    if (this.state === 'connecting') this.#connectFailed(error ?? 'closed');
    else if (this.state === 'waiting') this.#sendFailed(error ?? 'closed');
    else if (this.state === 'tunnel' && error === undefined) {
      this.#finishTunnel();
      this.#client.endTunnel();
    } else if (this.state === 'relaying' && error === undefined && this.#responseFramer.finish()) {
      this.#complete(false);
    } else this.#cut();
  }

  onUpstreamTimeout(): void {
    if (this.state === 'connecting') this.#connectFailed('ETIMEDOUT');
    else if (this.state === 'waiting') this.#waitedInVain();
    else this.#cut();
  }

  onUpstreamLost(): void {
    if (this.state === 'waiting' && this.#mayRepeat()) this.#sendFailed('EHOSTUNREACH');
  }

  #waitedInVain(): void {
    this.#discard();
    this.#attempts.timedOut(this.#mayRepeat());
    this.#client.afterInput();
  }

  /** Sending it again is as good as sending it once, and is possible. */
  #mayRepeat(): boolean {
    return this.#repeatable && this.#replay?.overflown !== true;
  }

  #connectFailed(error: string): void {
    this.#discard();
    this.#attempts.unreachable(error);
    this.#client.afterInput();
  }

  #sendFailed(error: string): void {
    const wasReused = this.#upstream!.reused;
    this.#discard();
    this.#attempts.unanswered(error, wasReused, this.#mayRepeat());
    this.#client.afterInput();
  }

  onClientEnd(): void {
    if (this.state === 'tunnel') {
      this.#clientEnded = true;
      if (this.#client.input.length === 0) this.#upstream?.connection.end();
    } else if (!this.#client.framer.done) this.#cut(); // the rest of the body will never come
  }

  /** The client is gone, or too slow. */
  onClientClose(): void {
    if (this.state === 'over') return;
    if (this.state === 'tunnel') this.#finishTunnel();
    else {
      this.#drop();
      this.#over(this.responded ? (this.#response?.status ?? 499) : 499, '');
    }
  }

  /** Ends the exchange with an answer of our own. */
  #answer(status: number, reason: string, fields = ''): void {
    if (this.state === 'over') return;
    const endpoint = this.#upstream?.endpoint.key ?? '';
    this.#drop();
    this.#over(status, endpoint);
    this.#client.answer(status, reason, fields);
  }

  /** For the client's side: it has waited too long for the client's body. */
  timeOutBody(): void {
    if (this.responded) this.#cut();
    else this.#answer(408, 'the request body did not arrive in time');
  }

  #cut(): void {
    if (this.state === 'over') return;
    const endpoint = this.#upstream?.endpoint.key ?? '';
    if (this.state === 'tunnel') this.#finishTunnel();
    else {
      this.#drop();
      this.#over(this.responded ? (this.#response?.status ?? 502) : 499, endpoint);
    }
    this.#client.abort();
  }

  #finishTunnel(): void {
    const endpoint = this.#upstream?.endpoint.key ?? '';
    this.#context.metrics.tunnels -= 1;
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
    this.#policed?.over();
    const durationMs = Math.round((this.#context.nowMs() - this.#startedMs) * 1000) / 1000;
    metrics.count(status, durationMs, this.#attempts.counts);
    if (onAccess === undefined) return;
    const outcome = {
      status,
      durationMs,
      backend: this.#attempts.backendKey,
      endpoint,
      attempts: this.#attempts.sent,
    };
    onAccess(accessRecord(this.#client.facts, this.head, outcome));
  }
}
