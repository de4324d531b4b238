import { type BodyTranslator, bodyTranslator } from '../http2/body-translate.ts';
import type { ProxyContext } from '../proxy/context.ts';
import { FIELD_OTHER, FieldLines } from '../http1/http1-fields.ts';
import { parseRequestHead, type RequestHead, type ResponseHead } from '../http1/http1-parse.ts';
import type { UpstreamEndpoint } from '../balance/upstream.ts';
import { openRequest, type UpstreamRequest, type UpstreamRequestOwner } from '../balance/upstream-request.ts';

/** Body of an answer that is read for keeping its connection. Beyond, the connection is closed. */
const answerBodyBytesMax = 65_536;
const fieldsMax = 100;

export type SideAnswer = {
  readonly status: number;
  /** Names in lower case. */
  readonly fields: readonly (readonly [name: string, value: string])[];
  /** Empty unless it was asked for. */
  readonly body: Buffer;
};

/** A request's body, as its client sent it. */
export type SideBody = {
  readonly data: Buffer;
  /** It came by HTTP/2. */
  readonly unframed: boolean;
};

export type SideRequestOptions = {
  readonly connectTimeoutMs: number;
  readonly answerTimeoutMs: number;
  readonly body?: SideBody | undefined;
  /** Given: the answer's body is wanted; a longer one is no answer. */
  readonly answerBytesMax?: number;
};

/** A request of our own beside a client's, to one endpoint, once. */
export class SideRequest implements UpstreamRequestOwner {
  readonly head: RequestHead;
  readonly #context: ProxyContext;
  readonly #endpoint: UpstreamEndpoint;
  readonly #text: string;
  readonly #options: SideRequestOptions;
  readonly #onDone: (answer: SideAnswer | undefined) => void;
  #upstream: UpstreamRequest | undefined;
  #told = false;
  #over = false;
  #bodyBytes = 0;
  #translator: BodyTranslator | undefined;
  readonly #pieces: Buffer[] = [];
  /** What is told when its body has come. */
  #answered: Pick<SideAnswer, 'status' | 'fields'> | undefined;

  /**
   * @param text the whole head, which must be a right one
   * @param onDone called once, with undefined if no answer came; never from inside `start`'s caller's own call if `cancel` came first
   */
  constructor(
    context: ProxyContext,
    endpoint: UpstreamEndpoint,
    text: string,
    options: SideRequestOptions,
    onDone: (answer: SideAnswer | undefined) => void,
  ) {
    const bytes = Buffer.from(text, 'latin1');
    const head = parseRequestHead(bytes, 0, bytes.length, new FieldLines(fieldsMax));
    if (head.kind === 'failure') throw new RangeError(`a request of our own is malformed: ${head.reason}`);
    this.head = head;
    this.#context = context;
    this.#endpoint = endpoint;
    this.#text = text;
    this.#options = options;
    this.#onDone = onDone;
  }

  start(): void {
    this.#endpoint.pending += 1;
    const upstream = openRequest(this.#context, this.#endpoint, this, 'recent', undefined);
    this.#upstream = upstream;
    upstream.deadlineMs = this.#context.nowMs() + this.#options.connectTimeoutMs;
    if (upstream.connected) this.#send(upstream);
  }

  /** Nobody wants the answer any more. */
  cancel(): void {
    this.#told = true;
    this.#end(true);
  }

  onUpstreamConnect(): void {
    if (this.#upstream !== undefined) this.#send(this.#upstream);
  }

  #send(upstream: UpstreamRequest): void {
    const { body, answerTimeoutMs } = this.#options;
    const data = body?.data ?? empty;
    const translator = bodyTranslator(body?.unframed === true, upstream.unframed, this.head.body);
    const bytes = translator?.translate(data, 0, data.length) ?? data;
    upstream.deadlineMs = this.#context.nowMs() + answerTimeoutMs;
    upstream.send(this.#text, undefined, bytes, 0, bytes.length);
    const end = translator?.finish('') ?? '';
    if (end !== '') upstream.write(end);
    upstream.endBody('');
  }

  onAnswer(head: ResponseHead, data: Buffer, start: number, end: number, ended: boolean): void {
    const fields = fieldsOf(head, this.#context.responseLines);
    if (this.#options.answerBytesMax === undefined) {
      this.#skip(end - start, ended);
      this.#tell({ status: head.status, fields, body: empty });
      return;
    }
    this.#answered = { status: head.status, fields };
    this.#translator = bodyTranslator(this.#upstream?.unframed === true, true, head.body);
    this.#keep(data, start, end, ended);
  }

  onAnswerBody(data: Buffer, start: number, end: number, ended: boolean): void {
    if (this.#answered === undefined) this.#skip(end - start, ended);
    else this.#keep(data, start, end, ended);
  }

  #skip(bytes: number, ended: boolean): void {
    this.#bodyBytes += bytes;
    if (ended) this.#end(false);
    else if (this.#bodyBytes > answerBodyBytesMax) this.#end(true);
  }

  /** The bytes are the connection's: they are copied. */
  #keep(data: Buffer, start: number, end: number, ended: boolean): void {
    const piece = Buffer.from(this.#translator?.translate(data, start, end) ?? data.subarray(start, end));
    this.#bodyBytes += piece.length;
    if (this.#bodyBytes > (this.#options.answerBytesMax ?? 0)) return this.#fail();
    this.#pieces.push(piece);
    if (ended) this.onAnswerEnd();
  }

  onAnswerEnd(): void {
    this.#end(false);
    if (this.#answered !== undefined) this.#tell({ ...this.#answered, body: Buffer.concat(this.#pieces) });
  }

  onAnswerInvalid(): void {
    this.#fail();
  }

  onUpgraded(): void {
    this.#fail();
  }

  onUpstreamClose(): void {
    this.#fail();
  }

  onUpstreamRefused(): void {
    this.#fail();
  }

  onUpstreamTimeout(): void {
    this.#fail();
  }

  onUpstreamLost(): void {
    this.#fail();
  }

  onInformational(): void {}
  onUpstreamDrain(): void {}
  onUpgradeRefused(): void {}

  onTunnelData(): void {}
  onTunnelEnd(): void {}

  #fail(): void {
    this.#end(true);
    this.#tell(undefined);
  }

  #end(destroy: boolean): void {
    if (this.#over) return;
    this.#over = true;
    const upstream = this.#upstream;
    this.#upstream = undefined;
    if (upstream === undefined) return;
    this.#endpoint.pending -= 1;
    if (destroy) upstream.destroy();
    else upstream.complete(true);
  }

  #tell(answer: SideAnswer | undefined): void {
    if (this.#told) return;
    this.#told = true;
    this.#onDone(answer);
  }
}

const empty = Buffer.alloc(0);

function fieldsOf(head: ResponseHead, lines: FieldLines): SideAnswer['fields'] {
  const fields: (readonly [string, string])[] = [];
  for (let i = 0; i < lines.count; i += 1) {
    if (lines.fields[i] !== FIELD_OTHER) continue;
    const name = head.text.slice(lines.lineStarts[i], lines.nameEnds[i]).toLowerCase();
    fields.push([name, head.text.slice(lines.valueStarts[i], lines.valueEnds[i])]);
  }
  return fields;
}
