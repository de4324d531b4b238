import type { CompiledRoutes } from '../routes/compile.ts';
import type { LiveEndpoint } from '../routes/explain.ts';
import type { ProxyMetrics } from '../observe/metrics.ts';

/** What serves requests by the routes published last: one worker in this process, or several processes. */
export type Engine = {
  publish(compiled: CompiledRoutes): void;
  /** Begins to listen, after the first `publish`. Rejects if an address cannot be listened on. The ports, 0 if unknown. */
  listen(): Promise<{ readonly http: readonly number[]; readonly https: readonly number[] }>;
  /** Counters of all workers; one object, which `refresh` brings up to date. */
  readonly metrics: ProxyMetrics;
  refresh(): Promise<void>;
  /** The endpoints of a backend as the workers know them; by `Backend.id`, for each process numbers them by itself. */
  endpointsOf(backendId: string): Promise<readonly LiveEndpoint[]>;
  /** Takes no more connections, lets requests under way finish for at most `graceMs`, then cuts what is left. */
  drain(graceMs: number): Promise<void>;
  /** Ends everything at once. */
  close(): void;
};
