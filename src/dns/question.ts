import type { ResourceRecord } from './wire.ts';

/** A server to ask. */
export type Upstream = { readonly host: string; readonly port: number };

/** What is asked of other servers. */
export type ForwardQuestion = {
  /** Lower case. */
  readonly name: string;
  readonly type: number;
  readonly dnssecOk: boolean;
  readonly checkingDisabled: boolean;
};

/** What another server said, as far as it is passed on. */
export type ForwardAnswer = {
  readonly rcode: number;
  readonly authenticData: boolean;
  readonly answers: readonly ResourceRecord[];
  readonly authorities: readonly ResourceRecord[];
  readonly additionals: readonly ResourceRecord[];
  /** How long this is the answer as it stands, ms; then its times to live are shorter. Undefined: not known. */
  readonly sameForMs?: number | undefined;
  /** Its time is over: nobody gave a new one. */
  readonly isStale?: boolean;
};

/** `bytes`: the length of the message. */
export type Exchanged = { readonly answer: ForwardAnswer; readonly bytes: number };

/** A question under way. */
export type Pending = {
  readonly id: number;
  readonly question: ForwardQuestion;
  /** As it was sent. */
  readonly query: Buffer;
  /** Behind the question within. */
  readonly questionEnd: number;
  readonly deadlineMs: number;
  /** Called once. */
  readonly done: (told: Exchanged | Error) => void;
};

/** Bounds of the sockets by which one server is asked. */
export const exchangeLimits = {
  /**
   * Sockets with random ports, of which the questions of each turn of the event loop take one by chance. With the random id
   * that is what a forger has to guess (RFC 5452); a port is given up before anybody could search for it for long.
   */
  socketsMax: 16,
  socketLifeMs: 5000,
  socketQuestionsMax: 1000,
  /** Under way by one socket: their answers, if they come all at once, find room in its buffer. All sockets: 2048. */
  socketPendingMax: 128,
  /** How often questions without an answer are looked for: each is given up so much later at most. */
  sweepMs: 50,
} as const;
