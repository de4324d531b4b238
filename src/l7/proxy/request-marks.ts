import { addLines, withoutField } from '../http1/head-edit.ts';
import type { ClientFacts } from './headers.ts';
import { FIELD_OTHER, type FieldLines } from '../http1/http1-fields.ts';
import type { RequestHead } from '../http1/http1-parse.ts';

export type MarkingOptions = {
  /** Begin a trace for requests that come without a valid one. */
  readonly startsTraces: boolean;
  /** Share of these that is marked as sampled, in [0, 1]. */
  readonly sampledShare: number;
  /** Give each request an X-Request-ID; one of a trusted proxy is kept. */
  readonly setsRequestId: boolean;
};

/** What a request can be found again by. */
export type RequestMarks = {
  /** 32 hexadecimal digits; '' without a trace. */
  readonly traceId: string;
  /** It came with a trace that is sampled. */
  readonly traceSampled: boolean;
  /** '' without. */
  readonly requestId: string;
  /** The head for the endpoint, with what is new. */
  readonly head: string;
};

/** W3C Trace Context and request ids. A proxy that records no spans passes a valid traceparent on as it is (§3.3). */
export class RequestMarker {
  readonly #options: MarkingOptions;
  readonly #randomHex: (bytes: number) => string;
  #begun = 0;

  /** @param randomHex unpredictable, not all zero */
  constructor(options: MarkingOptions, randomHex: (bytes: number) => string) {
    this.#options = options;
    this.#randomHex = randomHex;
  }

  /** `lines` must be those of `head`; `text` is what goes to the endpoint so far. */
  mark(head: RequestHead, lines: FieldLines, client: ClientFacts, text: string): RequestMarks {
    const parents = valuesOf(head, lines, 'traceparent');
    const trace = parents.length === 1 ? parseTraceparent(parents[0]!) : undefined;
    let out = text;
    let traceId = trace?.traceId ?? '';
    if (trace === undefined && this.#options.startsTraces) {
      traceId = this.#randomHex(16);
      const flags = this.#samples() ? '01' : '00';
      // A tracestate without its traceparent means nothing (§3.3.1).
      out = withoutField(withoutField(out, 'traceparent'), 'tracestate');
      out = addLines(out, `traceparent: 00-${traceId}-${this.#randomHex(8)}-${flags}\r\n`);
    }
    let [requestId = ''] = valuesOf(head, lines, 'x-request-id');
    if (this.#options.setsRequestId && !(client.trusted && /^[\x21-\x7e]{1,128}$/.test(requestId))) {
      requestId = this.#randomHex(16);
      out = addLines(withoutField(out, 'x-request-id'), `X-Request-ID: ${requestId}\r\n`);
    }
    return { traceId, traceSampled: trace?.sampled ?? false, requestId: requestId.slice(0, 128), head: out };
  }

  #samples(): boolean {
    const share = this.#options.sampledShare;
    this.#begun += 1;
    return Math.floor(this.#begun * share) > Math.floor((this.#begun - 1) * share);
  }
}

/** undefined: not valid, so that a new trace is to begin. A later version may have more behind its flags (W3C Trace Context §4.3). */
export function parseTraceparent(
  value: string,
): { readonly traceId: string; readonly sampled: boolean } | undefined {
  const parts = /^([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?$/.exec(value);
  if (parts === null) return undefined;
  const [, version = '', traceId = '', parentId = '', flags = '', more] = parts;
  if (version === 'ff' || (version === '00' && more !== undefined)) return undefined;
  if (/^0+$/.test(traceId) || /^0+$/.test(parentId)) return undefined;
  return { traceId, sampled: (Number.parseInt(flags, 16) & 1) === 1 };
}

/** Of all fields of that name (lower case). */
function valuesOf(head: RequestHead, lines: FieldLines, name: string): string[] {
  const values: string[] = [];
  for (let i = 0; i < lines.count; i += 1) {
    const start = lines.lineStarts[i]!;
    if (lines.fields[i] !== FIELD_OTHER || lines.nameEnds[i]! - start !== name.length) continue;
    if (head.text.slice(start, lines.nameEnds[i]).toLowerCase() !== name) continue;
    values.push(head.text.slice(lines.valueStarts[i], lines.valueEnds[i]));
  }
  return values;
}
