import type { Status } from '../api/gen/meta-v1.ts';
import type { KubeObject } from '../api/object.ts';
import type { Resource } from '../api/resource.ts';

/** A refusal by the API server, or no answer from it. `code` is Status.reason where the server gave one. */
export class ApiError extends Error {
  override readonly name = 'ApiError';
  readonly code: ApiErrorCode;
  /** HTTP status; 0 when the server could not be reached. */
  readonly httpStatus: number;
  readonly status: Status | undefined;

  constructor(
    code: ApiErrorCode,
    message: string,
    options: { readonly httpStatus?: number; readonly status?: Status; readonly cause?: unknown } = {},
  ) {
    super(message, { cause: options.cause });
    this.code = code;
    this.httpStatus = options.httpStatus ?? 0;
    this.status = options.status;
  }
}

export type ApiErrorCode =
  | 'NotFound'
  | 'AlreadyExists'
  | 'Conflict'
  | 'Expired'
  | 'Invalid'
  | 'BadRequest'
  | 'Unauthorized'
  | 'Forbidden'
  | 'TooManyRequests'
  | 'Timeout'
  | 'Unavailable'
  | 'InternalError'
  | 'Unknown';

export function isApiError(error: unknown, code: ApiErrorCode): boolean {
  return error instanceof ApiError && error.code === code;
}

export type WatchEvent<T> =
  | { readonly type: 'ADDED' | 'MODIFIED' | 'DELETED'; readonly object: T }
  | { readonly type: 'BOOKMARK'; readonly resourceVersion: string; readonly initialEventsEnd: boolean };

export type ListOptions = {
  readonly namespace?: string | undefined;
  readonly labelSelector?: string | undefined;
  readonly fieldSelector?: string | undefined;
  readonly signal?: AbortSignal | undefined;
};

export type WriteOptions = {
  /** `status`, `scale`, `binding`, … */
  readonly subresource?: string | undefined;
  readonly signal?: AbortSignal | undefined;
};

export type DeleteOptions = {
  readonly gracePeriodSeconds?: number | undefined;
  readonly propagationPolicy?: 'Foreground' | 'Background' | 'Orphan' | undefined;
  /** The delete happens only if the object still has this uid. */
  readonly uid?: string | undefined;
  readonly signal?: AbortSignal | undefined;
};

export type PatchKind = 'merge' | 'strategic' | 'json';

/** A client of any Kubernetes API server. Every failure is an ApiError; nothing is retried here. */
export type ApiClient = {
  get<T extends KubeObject>(
    resource: Resource<T>,
    namespace: string | undefined,
    name: string,
    signal?: AbortSignal,
  ): Promise<T>;
  list<T extends KubeObject>(
    resource: Resource<T>,
    options?: ListOptions,
  ): Promise<{ readonly items: readonly T[]; readonly resourceVersion: string }>;
  /** Ends without error when the server closes the stream; throws ApiError('Expired') on 410. Items carry apiVersion and kind. */
  watch<T extends KubeObject>(
    resource: Resource<T>,
    resourceVersion: string,
    options?: ListOptions,
  ): AsyncIterable<WatchEvent<T>>;
  create<T extends KubeObject>(resource: Resource<T>, object: T, options?: WriteOptions): Promise<T>;
  /** PUT. Carries the object's resourceVersion, so it fails with Conflict if somebody else was first. */
  replace<T extends KubeObject>(resource: Resource<T>, object: T, options?: WriteOptions): Promise<T>;
  patch<T extends KubeObject>(
    resource: Resource<T>,
    namespace: string | undefined,
    name: string,
    kind: PatchKind,
    body: unknown,
    options?: WriteOptions,
  ): Promise<T>;
  delete(
    resource: Resource,
    namespace: string | undefined,
    name: string,
    options?: DeleteOptions,
  ): Promise<void>;
  /** GET of a path that is no resource (`/version`, `/readyz`): the body's text. */
  raw(path: string, signal?: AbortSignal): Promise<string>;
  /** Ends idle connections. */
  close(): void;
};
