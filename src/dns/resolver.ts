import type { Clock } from '../base/clock.ts';
import type { Logger } from '../base/log.ts';
import { nextRandom } from '../base/random.ts';
import { type Answer, type AnswerOptions, answer } from './answer.ts';
import { firstSearchOf, laterSearches } from './autopath.ts';
import type { ForwardAnswer } from './question.ts';
import type { ClientLimits } from './client-limits.ts';
import { type Forwarder, probeDomain } from './forward.ts';
import type { DnsMetrics, Source } from './metrics.ts';
import { PacketCache } from './packet-cache.ts';
import { addressBytesOf, firstTypeOf, PassableAnswer, pass, passedBytes } from './passing.ts';
import type { PodTable, Searcher } from './pods.ts';
import { type Response, renderResponse } from './render.ts';
import {
  badResponse,
  bytesMaxOf,
  forwardedResponse,
  localResponse,
  noteOf,
  renamed,
  searchedResponse,
  shuffledBytes,
  staleNote,
} from './responses.ts';
import type { Hosts } from './settings.ts';
import type { DnsView } from './table.ts';
import {
  extendedErrors,
  flags,
  headerBytes,
  parseQuery,
  type Query,
  type ResourceRecord,
  rcodes,
  rrTypes,
} from './wire.ts';

/** Where a query came from. */
export type Via = { readonly protocol: 'udp' | 'tcp'; readonly family: 4 | 6 };

export type Resolver = {
  /**
   * The answer to a query that was asked before, by its bytes in `input`; written into `output` at `at`, which must have
   * room for 1232 bytes. Its length, or 0: ask `resolve`. `peer` is as `clientOf` gives it. Costs no memory.
   */
  quick(
    input: Uint8Array,
    from: number,
    to: number,
    output: Uint8Array,
    at: number,
    via: Via,
    peer: number,
    nowMs: number,
  ): number;
  /** From the bytes of a query to those of its answer; undefined: no answer is due. Never throws, never rejects. */
  resolve(message: Buffer, via: Via, peer: number): Buffer | undefined | Promise<Buffer>;
  /** Whether clients of this network, see `clientOf`, may ask once more; over their limit they get no answer. */
  allow(network: number, nowMs: number): boolean;
  /** So many answers of `quick` took so long, each. */
  took(answers: number, ms: number): void;
};

export type ResolverOptions = {
  /** The cluster's domain in lower case without final dot. */
  readonly zone: string;
  readonly ttlSeconds: number;
  /** undefined: clients may ask as much as they like. */
  readonly limits?: ClientLimits | undefined;
  /** What may change while it runs. */
  readonly settings: { readonly hosts: Hosts; readonly version: number };
  /** undefined: nothing is known of Pods. */
  readonly pods?: PodTable | undefined;
  /** Whether names of Pods exist only for Pods. */
  readonly podsVerified?: boolean;
  /** Whether a Pod's first search is answered with what its last would find; needs `pods`. */
  readonly autopath?: boolean;
  /** Whether names outside the zone are refused; false by default. */
  readonly zoneOnly?: boolean;
};

/** What is known of one query while it is answered. */
type Asked = {
  readonly query: Query;
  readonly via: Via;
  readonly peer: number;
  readonly startMs: number;
};

const seeds = { udp: 0x811c9dc5, tcp: 0x2f0b4c47 } as const;
/** More than the states that a view can have, so that versions of the settings do not meet them. */
const epochsPerVersion = 2 ** 34;
/** Types of which a client that searches asks. */
const searchedTypes: ReadonlySet<number> = new Set([rrTypes.A, rrTypes.AAAA]);

/** Puts the parts together: reads the query, answers from `view` or asks `forwarder`, counts. */
export function createResolver(
  view: DnsView,
  forwarder: Forwarder,
  metrics: DnsMetrics,
  clock: Clock,
  log: Logger,
  options: ResolverOptions,
): Resolver {
  return new QueryResolver(view, forwarder, metrics, clock, log, options);
}

class QueryResolver implements Resolver {
  readonly #view: DnsView;
  readonly #forwarder: Forwarder;
  readonly #metrics: DnsMetrics;
  readonly #clock: Clock;
  readonly #log: Logger;
  readonly #options: ResolverOptions;
  readonly #packets = new PacketCache();
  readonly #searcherOf: ((peer: number) => Searcher | undefined) | undefined;
  #random = 0x2545f491;

  constructor(
    view: DnsView,
    forwarder: Forwarder,
    metrics: DnsMetrics,
    clock: Clock,
    log: Logger,
    options: ResolverOptions,
  ) {
    this.#view = view;
    this.#forwarder = forwarder;
    this.#metrics = metrics;
    this.#clock = clock;
    this.#log = log;
    this.#options = options;
    const { pods, autopath } = options;
    this.#searcherOf = pods === undefined || autopath !== true ? undefined : (peer) => pods.searcher(peer);
    const others = metrics.packetEntries;
    metrics.packetEntries = () => others() + this.#packets.size;
  }

  quick(
    input: Uint8Array,
    from: number,
    to: number,
    output: Uint8Array,
    at: number,
    via: Via,
    peer: number,
    nowMs: number,
  ): number {
    const bytes = this.#packets.find(
      input,
      from,
      to,
      output,
      at,
      seeds[via.protocol],
      this.#epoch,
      nowMs,
      peer,
      this.#searcherOf,
    );
    if (bytes > 0) this.#metrics.quick(via.protocol, via.family, this.#packets.tag, to - from, bytes);
    return bytes;
  }

  resolve(message: Buffer, via: Via, peer: number): Buffer | undefined | Promise<Buffer> {
    const startMs = this.#clock.monotonicMs();
    const parsed = parseQuery(message);
    if (parsed.kind === 'ignore') return undefined;
    if (parsed.kind === 'bad') {
      this.#metrics.request(via.protocol, via.family, 0, message.length, false);
      return this.#finish(badResponse(parsed.id, parsed.flags, parsed.rcode), via, 'errors', startMs);
    }
    const { query } = parsed;
    const { question, edns } = query;
    this.#metrics.request(via.protocol, via.family, question.type, message.length, edns?.dnssecOk === true);
    const asked: Asked = { query, via, peer, startMs };
    const head = this.#headOf(query);
    if ((edns?.version ?? 0) > 0) {
      return this.#finish({ ...head, rcode: rcodes.BADVERS }, via, 'errors', startMs);
    }
    try {
      return this.#resolveQuery(asked);
    } catch (error) {
      return this.#failed(asked, error);
    }
  }

  allow(network: number, nowMs: number): boolean {
    const { limits } = this.#options;
    if (limits === undefined || limits.allow(network, nowMs)) return true;
    this.#metrics.limited += 1;
    return false;
  }

  took(answers: number, ms: number): void {
    this.#metrics.requestDurations.addMany(ms, answers);
  }

  /** Changes with everything that an answer from here depends on. */
  get #epoch(): number {
    return this.#view.epoch + this.#options.settings.version * epochsPerVersion;
  }

  #answerOptions(): AnswerOptions {
    const { zone, ttlSeconds, settings, pods, podsVerified, zoneOnly = false } = this.#options;
    return {
      zone,
      ttlSeconds,
      forwards: (name) => this.#forwarder.accepts(name),
      zoneOnly,
      hosts: settings.hosts,
      isPod:
        podsVerified === true && pods !== undefined
          ? (namespace, address) => pods.has(namespace, address)
          : undefined,
      order: this.#random,
    };
  }

  #resolveQuery(asked: Asked): Buffer | Promise<Buffer> {
    const { query, via, startMs } = asked;
    const { question } = query;
    this.#random = nextRandom(this.#random);
    if (question.name.endsWith(probeDomain)) this.#forwarder.sawProbe(question.name);
    const options = this.#answerOptions();
    const answered = answer(question, this.#view, options);
    if (answered.kind === 'local') {
      if (answered.rcode === rcodes.NXDOMAIN) return this.#resolveMissing(asked, answered);
      const note = noteOf(query, answered, this.#view, options);
      const response = { ...localResponse(this.#headOf(query), answered), note };
      const packet = this.#finish(response, via, 'kubernetes', startMs);
      if (!this.#isOfPod(question.name)) this.#keep(packet, asked, response, 'kubernetes');
      return packet;
    }
    const told = this.#ask(query, answered.name);
    if (told instanceof Promise) return this.#forwardedLater(asked, told, answered.aliases);
    return this.#forwarded(asked, told, answered.aliases);
  }

  /** Names of Pods change without the view if they are checked. */
  #isOfPod(name: string): boolean {
    return this.#options.podsVerified === true && name.endsWith(`.pod.${this.#options.zone}`);
  }

  /** A name of the zone that does not exist; perhaps a search of a Pod, which is then answered at its end. */
  #resolveMissing(asked: Asked, missing: Extract<Answer, { kind: 'local' }>): Buffer | Promise<Buffer> {
    const { query, via, peer, startMs } = asked;
    const { question } = query;
    const note = noteOf(query, missing, this.#view, this.#answerOptions());
    const response = { ...localResponse(this.#headOf(query), missing), note };
    const { pods } = this.#options;
    const isSearched = this.#searcherOf !== undefined && searchedTypes.has(question.type);
    const search = isSearched ? firstSearchOf(question.name, this.#options.zone) : undefined;
    if (search === undefined || pods === undefined || !this.#view.hasNamespace(search.namespace)) {
      const packet = this.#finish(response, via, 'kubernetes', startMs);
      if (!this.#isOfPod(question.name)) this.#keep(packet, asked, response, 'kubernetes');
      return packet;
    }
    const scope = pods.scopeOf(search.namespace);
    const searcher = pods.searcher(peer);
    this.#packets.select('all');
    const plain = renderResponse(response, bytesMaxOf(response.edns, via.protocol));
    this.#keep(plain, asked, response, 'kubernetes', Number.POSITIVE_INFINITY, scope);
    if (searcher?.scope !== scope) {
      this.#count(plain, 'kubernetes', response.rcode, asked);
      return plain;
    }
    this.#packets.select(searcher);
    const names = laterSearches(search.given, pods.searches(search.namespace, searcher.list));
    return this.#resolveSearch(asked, names, response, Number.POSITIVE_INFINITY);
  }

  /**
   * Tries the rest of the search list; `missing` is the answer if nothing is found, and the client goes on by itself.
   * `sameForMs`: how long what others said of the names before these is sure; 0: not to be kept.
   */
  #resolveSearch(
    asked: Asked,
    names: readonly string[],
    missing: Response,
    sameForMs: number,
  ): Buffer | Promise<Buffer> {
    const { query } = asked;
    let sureForMs = sameForMs;
    for (const [index, name] of names.entries()) {
      const answered = answer({ ...query.question, name }, this.#view, this.#answerOptions());
      if (answered.kind === 'forward') {
        const told = this.#ask(query, answered.name);
        const rest = names.slice(index + 1);
        if (told instanceof Promise) return this.#searchedLater(asked, told, answered.name, rest, missing);
        sureForMs = Math.min(sureForMs, told.sameForMs ?? 0);
        if (told.rcode === rcodes.NXDOMAIN && rest.length > 0) continue;
        return this.#searched(asked, searchedResponse(missing, told, answered.name), 'forward', sureForMs);
      }
      if (answered.rcode !== rcodes.NOERROR) continue;
      const response: Response = {
        ...missing,
        rcode: rcodes.NOERROR,
        answers: renamed(answered.answers, name, query.question.name),
        authorities: answered.authorities,
        note: undefined,
      };
      return this.#searched(asked, response, 'kubernetes', sureForMs);
    }
    return this.#searched(asked, missing, 'kubernetes', sureForMs);
  }

  async #searchedLater(
    asked: Asked,
    later: Promise<ForwardAnswer | undefined>,
    name: string,
    rest: readonly string[],
    missing: Response,
  ): Promise<Buffer> {
    try {
      const told = await later;
      if (told?.rcode === rcodes.NXDOMAIN && rest.length > 0) {
        return await this.#resolveSearch(asked, rest, missing, 0);
      }
      const response = searchedResponse(missing, told, name);
      return this.#finish(response, asked.via, 'forward', asked.startMs);
    } catch (error) {
      return this.#failed(asked, error);
    }
  }

  #searched(asked: Asked, response: Response, source: Source, sureForMs: number): Buffer {
    const packet = this.#finish(response, asked.via, source, asked.startMs);
    this.#keep(packet, asked, response, source, sureForMs);
    return packet;
  }

  #ask(query: Query, name: string): ForwardAnswer | Promise<ForwardAnswer | undefined> {
    return this.#forwarder.ask({
      name,
      type: query.question.type,
      dnssecOk: query.edns?.dnssecOk ?? false,
      checkingDisabled: (query.flags & flags.checkingDisabled) !== 0,
    });
  }

  #forwarded(asked: Asked, told: ForwardAnswer, aliases: readonly ResourceRecord[]): Buffer {
    const passed = aliases.length === 0 ? this.#passed(asked, told) : undefined;
    if (passed !== undefined) return passed;
    const response = forwardedResponse(this.#headOf(asked.query), told, aliases);
    return this.#searched(asked, response, 'forward', told.sameForMs ?? 0);
  }

  /** What another server said as it stands; undefined: it has to be written anew. */
  #passed(asked: Asked, told: ForwardAnswer): Buffer | undefined {
    if (!(told instanceof PassableAnswer)) return undefined;
    const { query, via } = asked;
    const { passable, ageSeconds, ttlSeconds, rcode } = told;
    const { id, edns, questionBytes } = query;
    const note = told.isStale ? staleNote : undefined;
    if (passedBytes(passable, edns, note) > bytesMaxOf(edns, via.protocol)) return undefined;
    if (questionBytes.length !== passable.questionEnd - headerBytes) return undefined;
    const { type } = query.question;
    const recordBytes = addressBytesOf(passable, type);
    // Written anew, equal records can be shuffled.
    if (recordBytes === 0 && passable.counts[0] > 1 && firstTypeOf(passable) === type) return undefined;
    const word = this.#flagsOf(query);
    const packet = pass(passable, { id, flags: word, questionBytes, edns, ageSeconds, ttlSeconds, note });
    this.#count(packet, 'forward', rcode, asked);
    const records = { count: recordBytes === 0 ? 0 : passable.counts[0], bytes: recordBytes };
    this.#keepPacket(packet, asked, rcode, 'forward', told.sameForMs ?? 0, records, 0);
    return packet;
  }

  async #forwardedLater(
    asked: Asked,
    later: Promise<ForwardAnswer | undefined>,
    aliases: readonly ResourceRecord[],
  ): Promise<Buffer> {
    try {
      const told = await later;
      if (told !== undefined) return this.#forwarded(asked, told, aliases);
      const text = `no server answered for ${asked.query.question.name}`;
      const note = { code: extendedErrors.noReachableAuthority, text };
      const response = { ...this.#headOf(asked.query), rcode: rcodes.SERVFAIL, note };
      return this.#finish(response, asked.via, 'forward', asked.startMs);
    } catch (error) {
      return this.#failed(asked, error);
    }
  }

  #failed({ query, via, startMs }: Asked, error: unknown): Buffer {
    this.#metrics.panics += 1;
    this.#log.error('a query could not be answered', { error, name: query.question.name });
    return this.#finish({ ...this.#headOf(query), rcode: rcodes.SERVFAIL }, via, 'errors', startMs);
  }

  #finish(response: Response, via: Via, source: Source, startMs: number): Buffer {
    const bytes = renderResponse(response, bytesMaxOf(response.edns, via.protocol));
    this.#count(bytes, source, response.rcode, { via, startMs });
    return bytes;
  }

  #count(
    packet: Buffer,
    source: Source,
    rcode: number,
    { via, startMs }: Pick<Asked, 'via' | 'startMs'>,
  ): void {
    const tookMs = this.#clock.monotonicMs() - startMs;
    this.#metrics.response(source, rcode, tookMs, via.protocol, packet.length);
  }

  /** Keeps an answer for `quick`, which has just failed to find one for this query. */
  #keep(
    packet: Buffer,
    asked: Asked,
    response: Response,
    source: Source,
    validForMs: number = Number.POSITIVE_INFINITY,
    scope = 0,
  ): void {
    const { answers, rcode } = response;
    const bytes = answers.length > 1 ? shuffledBytes(asked.query, answers) : 0;
    // Other answers of several records are made anew, so that their order differs from one to the next.
    if (answers.length > 1 && bytes === 0 && source === 'kubernetes') return;
    const records = { count: bytes === 0 ? 0 : answers.length, bytes };
    this.#keepPacket(packet, asked, rcode, source, validForMs, records, scope);
  }

  #keepPacket(
    packet: Buffer,
    { query }: Asked,
    rcode: number,
    source: Source,
    validForMs: number,
    records: { readonly count: number; readonly bytes: number },
    scope: number,
  ): void {
    const isSure = rcode === rcodes.NOERROR || rcode === rcodes.NXDOMAIN;
    if (!isSure || validForMs <= 0 || (packet.readUInt16BE(2) & flags.truncated) !== 0) return;
    this.#packets.keep(packet, {
      epoch: this.#epoch,
      validUntilMs: this.#clock.monotonicMs() + validForMs,
      tag: this.#metrics.tagOf(
        query.question.type,
        source,
        rcode,
        query.edns?.dnssecOk === true,
        packet.readUInt16BE(6) === 0,
      ),
      shuffledRecords: records.count,
      recordBytes: records.bytes,
      scope,
    });
  }

  /** An answer with nothing in it yet. */
  #headOf(query: Query): Response {
    return {
      id: query.id,
      flags: this.#flagsOf(query),
      rcode: rcodes.NOERROR,
      questionBytes: query.questionBytes,
      questionName: query.question.name,
      answers: [],
      authorities: [],
      additionals: [],
      edns: query.edns,
    };
  }

  #flagsOf(query: Query): number {
    const recurses = this.#options.zoneOnly !== true && this.#forwarder.accepts('');
    const asked = query.flags & (flags.recursionDesired | flags.checkingDisabled);
    return asked | (recurses ? flags.recursionAvailable : 0);
  }
}
