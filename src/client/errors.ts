import type { Status } from '../api/gen/meta-v1.ts';
import { isJsonObject } from '../api/object.ts';
import { ApiError, type ApiErrorCode } from './client.ts';

const codeOfReason: Readonly<Record<string, ApiErrorCode>> = {
  NotFound: 'NotFound',
  AlreadyExists: 'AlreadyExists',
  Conflict: 'Conflict',
  Expired: 'Expired',
  Gone: 'Expired',
  Invalid: 'Invalid',
  BadRequest: 'BadRequest',
  Unauthorized: 'Unauthorized',
  Forbidden: 'Forbidden',
  TooManyRequests: 'TooManyRequests',
  Timeout: 'Timeout',
  ServerTimeout: 'Timeout',
  ServiceUnavailable: 'Unavailable',
  InternalError: 'InternalError',
};

const codeOfHttpStatus: Readonly<Record<number, ApiErrorCode>> = {
  400: 'BadRequest',
  401: 'Unauthorized',
  403: 'Forbidden',
  404: 'NotFound',
  409: 'Conflict',
  410: 'Expired',
  422: 'Invalid',
  429: 'TooManyRequests',
  500: 'InternalError',
  502: 'Unavailable',
  503: 'Unavailable',
  504: 'Timeout',
};

/** The refusal that `body` (a metav1.Status, or any text of a proxy in between) tells. */
export function apiErrorOfStatus(httpStatus: number, body: string): ApiError {
  const status = statusOf(body);
  const code = codeOfReason[status?.reason ?? ''] ?? codeOfHttpStatus[httpStatus] ?? 'Unknown';
  const message = status?.message ?? `HTTP ${httpStatus}: ${body.slice(0, 200)}`;
  return new ApiError(code, message, { httpStatus, ...(status === undefined ? {} : { status }) });
}

/** Wraps what the transport threw; an ApiError stays as it is. */
export function apiErrorOfTransport(server: string, cause: unknown): ApiError {
  if (cause instanceof ApiError) return cause;
  const detail = cause instanceof Error ? cause.message : String(cause);
  return new ApiError('Unavailable', `cannot talk to the API server at ${server}: ${detail}`, { cause });
}

function statusOf(body: string): Status | undefined {
  if (!body.startsWith('{')) return undefined;
  try {
    const value: unknown = JSON.parse(body);
    return isJsonObject(value) && value['kind'] === 'Status' ? (value as unknown as Status) : undefined;
  } catch {
    return undefined; // not a Status: the caller shows the text itself
  }
}
