import type { IngressConfig } from './config.ts';
import type { LiveEndpoint } from '../routes/explain.ts';
import type { MetricsReading } from '../observe/metrics-sum.ts';
import type { CountReport } from '../policy/group-counts.ts';
import type { ListenAt } from '../transport/net-transport.ts';
import type { RouteObjectsChange } from '../routes/route-objects.ts';
import type { TicketSecret } from '../transport/ticket-keys.ts';
import type { TransportChoice } from '../transport/transport-choice.ts';

/** All that a worker process is told at its start. */
export type WorkerConfig = Pick<
  IngressConfig,
  | 'limits'
  | 'trustedProxies'
  | 'proxyProtocol'
  | 'trustedFields'
  | 'forwarded'
  | 'accessLog'
  | 'marks'
  | 'authority'
  | 'ingressClasses'
  | 'nginxAnnotations'
  | 'nginxAllowedHeaders'
  | 'controllerName'
> & {
  /** From 1. */
  readonly number: number;
  readonly http: readonly ListenAt[];
  readonly https: readonly ListenAt[];
  readonly transport: TransportChoice;
  readonly tickets: TicketSecret;
};

/** From the process that follows the API to a worker. */
export type ToWorker =
  | { readonly kind: 'start'; readonly config: WorkerConfig; readonly routes: RouteObjectsChange }
  /** Answered by `done` with the same number. One is under way at a time. */
  | { readonly kind: 'routes'; readonly number: number; readonly routes: RouteObjectsChange }
  /** Answered by `reading`. */
  | { readonly kind: 'read'; readonly number: number; readonly backendId: string | undefined }
  /** What the other workers have counted. Not answered. */
  | { readonly kind: 'counts'; readonly report: CountReport }
  /** Stops accepting, lets requests finish for at most so long, and ends. */
  | { readonly kind: 'drain'; readonly graceMs: number };

/** And back. */
export type FromWorker =
  | { readonly kind: 'listening' }
  | { readonly kind: 'done'; readonly number: number }
  /** For the other workers. */
  | { readonly kind: 'counts'; readonly report: CountReport }
  | {
      readonly kind: 'reading';
      readonly number: number;
      readonly metrics: MetricsReading;
      /** Of the backend that was asked for. */
      readonly endpoints: readonly LiveEndpoint[];
    };
