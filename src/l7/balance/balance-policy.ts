/** How the requests of one backend are spread, retried and held back. Plain values, so that equal ones can be told by their text. */
export type BalancePolicy = {
  readonly algorithm: 'round-robin' | 'least-request' | 'consistent-hash';
  /** Each client address keeps its endpoint; goes before `algorithm`. */
  readonly byClientAddress: boolean;
  /** An endpoint that has just come gets a share that grows to its full one within this time; 0: at once. */
  readonly slowStartMs: number;
  readonly outliers: OutlierPolicy;
  /** Requests at one endpoint at once. At the bound it is passed over; when all are, requests wait. null: only the process's own bound. */
  readonly endpointRequestsMax: number | null;
  /** Requests that wait for an endpoint. More: 503. */
  readonly pendingMax: number;
  /** A request that has waited for so long: 503. */
  readonly pendingTimeoutMs: number;
  readonly retries: RetryPolicy;
};

/** When answers speak against an endpoint. Connections that fail always do: see ProxyLimits.quarantineMs. */
export type OutlierPolicy = {
  /** 5xx answers and timeouts in a row; 0: answers are not looked at. */
  readonly errors: number;
  /** First time of ejection; doubles each time up to 10 times this. */
  readonly ejectionMs: number;
  /** No more of the backend's endpoints are ejected for their answers, except that one may always be. */
  readonly ejectedPercentMax: number;
};

export type RetryCause = 'reset' | 'timeout' | number;

/**
 * Requests that an endpoint may have begun to process are sent again only if idempotent. Connections that fail and streams that
 * are refused are always tried elsewhere.
 */
export type RetryPolicy = {
  /** Times that a request is sent after the first. */
  readonly retriesMax: number;
  /** A connection that ends without an answer, no answer in time, or statuses. */
  readonly causes: readonly RetryCause[];
  /** Retries under way at once, in percent of the backend's requests under way … */
  readonly budgetPercent: number;
  /** … or this number, whichever is more. Beyond: the failure is the answer. */
  readonly budgetFloor: number;
};

/**
 * For backends about which no annotation says anything. The budget is generous: when one of two Pods is killed, half of all requests
 * under way must be sent again at once. It still bounds what a failing backend gets to 1.5 times its clients' requests.
 */
export const defaultBalance: BalancePolicy = {
  algorithm: 'round-robin',
  byClientAddress: false,
  slowStartMs: 0,
  outliers: { errors: 0, ejectionMs: 10_000, ejectedPercentMax: 50 },
  endpointRequestsMax: null,
  pendingMax: 0,
  pendingTimeoutMs: 5_000,
  retries: { retriesMax: 2, causes: ['reset'], budgetPercent: 50, budgetFloor: 64 },
};
