import type { Clock } from '../base/clock.ts';
import {
  createGrpcClient,
  type GrpcClient,
  type GrpcTls,
  isGrpcError,
  type RpcMethod,
} from '../base/grpc.ts';
import type { Partially } from '../base/protobuf.ts';

/** One of a cluster's members. */
export type EtcdEndpoint = { readonly host: string; readonly port: number; readonly secure: boolean };

export type EtcdClientOptions = {
  /** Asked in turn: the next one when one cannot be reached. At least one. */
  readonly endpoints: readonly EtcdEndpoint[];
  /** For endpoints that are `secure`. */
  readonly tls: GrpcTls;
  /** A member that has not answered by then is given up for the next one, ms. */
  readonly attemptTimeoutMs: number;
  /** A call that no member has answered by then fails, ms. */
  readonly callTimeoutMs: number;
  /** Between two attempts, ms. */
  readonly retryDelayMs: number;
};

export const etcdClientDefaults = {
  attemptTimeoutMs: 2_000,
  callTimeoutMs: 5_000,
  retryDelayMs: 100,
} as const satisfies Partial<EtcdClientOptions>;

/** An answer, and whether an earlier attempt may have been carried out although its answer did not come. */
export type EtcdAnswer<Response> = { readonly response: Response; readonly repeated: boolean };

/** Calls that go on with another member of the cluster when one is away. */
export type EtcdClient = {
  /** Rejects with GrpcError when etcd refuses, or when no member answered in time. */
  call<Request, Response>(
    method: RpcMethod<Request, Response>,
    request: Partially<Request>,
  ): Promise<EtcdAnswer<Response>>;
  /** Ends with its connection; the next one goes to the next member. */
  stream<Request, Response>(
    method: RpcMethod<Request, Response>,
    request: Partially<Request>,
    signal: AbortSignal,
  ): AsyncGenerator<Response, void, void>;
  close(): void;
};

export function createEtcdClient(clock: Clock, options: EtcdClientOptions): EtcdClient {
  const members: readonly GrpcClient[] = options.endpoints.map(({ host, port, secure }) =>
    createGrpcClient(secure ? { host, port, tls: options.tls } : { host, port }),
  );
  let current = 0;

  function member(): GrpcClient {
    const client = members[current % members.length];
    if (client === undefined) throw new RangeError('an etcd client needs an endpoint');
    return client;
  }

  return {
    async call(method, request) {
      const startMs = clock.monotonicMs();
      for (let attempt = 0; ; attempt++) {
        const at = current;
        try {
          const response = await member().unary(method, request, { timeoutMs: options.attemptTimeoutMs });
          return { response, repeated: attempt > 0 };
        } catch (error) {
          const away = isGrpcError(error, 'UNAVAILABLE') || isGrpcError(error, 'DEADLINE_EXCEEDED');
          const late = clock.monotonicMs() - startMs + options.retryDelayMs > options.callTimeoutMs;
          if (!away || late) throw error;
        }
        if (at === current) current += 1; // of many calls that fail together one moves on
        await clock.sleep(options.retryDelayMs);
      }
    },
    async *stream(method, request, signal) {
      const at = current;
      // A member that has lost the others would keep the stream open and silent.
      const metadata = { hasleader: 'true' };
      try {
        yield* member().stream(method, request, signal, { keepOpen: true, metadata });
      } finally {
        if (at === current) current += 1;
      }
    },
    close() {
      for (const client of members) client.close();
    },
  };
}
