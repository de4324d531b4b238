import type { UpstreamRequest } from '../balance/upstream-request.ts';
import type { ProxyContext } from './context.ts';
import type { ExchangeClient } from './exchange-client.ts';
import type { ProxyLimits } from './limits.ts';

/**
 * An upgraded connection: bytes both ways till both sides have ended. A reader that is slow stops the other side. One that takes nothing
 * of what is held for it for as long as bodies are waited for is cut, whatever the other side goes on sending.
 */
export class ExchangeTunnel {
  receivedBytes = 0;
  sentBytes = 0;
  readonly #context: ProxyContext;
  readonly #client: ExchangeClient;
  readonly #upstream: UpstreamRequest;
  readonly #limits: ProxyLimits;
  #upstreamBlocked = false;
  #upstreamPaused = false;
  #clientEnded = false;

  constructor(context: ProxyContext, client: ExchangeClient, upstream: UpstreamRequest, limits: ProxyLimits) {
    this.#context = context;
    this.#client = client;
    this.#upstream = upstream;
    this.#limits = limits;
    upstream.deadlineMs = Number.POSITIVE_INFINITY;
    upstream.stallMs = Number.POSITIVE_INFINITY;
    context.metrics.tunnels += 1;
    upstream.endpoint.tunnels += 1;
  }

  /** It is over. To be called once. */
  end(): void {
    this.#context.metrics.tunnels -= 1;
    this.#upstream.endpoint.tunnels -= 1;
  }

  /** Answers the upgrade with `text`, and with the first bytes of the tunnel. */
  begin(text: string, data: Buffer, start: number, end: number): void {
    this.#sent(end - start);
    if (!this.#client.writeHead(text, 101, data, start, end)) this.#pauseUpstream();
    this.#client.touch();
    this.fromClient();
    this.#client.afterInput();
  }

  /** There may be more in the client's input. */
  fromClient(): void {
    const { input, framer } = this.#client;
    if (input.length === 0 || this.#upstreamBlocked) return;
    const start = input.start;
    framer.consume(input.data, start, input.end); // only one that counts what is held acts on it
    input.start = input.end;
    this.receivedBytes += input.end - start;
    this.#context.metrics.receivedBytes += input.end - start;
    this.#client.touch();
    if (!this.#upstream.write(input.data.subarray(start, input.end))) {
      this.#upstreamBlocked = true;
      this.#upstream.deadlineMs = this.#context.nowMs() + this.#limits.upstreamSendTimeoutMs;
    }
    if (this.#clientEnded) this.#upstream.endTunnel();
  }

  fromUpstream(data: Buffer): void {
    this.#sent(data.length);
    this.#client.touch();
    if (!this.#client.write(data)) this.#pauseUpstream();
  }

  #sent(bytes: number): void {
    this.sentBytes += bytes;
    this.#context.metrics.sentBytes += bytes;
  }

  #pauseUpstream(): void {
    this.#upstreamPaused = true;
    this.#upstream.pause();
  }

  onUpstreamDrain(): void {
    this.#upstreamBlocked = false;
    this.#upstream.deadlineMs = Number.POSITIVE_INFINITY;
    this.fromClient();
    this.#client.afterInput();
  }

  onClientDrain(): void {
    if (!this.#upstreamPaused) return;
    this.#upstreamPaused = false;
    this.#upstream.resume();
  }

  onClientEnd(): void {
    this.#clientEnded = true;
    if (this.#client.input.length === 0) this.#upstream.endTunnel();
  }
}
