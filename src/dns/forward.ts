import { randomInt } from 'node:crypto';
import { createSocket } from 'node:dgram';
import { connect, isIP } from 'node:net';
import type { Clock } from '../base/clock.ts';
import { AnswerCache, type ForwardAnswer } from './cache.ts';
import type { DnsMetrics } from './metrics.ts';
import { renderQuery } from './render.ts';
import { flags, type Message, parseMessage, rcodes, WireError } from './wire.ts';

/** A server to ask. */
export type Upstream = { readonly host: string; readonly port: number };

/** Bounds of asking others. */
export const forwardLimits = {
  /** Questions under way; more are answered with SERVFAIL at once. */
  inFlightMax: 1000,
  /** How long one server has for its answer before the next is asked. */
  attemptTimeoutMs: 2000,
  /** How often a question is asked in all; one server is asked twice, for a datagram may be lost. */
  attemptsMax: 3,
  attemptsMin: 2,
  /** Stub resolvers give up or ask again after five seconds. */
  totalTimeoutMs: 5000,
  /** A server that failed is asked after the others for so long. */
  avoidFailedMs: 10_000,
} as const;

export type ForwardQuestion = {
  /** Lower case. */
  readonly name: string;
  readonly type: number;
  readonly dnssecOk: boolean;
  readonly checkingDisabled: boolean;
};

export type Forwarder = {
  /** Undefined: no server answered in time, or too many questions are under way. Never rejects. */
  ask(question: ForwardQuestion): ForwardAnswer | Promise<ForwardAnswer | undefined>;
  /** Gives up what is under way. */
  close(): void;
};

/** "10.0.0.1", "10.0.0.1:5353", "fd00::1" or "[fd00::1]:5353"; undefined for anything else. */
export function parseUpstream(text: string): Upstream | undefined {
  if (isIP(text) !== 0) return { host: text, port: 53 };
  const match = /^(?:\[([0-9a-fA-F:.]+)\]|([0-9.]+)):(\d{1,5})$/.exec(text);
  const host = match?.[1] ?? match?.[2] ?? '';
  const port = Number(match?.[3]);
  return isIP(host) === 0 || !(port >= 1 && port <= 65_535) ? undefined : { host, port };
}

/** Asks `upstreams` in their order, remembers their answers. */
export function createForwarder(
  upstreams: readonly Upstream[],
  clock: Clock,
  metrics: DnsMetrics,
): Forwarder {
  const cache = new AnswerCache();
  const inFlight = new Map<string, Promise<ForwardAnswer | undefined>>();
  const failedUntilMs = new Map<Upstream, number>();
  const open = new Set<(reason: Error) => void>();
  let closed = false;
  metrics.cacheEntries = () => cache.size;

  /** Those that failed lately come last. */
  const attempts = (): readonly Upstream[] => {
    const now = clock.monotonicMs();
    const failed = (upstream: Upstream): boolean => (failedUntilMs.get(upstream) ?? 0) > now;
    const ordered = [...upstreams.filter((each) => !failed(each)), ...upstreams.filter(failed)];
    const count = Math.max(forwardLimits.attemptsMin, Math.min(ordered.length, forwardLimits.attemptsMax));
    return Array.from({ length: count }, (_, index) => ordered[index % ordered.length]).filter(
      (upstream) => upstream !== undefined,
    );
  };

  const ask = async (question: ForwardQuestion, key: string): Promise<ForwardAnswer | undefined> => {
    const deadlineMs = clock.monotonicMs() + forwardLimits.totalTimeoutMs;
    let last: ForwardAnswer | undefined;
    for (const upstream of attempts()) {
      const leftMs = deadlineMs - clock.monotonicMs();
      if (leftMs <= 0 || closed) break;
      const startMs = clock.monotonicMs();
      const timeoutMs = Math.min(leftMs, forwardLimits.attemptTimeoutMs);
      try {
        const { message, bytes } = await withTimeout(timeoutMs, clock, open, (attempt) =>
          exchange(upstream, question, attempt),
        );
        metrics.forwarded(upstream, message.rcode, clock.monotonicMs() - startMs);
        last = answerOf(message);
        failedUntilMs.delete(upstream);
        if (!worthAnother(message.rcode)) {
          cache.set(key, last, bytes, clock.monotonicMs());
          return last;
        }
      } catch (error) {
        if (closed) break;
        metrics.forwardFailed(upstream, String(error));
        failedUntilMs.set(upstream, clock.monotonicMs() + forwardLimits.avoidFailedMs);
      }
    }
    return last;
  };

  return {
    ask(question) {
      const key = `${question.type} ${question.dnssecOk ? 1 : 0}${question.checkingDisabled ? 1 : 0} ${question.name}`;
      const known = cache.get(key, clock.monotonicMs());
      metrics.cacheAsked(known !== undefined);
      if (known !== undefined) return known;
      const waiting = inFlight.get(key);
      if (waiting !== undefined) return waiting;
      if (inFlight.size >= forwardLimits.inFlightMax) {
        metrics.forwardRejects += 1;
        return Promise.resolve(undefined);
      }
      const asked = ask(question, key).finally(() => inFlight.delete(key));
      inFlight.set(key, asked);
      return asked;
    },
    close() {
      closed = true;
      for (const cancel of open) cancel(new Error('DNS forwarding stops'));
    },
  };
}

function worthAnother(rcode: number): boolean {
  return rcode === rcodes.SERVFAIL || rcode === rcodes.REFUSED || rcode === rcodes.NOTIMP;
}

function answerOf(message: Message): ForwardAnswer {
  return {
    rcode: message.rcode,
    authenticData: (message.flags & flags.authenticData) !== 0,
    answers: message.answers,
    authorities: message.authorities,
    additionals: message.additionals,
  };
}

type Exchanged = { readonly message: Message; readonly bytes: number };

/** One attempt at one server: who begins something registers how to end it. */
type Attempt = {
  readonly failed: Promise<never>;
  /** Called once, whatever comes of the attempt. */
  onEnd(end: () => void): void;
};

async function withTimeout(
  timeoutMs: number,
  clock: Clock,
  open: Set<(reason: Error) => void>,
  run: (attempt: Attempt) => Promise<Exchanged>,
): Promise<Exchanged> {
  const { promise: failed, reject } = Promise.withResolvers<never>();
  failed.catch(() => {}); // it may fail after the answer has come
  const ends: (() => void)[] = [];
  const cancel = clock.after(timeoutMs, () =>
    reject(new Error(`no answer within ${Math.ceil(timeoutMs)} ms`)),
  );
  open.add(reject);
  try {
    return await run({ failed, onEnd: (end) => ends.push(end) });
  } finally {
    cancel();
    open.delete(reject);
    for (const end of ends) end();
  }
}

async function exchange(upstream: Upstream, question: ForwardQuestion, attempt: Attempt): Promise<Exchanged> {
  const id = randomInt(0x10000);
  const query = renderQuery(id, question, question);
  const accept = (bytes: Buffer): Exchanged | undefined => {
    const message = parseMessage(bytes);
    return answersTo(message, id, question) ? { message, bytes: bytes.length } : undefined;
  };
  const answered = await exchangeUdp(upstream, query, accept, attempt);
  if ((answered.message.flags & flags.truncated) === 0) return answered;
  return exchangeTcp(upstream, query, accept, attempt);
}

/** With the source port, which the kernel chooses anew for each question: what a forger has to guess (RFC 5452). */
function answersTo(message: Message, id: number, question: ForwardQuestion): boolean {
  const [asked] = message.questions;
  const isResponse = (message.flags & flags.response) !== 0;
  return isResponse && message.id === id && asked?.name === question.name && asked.type === question.type;
}

function exchangeUdp(
  { host, port }: Upstream,
  query: Buffer,
  accept: (bytes: Buffer) => Exchanged | undefined,
  attempt: Attempt,
): Promise<Exchanged> {
  const { promise, resolve, reject } = Promise.withResolvers<Exchanged>();
  const socket = createSocket(isIP(host) === 6 ? 'udp6' : 'udp4');
  let ended = false;
  attempt.onEnd(() => {
    ended = true;
    socket.close();
  });
  socket.on('error', reject);
  socket.on('message', (bytes) => {
    try {
      const answered = accept(bytes);
      if (answered !== undefined) resolve(answered); // else it is not ours: go on waiting for the right one
    } catch (error) {
      if (!(error instanceof WireError)) reject(error as Error);
    }
  });
  // Connected: the kernel then takes datagrams of this server only and reports its refusal.
  socket.connect(port, host, () => {
    if (!ended) socket.send(query);
  });
  return Promise.race([promise, attempt.failed]);
}

function exchangeTcp(
  { host, port }: Upstream,
  query: Buffer,
  accept: (bytes: Buffer) => Exchanged | undefined,
  attempt: Attempt,
): Promise<Exchanged> {
  const { promise, resolve, reject } = Promise.withResolvers<Exchanged>();
  const socket = connect({ host, port });
  attempt.onEnd(() => socket.destroy());
  let received = Buffer.alloc(0);
  socket.on('error', reject);
  socket.on('close', () => reject(new Error(`${host} closed the connection before its answer`)));
  socket.on('data', (chunk: Buffer) => {
    received = Buffer.concat([received, chunk]); // bounded: one message and what came with its last piece
    if (received.length < 2 || received.length < 2 + received.readUInt16BE(0)) return;
    try {
      const answered = accept(received.subarray(2, 2 + received.readUInt16BE(0)));
      if (answered === undefined) reject(new Error(`${host} answered another question`));
      else resolve(answered);
    } catch (error) {
      reject(error as Error);
    }
  });
  const length = Buffer.alloc(2);
  length.writeUInt16BE(query.length);
  socket.write(Buffer.concat([length, query]));
  return Promise.race([promise, attempt.failed]);
}
