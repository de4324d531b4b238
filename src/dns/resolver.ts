import type { Clock } from '../base/clock.ts';
import type { Logger } from '../base/log.ts';
import { type Answer, type AnswerOptions, answer } from './answer.ts';
import { firstSearchOf } from './autopath.ts';
import type { ForwardAnswer } from './cache.ts';
import type { ClientLimits } from './client-limits.ts';
import { type Forwarder, probeDomain } from './forward.ts';
import type { DnsMetrics, Source } from './metrics.ts';
import { addressRecordBytes, PacketCache } from './packet-cache.ts';
import type { PodTable } from './pods.ts';
import { type Response, renderResponse } from './render.ts';
import type { Hosts } from './settings.ts';
import type { DnsView } from './table.ts';
import { flags, parseQuery, type Query, type ResourceRecord, rcodes, rrTypes, wireLimits } from './wire.ts';

/** Where a query came from. */
export type Via = { readonly protocol: 'udp' | 'tcp'; readonly family: 4 | 6 };

export type Resolver = {
  /**
   * The answer to a query that was asked before, by its bytes in `input`; written into `output` at `at`, which must have
   * room for 1232 bytes. Its length, or 0: ask `resolve`. `client` is as `clientOf` gives it. Costs no memory.
   */
  quick(
    input: Uint8Array,
    from: number,
    to: number,
    output: Uint8Array,
    at: number,
    via: Via,
    client: number,
    nowMs: number,
  ): number;
  /** From the bytes of a query to those of its answer; undefined: no answer is due. Never throws, never rejects. */
  resolve(message: Buffer, via: Via, client: number): Buffer | undefined | Promise<Buffer>;
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
  /** What may change while it runs. */
  readonly settings: { readonly hosts: Hosts; readonly version: number };
  /** undefined: nothing is known of Pods. */
  readonly pods?: PodTable | undefined;
  /** Whether names of Pods exist only for Pods. */
  readonly podsVerified?: boolean;
  /** Whether a Pod's first search is answered with what its last would find; needs `pods`. */
  readonly autopath?: boolean;
};

/** What is known of one query while it is answered. */
type Asked = {
  readonly query: Query;
  readonly via: Via;
  readonly client: number;
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
  readonly #scopeOfClient: ((client: number) => number) | undefined;
  #rotation = 0;

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
    this.#scopeOfClient =
      pods === undefined || autopath !== true ? undefined : (client) => pods.scopeOfClient(client);
    metrics.packetEntries = () => this.#packets.size;
  }

  quick(
    input: Uint8Array,
    from: number,
    to: number,
    output: Uint8Array,
    at: number,
    via: Via,
    client: number,
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
      client,
      this.#scopeOfClient,
    );
    if (bytes > 0) this.#metrics.quick(via.protocol, via.family, this.#packets.tag);
    return bytes;
  }

  resolve(message: Buffer, via: Via, client: number): Buffer | undefined | Promise<Buffer> {
    const startMs = this.#clock.monotonicMs();
    const parsed = parseQuery(message);
    if (parsed.kind === 'ignore') return undefined;
    if (parsed.kind === 'bad') {
      this.#metrics.request(via.protocol, via.family, 0);
      return this.#finish(badResponse(parsed.id, parsed.flags, parsed.rcode), via, 'errors', startMs);
    }
    const { query } = parsed;
    this.#metrics.request(via.protocol, via.family, query.question.type);
    const asked: Asked = { query, via, client, startMs };
    const head = this.#headOf(query);
    if ((query.edns?.version ?? 0) > 0) {
      return this.#finish({ ...head, rcode: rcodes.BADVERS }, via, 'errors', startMs);
    }
    try {
      return this.#resolveQuery(asked);
    } catch (error) {
      return this.#failed(asked, error);
    }
  }

  allow(client: number, nowMs: number): boolean {
    const { limits } = this.#options;
    if (limits === undefined || limits.allow(client, nowMs)) return true;
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
    const { zone, ttlSeconds, settings, pods, podsVerified } = this.#options;
    return {
      zone,
      ttlSeconds,
      forwards: (name) => this.#forwarder.accepts(name),
      hosts: settings.hosts,
      isPod:
        podsVerified === true && pods !== undefined
          ? (namespace, address) => pods.has(namespace, address)
          : undefined,
      rotation: this.#rotation,
    };
  }

  #resolveQuery(asked: Asked): Buffer | Promise<Buffer> {
    const { query, via, startMs } = asked;
    const { question } = query;
    this.#rotation = (this.#rotation + 1) & 0x3fffffff;
    if (question.name.endsWith(probeDomain)) this.#forwarder.sawProbe(question.name);
    const answered = answer(question, this.#view, this.#answerOptions());
    if (answered.kind === 'local') {
      if (answered.rcode === rcodes.NXDOMAIN) return this.#resolveMissing(asked, answered);
      const response = localResponse(this.#headOf(query), answered);
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
    const { query, via, client, startMs } = asked;
    const { question } = query;
    const response = localResponse(this.#headOf(query), missing);
    const { pods } = this.#options;
    const isSearched = this.#scopeOfClient !== undefined && searchedTypes.has(question.type);
    const search = isSearched ? firstSearchOf(question.name, this.#options.zone) : undefined;
    if (search === undefined || pods === undefined || !this.#view.hasNamespace(search.namespace)) {
      const packet = this.#finish(response, via, 'kubernetes', startMs);
      if (!this.#isOfPod(question.name)) this.#keep(packet, asked, response, 'kubernetes');
      return packet;
    }
    const scope = pods.scopeOf(search.namespace);
    const isOwn = pods.scopeOfClient(client) === scope;
    this.#packets.select('all');
    const plain = renderResponse(response, bytesMaxOf(response, via));
    this.#keep(plain, asked, response, 'kubernetes', Number.POSITIVE_INFINITY, scope);
    if (!isOwn) {
      this.#metrics.response('kubernetes', response.rcode, this.#clock.monotonicMs() - startMs);
      return plain;
    }
    this.#packets.select('scope');
    return this.#resolveSearch(asked, search.next, response);
  }

  /** Tries the rest of the search list; `missing` is the answer if nothing is found, and the client goes on by itself. */
  #resolveSearch(asked: Asked, names: readonly string[], missing: Response): Buffer | Promise<Buffer> {
    const { query, via, startMs } = asked;
    for (const name of names) {
      const answered = answer({ ...query.question, name }, this.#view, this.#answerOptions());
      if (answered.kind === 'forward') {
        const told = this.#ask(query, answered.name);
        const finish = (late: ForwardAnswer | undefined): readonly [Buffer, Response] => {
          const response = searchedResponse(missing, late, answered.name);
          return [this.#finish(response, via, 'forward', startMs), response];
        };
        if (told instanceof Promise) return this.#searchedLater(asked, told, finish);
        const [packet, response] = finish(told);
        this.#keep(packet, asked, response, 'forward', told?.sameForMs ?? 0);
        return packet;
      }
      if (answered.rcode !== rcodes.NOERROR) continue;
      const response: Response = {
        ...missing,
        rcode: rcodes.NOERROR,
        answers: renamed(answered.answers, name, query.question.name),
        authorities: answered.authorities,
      };
      const packet = this.#finish(response, via, 'kubernetes', startMs);
      this.#keep(packet, asked, response, 'kubernetes');
      return packet;
    }
    const packet = this.#finish(missing, via, 'kubernetes', startMs);
    this.#keep(packet, asked, missing, 'kubernetes');
    return packet;
  }

  async #searchedLater(
    asked: Asked,
    told: Promise<ForwardAnswer | undefined>,
    finish: (late: ForwardAnswer | undefined) => readonly [Buffer, Response],
  ): Promise<Buffer> {
    try {
      return finish(await told)[0];
    } catch (error) {
      return this.#failed(asked, error);
    }
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
    const response = forwardedResponse(this.#headOf(asked.query), told, aliases);
    const packet = this.#finish(response, asked.via, 'forward', asked.startMs);
    this.#keep(packet, asked, response, 'forward', told.sameForMs ?? 0);
    return packet;
  }

  async #forwardedLater(
    asked: Asked,
    later: Promise<ForwardAnswer | undefined>,
    aliases: readonly ResourceRecord[],
  ): Promise<Buffer> {
    const { query, via, startMs } = asked;
    try {
      const told = await later;
      const head = this.#headOf(query);
      const response =
        told === undefined ? { ...head, rcode: rcodes.SERVFAIL } : forwardedResponse(head, told, aliases);
      return this.#finish(response, via, 'forward', startMs);
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
    const bytes = renderResponse(response, bytesMaxOf(response, via));
    this.#metrics.response(source, response.rcode, this.#clock.monotonicMs() - startMs);
    return bytes;
  }

  /** Keeps an answer for `quick`, which has just failed to find one for this query. */
  #keep(
    packet: Buffer,
    { query }: Asked,
    response: Response,
    source: Source,
    validForMs: number = Number.POSITIVE_INFINITY,
    scope = 0,
  ): void {
    const isSure = response.rcode === rcodes.NOERROR || response.rcode === rcodes.NXDOMAIN;
    if (!isSure || validForMs <= 0 || (packet.readUInt16BE(2) & flags.truncated) !== 0) return;
    const { answers } = response;
    const turned = answers.length > 1 ? turnedBytes(query, answers) : 0;
    // Other answers of several records are made anew, so that their order differs from one to the next.
    if (answers.length > 1 && turned === 0 && source === 'kubernetes') return;
    this.#packets.keep(packet, {
      epoch: this.#epoch,
      validUntilMs: this.#clock.monotonicMs() + validForMs,
      tag: this.#metrics.tagOf(query.question.type, source, response.rcode),
      turnedRecords: turned === 0 ? 0 : answers.length,
      recordBytes: turned,
      scope,
    });
  }

  /** An answer with nothing in it yet. */
  #headOf(query: Query): Response {
    const recursion = this.#forwarder.accepts('') ? flags.recursionAvailable : 0;
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
}

/** What the last search found, under the name of the first. */
function searchedResponse(missing: Response, told: ForwardAnswer | undefined, name: string): Response {
  if (told?.rcode !== rcodes.NOERROR) return missing;
  if (told.answers.length === 0) return { ...missing, rcode: rcodes.NOERROR };
  const answers = renamed(told.answers, name, missing.questionName);
  return { ...missing, rcode: rcodes.NOERROR, answers, authorities: [] };
}

function renamed(records: readonly ResourceRecord[], from: string, to: string): readonly ResourceRecord[] {
  return records.map((record) => (record.name.toLowerCase() === from ? { ...record, name: to } : record));
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

function bytesMaxOf(response: Response, via: Via): number {
  if (via.protocol === 'tcp') return wireLimits.messageBytesMax;
  const wanted = response.edns?.udpBytes ?? wireLimits.udpBytesDefault;
  return Math.min(wanted, wireLimits.udpBytesMax);
}
