import type { StatusCause, StatusDetails } from './gen/meta-v1.ts';
import type { FieldError } from './kind.ts';

/** What the API server answers when it refuses: metav1.Status, with the fields that we always set. */
export type FailureStatus = {
  readonly kind: 'Status';
  readonly apiVersion: 'v1';
  /** `continue`: of a list whose snapshot is gone, for the rest of it as it is now. */
  readonly metadata: { readonly continue?: string };
  readonly status: 'Failure';
  readonly message: string;
  readonly reason?: string;
  readonly details?: StatusDetails;
  /** The HTTP status. */
  readonly code: number;
};

export type SuccessStatus = {
  readonly kind: 'Status';
  readonly apiVersion: 'v1';
  readonly metadata: Record<string, never>;
  readonly status: 'Success';
  readonly details?: StatusDetails;
};

/** A refusal on its way to the client. Thrown anywhere below a request, answered in one place as its `status`. */
export class StatusError extends Error {
  override readonly name = 'StatusError';
  readonly status: FailureStatus;

  constructor(status: FailureStatus, options?: ErrorOptions) {
    super(status.message, options);
    this.status = status;
  }
}

/** Which resource a refusal is about: the plural name and its group ('' is core). */
export type GroupResource = { readonly group: string; readonly plural: string };
export type GroupKind = { readonly group: string; readonly kind: string };

function qualified(group: string, name: string): string {
  return group === '' ? name : `${name}.${group}`;
}

export function failure(code: number, reason: string, message: string, details?: StatusDetails): StatusError {
  return new StatusError({
    kind: 'Status',
    apiVersion: 'v1',
    metadata: {},
    status: 'Failure',
    message,
    ...(reason === '' ? {} : { reason }),
    ...(details === undefined ? {} : { details }),
    code,
  });
}

/** Status.details of a resource: `kind` carries the plural here, as Kubernetes has it. */
function resourceDetails(resource: GroupResource, name: string): StatusDetails {
  return {
    ...(name === '' ? {} : { name }),
    ...(resource.group === '' ? {} : { group: resource.group }),
    kind: resource.plural,
  };
}

export function notFound(resource: GroupResource, name: string): StatusError {
  const message = `${qualified(resource.group, resource.plural)} ${JSON.stringify(name)} not found`;
  return failure(404, 'NotFound', message, resourceDetails(resource, name));
}

/** No such path or kind at all: "the server could not find the requested resource". */
export function pathNotFound(): StatusError {
  return failure(404, 'NotFound', 'the server could not find the requested resource', {});
}

export function alreadyExists(resource: GroupResource, name: string): StatusError {
  const message = `${qualified(resource.group, resource.plural)} ${JSON.stringify(name)} already exists`;
  return failure(409, 'AlreadyExists', message, resourceDetails(resource, name));
}

/** `detail` defaults to the text for a stale resourceVersion. */
export function conflict(
  resource: GroupResource,
  name: string,
  detail = 'the object has been modified; please apply your changes to the latest version and try again',
): StatusError {
  const what = `${qualified(resource.group, resource.plural)} ${JSON.stringify(name)}`;
  return failure(
    409,
    'Conflict',
    `Operation cannot be fulfilled on ${what}: ${detail}`,
    resourceDetails(resource, name),
  );
}

/** 422 with one cause a field error, and the joined message that kubectl prints. */
export function invalid(kind: GroupKind, name: string, errors: readonly FieldError[]): StatusError {
  const causes: readonly StatusCause[] = errors.map((error) => ({
    reason: error.type,
    message: error.message,
    field: error.field,
  }));
  const message = `${qualified(kind.group, kind.kind)} ${JSON.stringify(name)} is invalid: ${joinFieldErrors(errors)}`;
  return failure(422, 'Invalid', message, {
    ...(name === '' ? {} : { name }),
    ...(kind.group === '' ? {} : { group: kind.group }),
    kind: kind.kind,
    causes,
  });
}

/** One error stands alone; several stand in brackets, each text once. */
export function joinFieldErrors(errors: readonly FieldError[]): string {
  const texts = [...new Set(errors.map((error) => `${error.field}: ${error.message}`))];
  return texts.length === 1 ? (texts[0] ?? '') : `[${texts.join(', ')}]`;
}

/** `detail` is for instance `User "a" cannot get resource "pods" in API group "" in the namespace "default"`. */
export function forbidden(resource: GroupResource, name: string, detail: string): StatusError {
  const subject = resource.plural === '' ? '' : qualified(resource.group, resource.plural);
  const what = name === '' ? subject : `${subject} ${JSON.stringify(name)}`;
  const message = what === '' ? `forbidden: ${detail}` : `${what} is forbidden: ${detail}`;
  return failure(403, 'Forbidden', message, resourceDetails(resource, name));
}

export function unauthorized(message = 'Unauthorized'): StatusError {
  return failure(401, 'Unauthorized', message);
}

export function badRequest(message: string): StatusError {
  return failure(400, 'BadRequest', message);
}

/** `verb` is the API's verb: create, update, patch, delete, get, list, watch. */
export function methodNotAllowed(resource: GroupResource, verb: string): StatusError {
  return failure(
    405,
    'MethodNotAllowed',
    `${verb} is not supported on resources of kind ${JSON.stringify(qualified(resource.group, resource.plural))}`,
    resourceDetails(resource, ''),
  );
}

/**
 * 410: the resourceVersion or continue token is older than the log. Clients list again, or go on with `continueToken`, at the
 * price that what they have and what they get are not of one moment.
 */
export function expired(message: string, continueToken?: string): StatusError {
  const { status } = failure(410, 'Expired', message);
  return new StatusError({
    ...status,
    metadata: continueToken === undefined ? {} : { continue: continueToken },
  });
}

export function tooLarge(message: string): StatusError {
  return failure(413, 'RequestEntityTooLarge', `Request entity too large: ${message}`);
}

export function unsupportedMediaType(supported: readonly string[]): StatusError {
  return failure(
    415,
    'UnsupportedMediaType',
    `the body of the request was in an unknown format - accepted media types include: ${supported.join(', ')}`,
  );
}

export function notAcceptable(supported: readonly string[]): StatusError {
  return failure(
    406,
    'NotAcceptable',
    `only the following media types are accepted: ${supported.join(', ')}`,
  );
}

export function tooManyRequests(message: string, retryAfterSeconds: number): StatusError {
  return failure(429, 'TooManyRequests', message, { retryAfterSeconds });
}

export function serviceUnavailable(message: string): StatusError {
  return failure(503, 'ServiceUnavailable', message);
}

export function timeout(message: string, retryAfterSeconds: number): StatusError {
  return failure(504, 'Timeout', `Timeout: ${message}`, { retryAfterSeconds });
}

/** 504: the revision is not there yet. client-go knows it by its cause and lists without one. */
export function revisionTooLarge(revision: number, current: number): StatusError {
  return failure(504, 'Timeout', `Timeout: Too large resource version: ${revision}, current: ${current}`, {
    retryAfterSeconds: 1,
    causes: [{ reason: 'ResourceVersionTooLarge', message: 'Too large resource version' }],
  });
}

/** 500. `message` is shown to the client: say what failed, never a stack. */
export function internalError(message: string): StatusError {
  return failure(500, 'InternalError', `Internal error occurred: ${message}`, { causes: [{ message }] });
}

/** The answer to a delete that removed an object at once. */
export function deleted(resource: GroupResource, name: string, uid: string): SuccessStatus {
  return {
    kind: 'Status',
    apiVersion: 'v1',
    metadata: {},
    status: 'Success',
    details: { ...resourceDetails(resource, name), uid },
  };
}
