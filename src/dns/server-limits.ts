export type ListenAddress = {
  readonly host: string;
  /** 0: any port that is free for both UDP and TCP, for tests. */
  readonly port: number;
};

/** Bounds of serving. */
export const serverLimits = {
  /** TCP connections; more are closed at once. */
  connectionsMax: 1000,
  /** Queries of one connection under way; then it is not read from until one is answered. */
  pipelinedMax: 64,
  /** Answers of one connection that wait to be sent, bytes; then it is not read from either. */
  outputBytesMax: 1 << 20,
  /** A connection on which nothing happens is closed (RFC 7766, 6.2.3). */
  idleTimeoutMs: 10_000,
  /** Asked of the kernel for each UDP socket: a burst of queries waits here and is lost beyond it. */
  receiveBufferBytes: 4 << 20,
  /** How often new addresses of this machine are looked for, see `listenUdp`. */
  addressScanMs: 10_000,
  /** How long inherited sockets are left unread, in which queries wait, while names are not known yet. */
  namesWaitMs: 3000,
} as const;

/** One thing that listens. */
export type Listener = {
  readonly port: number;
  /** Resolves when its sockets are closed. */
  close(): Promise<void>;
};

export function cannotListen({ host, port }: ListenAddress, cause: unknown): Error {
  return new Error(`cannot listen on ${host}:${port}: is it in use or not allowed? Choose another --listen`, {
    cause,
  });
}
