import type { Clock } from '../base/clock.ts';
import type { Logger } from '../base/log.ts';
import { type Answer, answer } from './answer.ts';
import type { ForwardAnswer } from './cache.ts';
import type { ClientLimits } from './client-limits.ts';
import type { Forwarder } from './forward.ts';
import type { DnsMetrics, Source } from './metrics.ts';
import { addressRecordBytes, PacketCache } from './packet-cache.ts';
import { type Response, renderResponse } from './render.ts';
import type { DnsView } from './table.ts';
import { flags, parseQuery, type Query, type ResourceRecord, rcodes, rrTypes, wireLimits } from './wire.ts';

/** Where a query came from. */
export type Via = { readonly protocol: 'udp' | 'tcp'; readonly family: 4 | 6 };

export type Resolver = {
  /**
   * The answer to a query that was asked before, by its bytes in `input`; written into `output` at `at`, which must have
   * room for 1232 bytes. Its length, or 0: ask `resolve`. Costs no memory.
   */
  quick(
    input: Uint8Array,
    from: number,
    to: number,
    output: Uint8Array,
    at: number,
    via: Via,
    nowMs: number,
  ): number;
  /** From the bytes of a query to those of its answer; undefined: no answer is due. Never throws, never rejects. */
  resolve(message: Buffer, via: Via): Buffer | undefined | Promise<Buffer>;
  /** Whether this client may ask once more; over its limit it gets no answer. */
  allow(client: number, nowMs: number): boolean;
  /** So many answers of `quick` took so long, each. */
  took(answers: number, ms: number): void;
};

export type ResolverOptions = {
  /** The cluster's domain in lower case without final dot. */
  readonly zone: string;
  readonly ttlSeconds: number;
  /** undefined: clients may ask as much as they like. */
  readonly limits?: ClientLimits | undefined;
};

const seeds = { udp: 0x811c9dc5, tcp: 0x2f0b4c47 } as const;

/** Puts the parts together: reads the query, answers from `view` or asks `forwarder` (undefined: nobody to ask), counts. */
export function createResolver(
  view: DnsView,
  forwarder: Forwarder | undefined,
  metrics: DnsMetrics,
  clock: Clock,
  log: Logger,
  options: ResolverOptions,
): Resolver {
  let rotation = 0;
  const recursion = forwarder === undefined ? 0 : flags.recursionAvailable;
  const packets = new PacketCache();
  metrics.packetEntries = () => packets.size;

  const finish = (response: Response, via: Via, source: Source, startMs: number): Buffer => {
    const bytesMax = via.protocol === 'tcp' ? wireLimits.messageBytesMax : udpBytesMax(response);
    const bytes = renderResponse(response, bytesMax);
    metrics.response(source, response.rcode, clock.monotonicMs() - startMs);
    return bytes;
  };

  /** Keeps an answer for `quick`, which has just failed to find one for this query. */
  const keep = (packet: Buffer, query: Query, response: Response, source: Source, validForMs: number) => {
    if ((packet.readUInt16BE(2) & flags.truncated) !== 0) return;
    const { answers } = response;
    const turned = answers.length > 1 ? turnedBytes(query, answers) : 0;
    // Other answers of several records are made anew, so that their order differs from one to the next.
    if (answers.length > 1 && turned === 0 && source === 'kubernetes') return;
    packets.keep(packet, {
      epoch: view.epoch,
      validUntilMs: clock.monotonicMs() + validForMs,
      tag: metrics.tagOf(query.question.type, source, response.rcode),
      turnedRecords: turned === 0 ? 0 : answers.length,
      recordBytes: turned,
      scope: 0,
    });
  };

  const forwarded = (
    query: Query,
    told: ForwardAnswer | undefined,
    aliases: readonly ResourceRecord[],
    via: Via,
    startMs: number,
  ): readonly [Buffer, Response] => {
    const head = headOf(query, recursion);
    const response =
      told === undefined ? { ...head, rcode: rcodes.SERVFAIL } : forwardedResponse(head, told, aliases);
    return [finish(response, via, 'forward', startMs), response];
  };

  const forwardedLater = async (
    query: Query,
    asked: Promise<ForwardAnswer | undefined>,
    aliases: readonly ResourceRecord[],
    via: Via,
    startMs: number,
  ): Promise<Buffer> => {
    try {
      return forwarded(query, await asked, aliases, via, startMs)[0];
    } catch (error) {
      return failed(headOf(query, recursion), error, via, startMs);
    }
  };

  const failed = (head: Response, error: unknown, via: Via, startMs: number): Buffer => {
    metrics.panics += 1;
    log.error('a query could not be answered', { error, name: head.questionName });
    return finish({ ...head, rcode: rcodes.SERVFAIL }, via, 'errors', startMs);
  };

  const resolveQuery = (query: Query, via: Via, startMs: number): Buffer | Promise<Buffer> => {
    const { question } = query;
    rotation = (rotation + 1) & 0x3fffffff;
    const answered = answer(question, view, {
      zone: options.zone,
      ttlSeconds: options.ttlSeconds,
      forwarding: forwarder !== undefined,
      rotation,
    });
    if (answered.kind === 'local') {
      const response = localResponse(headOf(query, recursion), answered);
      const packet = finish(response, via, 'kubernetes', startMs);
      keep(packet, query, response, 'kubernetes', Number.POSITIVE_INFINITY);
      return packet;
    }
    const asked = forwarder?.ask({
      name: answered.name,
      type: question.type,
      dnssecOk: query.edns?.dnssecOk ?? false,
      checkingDisabled: (query.flags & flags.checkingDisabled) !== 0,
    });
    if (asked instanceof Promise) return forwardedLater(query, asked, answered.aliases, via, startMs);
    const [packet, response] = forwarded(query, asked, answered.aliases, via, startMs);
    if (asked !== undefined) keep(packet, query, response, 'forward', asked.sameForMs ?? 0);
    return packet;
  };

  return {
    quick(input, from, to, output, at, via, nowMs) {
      const seed = seeds[via.protocol];
      const bytes = packets.find(input, from, to, output, at, seed, view.epoch, nowMs, undefined);
      if (bytes > 0) metrics.quick(via.protocol, via.family, packets.tag);
      return bytes;
    },
    resolve(message, via) {
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
        return resolveQuery(query, via, startMs);
      } catch (error) {
        return failed(head, error, via, startMs);
      }
    },
    allow(client, nowMs) {
      if (options.limits === undefined || options.limits.allow(client, nowMs)) return true;
      metrics.limited += 1;
      return false;
    },
    took: (answers, ms) => metrics.requestDurations.addMany(ms, answers),
  };
}

/** The size of each record where all are addresses of the asked name, which can be turned round as bytes; else 0. */
function turnedBytes(query: Query, answers: readonly ResourceRecord[]): number {
  const { name, type } = query.question;
  const bytes = addressRecordBytes(type);
  const code = type === rrTypes.A ? 'A' : 'AAAA';
  return bytes > 0 && answers.every((record) => record.name === name && record.data.type === code)
    ? bytes
    : 0;
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
