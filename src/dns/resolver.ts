import type { Clock } from '../base/clock.ts';
import type { Logger } from '../base/log.ts';
import { type Answer, answer } from './answer.ts';
import type { ForwardAnswer } from './cache.ts';
import type { Forwarder } from './forward.ts';
import type { DnsMetrics, Source } from './metrics.ts';
import { type Response, renderResponse } from './render.ts';
import type { DnsView } from './table.ts';
import { flags, parseQuery, type Query, type ResourceRecord, rcodes, wireLimits } from './wire.ts';

/** Where a query came from. */
export type Via = { readonly protocol: 'udp' | 'tcp'; readonly family: 4 | 6 };

/** From the bytes of a query to those of its answer; undefined: no answer is due. Never throws, never rejects. */
export type Resolve = (message: Buffer, via: Via) => Buffer | undefined | Promise<Buffer>;

export type ResolverOptions = {
  /** The cluster's domain in lower case without final dot. */
  readonly zone: string;
  readonly ttlSeconds: number;
};

/** Puts the parts together: reads the query, answers from `view` or asks `forwarder` (undefined: nobody to ask), counts. */
export function createResolver(
  view: DnsView,
  forwarder: Forwarder | undefined,
  metrics: DnsMetrics,
  clock: Clock,
  log: Logger,
  options: ResolverOptions,
): Resolve {
  let rotation = 0;
  const recursion = forwarder === undefined ? 0 : flags.recursionAvailable;

  const finish = (response: Response, via: Via, source: Source, startMs: number): Buffer => {
    const bytesMax = via.protocol === 'tcp' ? wireLimits.messageBytesMax : udpBytesMax(response);
    const bytes = renderResponse(response, bytesMax);
    metrics.response(source, response.rcode, clock.monotonicMs() - startMs);
    return bytes;
  };

  const forward = async (
    query: Query,
    asked: ForwardAnswer | undefined | Promise<ForwardAnswer | undefined>,
    aliases: readonly ResourceRecord[],
    via: Via,
    startMs: number,
  ): Promise<Buffer> => {
    const head = headOf(query, recursion);
    try {
      const told = await asked;
      if (told === undefined) return finish({ ...head, rcode: rcodes.SERVFAIL }, via, 'forward', startMs);
      return finish(forwardedResponse(head, told, aliases), via, 'forward', startMs);
    } catch (error) {
      return failed(head, error, via, startMs);
    }
  };

  const failed = (head: Response, error: unknown, via: Via, startMs: number): Buffer => {
    metrics.panics += 1;
    log.error('a query could not be answered', { error, name: head.questionName });
    return finish({ ...head, rcode: rcodes.SERVFAIL }, via, 'errors', startMs);
  };

  return (message, via) => {
    const startMs = clock.monotonicMs();
    const parsed = parseQuery(message);
    if (parsed.kind === 'ignore') return undefined;
    if (parsed.kind === 'bad') {
      metrics.request(via.protocol, via.family, 0);
      return finish(badResponse(parsed.id, parsed.flags, parsed.rcode), via, 'errors', startMs);
    }
    const { query } = parsed;
    metrics.request(via.protocol, via.family, query.question.type);
    const head = headOf(query, recursion);
    if ((query.edns?.version ?? 0) > 0)
      return finish({ ...head, rcode: rcodes.BADVERS }, via, 'errors', startMs);
    try {
      rotation = (rotation + 1) & 0x3fffffff;
      const answered = answer(query.question, view, {
        zone: options.zone,
        ttlSeconds: options.ttlSeconds,
        forwarding: forwarder !== undefined,
        rotation,
      });
      if (answered.kind === 'local') return finish(localResponse(head, answered), via, 'kubernetes', startMs);
      const asked = forwarder?.ask({
        name: answered.name,
        type: query.question.type,
        dnssecOk: query.edns?.dnssecOk ?? false,
        checkingDisabled: (query.flags & flags.checkingDisabled) !== 0,
      });
      return forward(query, asked, answered.aliases, via, startMs);
    } catch (error) {
      return failed(head, error, via, startMs);
    }
  };
}

/** An answer with nothing in it yet. */
function headOf(query: Query, recursion: number): Response {
  return {
    id: query.id,
    flags: (query.flags & (flags.recursionDesired | flags.checkingDisabled)) | recursion,
    rcode: rcodes.NOERROR,
    questionBytes: query.questionBytes,
    questionName: query.question.name,
    answers: [],
    authorities: [],
    additionals: [],
    edns: query.edns,
  };
}

function localResponse(head: Response, answered: Extract<Answer, { kind: 'local' }>): Response {
  const sure = answered.rcode === rcodes.NOERROR || answered.rcode === rcodes.NXDOMAIN;
  return {
    ...head,
    flags: head.flags | (sure ? flags.authoritative : 0),
    rcode: answered.rcode,
    answers: answered.answers,
    authorities: answered.authorities,
    additionals: answered.additionals,
  };
}

function forwardedResponse(
  head: Response,
  told: ForwardAnswer,
  aliases: readonly ResourceRecord[],
): Response {
  // Codes above 15 need EDNS to be told (RFC 6891).
  const rcode = told.rcode > 15 && head.edns === undefined ? rcodes.SERVFAIL : told.rcode;
  return {
    ...head,
    flags: head.flags | (told.authenticData && aliases.length === 0 ? flags.authenticData : 0),
    rcode,
    answers: aliases.length === 0 ? told.answers : [...aliases, ...told.answers],
    authorities: told.authorities,
    additionals: told.additionals,
  };
}

function badResponse(id: number, word: number, rcode: number): Response {
  return {
    id,
    flags: word & flags.recursionDesired,
    rcode,
    questionBytes: new Uint8Array(0),
    questionName: '',
    answers: [],
    authorities: [],
    additionals: [],
    edns: undefined,
  };
}

function udpBytesMax(response: Response): number {
  const wanted = response.edns?.udpBytes ?? wireLimits.udpBytesDefault;
  return Math.min(wanted, wireLimits.udpBytesMax);
}
